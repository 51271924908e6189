"""A Redis whose wall clock a test moves, by libfaketime; the time since boot goes on as in reality."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final
from unittest import mock

from broadcaster.store.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Iterator

_FOLDERS: Final = ("/usr/lib", "/usr/local/lib", "/opt/homebrew/lib")


def faketime_library() -> Path | None:
    """Return where libfaketime is (Debian's package `faketime`); None if it isn't installed."""
    for folder in map(Path, _FOLDERS):
        for pattern in ("*/faketime/libfaketimeMT.so.1", "faketime/libfaketimeMT.so.1"):
            for found in folder.glob(pattern):
                return found
    return None


class MovedClock:
    """The file in which a server's offset stands."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.step(0)

    def step(self, seconds: int) -> None:
        """Let the server's clock be so far ahead of the true one from now on."""
        whole = self._path.with_suffix(".new")
        whole.write_text(f"{seconds:+d}\n")
        whole.replace(self._path)


@contextmanager
def clocked_servers(folder: Path) -> Iterator[MovedClock]:
    """Let servers that are started inside take their time from the clock that this yields."""
    library, offset = faketime_library(), folder / "offset"
    assert library is not None
    started = EmbeddedServer.start

    def start(server: EmbeddedServer) -> None:
        faked = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(offset),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_RESET": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        with mock.patch.dict(os.environ, faked):
            started(server)

    clock = MovedClock(offset)
    with mock.patch.object(EmbeddedServer, "start", start):
        yield clock
