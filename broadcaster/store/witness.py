"""What this host last knew of Redis, kept beside it: the only thing that can say that its data is a backup's.

A backup that was put back looks like a server that was restarted. Whoever worked here before has written down
how often Redis had been looked at by then (`guard.lua`), and finds that it knows of less.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class Witness:
    """A file of one line, the installation's epoch and the count; without it nothing is known."""

    def __init__(self, path: Path, epoch: str) -> None:
        self._path = path
        self._epoch = epoch

    def read(self) -> int:
        """Return the count, 0 if there is none of this installation."""
        try:
            epoch, _, count = self._path.read_text(encoding="utf-8").strip().partition(" ")
        except (OSError, UnicodeDecodeError):
            return 0
        return int(count) if epoch == self._epoch and count.isdigit() else 0

    def under(self, epoch: str, count: int) -> None:
        """Go on as the witness of an installation whose epoch is another one now."""
        self._epoch = epoch
        self.write(count)

    def write(self, count: int) -> None:
        """Keep the count; several processes of this host may, as it only grows."""
        part = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(f"{self._epoch} {count}\n", encoding="utf-8")
            part.replace(self._path)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink()
