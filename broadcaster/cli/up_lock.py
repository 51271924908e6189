"""One `broadcaster up` per data directory: a lock on a file that says where it is.

The lock is the process's own, so it is gone with it however it ends; what the file says counts only while it
is held.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from broadcaster.cli.exits import CommandFailedError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: Whoever looks whether one runs holds the lock for a moment.
_LOOKING_SECONDS: Final = 1.0


class RunningElsewhereError(CommandFailedError):
    """Another `up` has the directory."""


@contextmanager
def only_one(data_dir: Path, facts: dict[str, Any]) -> Iterator[None]:
    """Hold the directory's lock and say so to whoever looks. Raises RunningElsewhereError or OSError."""
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor = os.open(_path(data_dir), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + _LOOKING_SECONDS
        while not _taken(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                there = _read(descriptor)
                raise RunningElsewhereError(
                    f"`broadcaster up` runs on {data_dir} already (process {there.get('pid', '?')}, API "
                    f"{there.get('api', '?')}): use that one, end it first, or choose another folder with "
                    "BROADCASTER_DATA_DIR"
                )
            time.sleep(0.05)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps({"pid": os.getpid(), **facts}).encode(), 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def running_up(data_dir: Path) -> dict[str, Any] | None:
    """Return `pid` and `api` of the `up` that runs on a data directory, None where none does."""
    try:
        descriptor = os.open(_path(data_dir), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return None if _taken(descriptor, fcntl.LOCK_SH) else _read(descriptor)
    finally:
        os.close(descriptor)


def _path(data_dir: Path) -> Path:
    return data_dir / "up.lock"


def _taken(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read(descriptor: int) -> dict[str, Any]:
    try:
        found = json.loads(os.pread(descriptor, 4096, 0) or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
