"""What this host last knew of Redis, kept beside it: the only thing that can say that its data is a backup's.

A backup that was put back looks like a server that was restarted. Whoever worked here before has written down
how often Redis had been looked at by then (`guard.lua`), and finds that it knows of less. A backup may be from
before the installation got another epoch (its format was raised, or a backup restored), so the count is kept
under those as well.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

#: Of so many epochs, the latest: another one comes with a version of the data, or a restored backup.
EPOCHS_AT_MOST: Final = 100


class Witness:
    """A file of lines, an epoch and its count each, the installation's own first; without it nothing is known.

    `before` are the epochs that the installation had earlier. What the file says of others stays: backups of
    those may be put back, too.
    """

    def __init__(self, path: Path, epoch: str, before: Sequence[str] = ()) -> None:
        self._path = path
        self._epochs = (epoch, *before)

    def read(self) -> int:
        """Return the count under the present epoch, 0 if there is none."""
        return self._counts().get(self._epochs[0], 0)

    def under(self, epoch: str, before: Sequence[str]) -> None:
        """Go on as the witness of an installation whose epoch is another one now."""
        self._epochs = (epoch, *before)

    def write(self, count: int) -> None:
        """Keep the count; several processes of this host may, as it only grows."""
        known = self._counts()
        kept = {epoch: max(count, known.get(epoch, 0)) for epoch in self._epochs}
        kept |= {epoch: at for epoch, at in known.items() if epoch not in kept}
        lines = [f"{epoch} {at}\n" for epoch, at in kept.items()][:EPOCHS_AT_MOST]
        part = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            part.write_text("".join(lines), encoding="utf-8")
            part.replace(self._path)
        except OSError:
            with contextlib.suppress(OSError):
                part.unlink()

    def _counts(self) -> dict[str, int]:
        try:
            lines = self._path.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return {}
        parts = [line.partition(" ") for line in lines]
        return {
            epoch: int(count) for epoch, _, count in parts if epoch and count.isdecimal() and count.isascii()
        }
