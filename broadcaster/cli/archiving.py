"""`broadcaster broadcasts archive`: a broadcast into a file, and only then out of Redis."""

from __future__ import annotations

import contextlib
import os
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, Self

import click
import msgspec

from broadcaster.cli.connect import at_hand
from broadcaster.cli.exits import CommandFailedError, InputError
from broadcaster.cli.options import env_file_option, json_option
from broadcaster.cli.output import print_json, say
from broadcaster.operations import audit, removals
from broadcaster.operations.actor import at_the_shell
from broadcaster.reporting.archive import archive as pieces_of

if TYPE_CHECKING:
    from broadcaster.client import Client
    from broadcaster.store.connection import Store

_GZIP: Final = 31
_SAY_EVERY_SECONDS: Final = 5.0
_HEAD_MOST: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Written:
    """A whole archive on disk: its messages, and when their broadcast ended."""

    messages: int
    bytes: int
    ended_at: int | None


class ArchiveFile:
    """Takes an archive as it comes; `finish` checks it, and only then is there a file of that name.

    Use as a context manager: what is not finished leaves nothing behind.
    """

    def __init__(self, path: Path) -> None:
        if path.exists():
            raise InputError(f"{path} is there already: name another file")
        self._path = path
        self._part = path.with_name(f"{path.name}.part")
        self._reader = zlib.decompressobj(wbits=_GZIP)
        self._head: bytes | None = b""
        self._broadcast: dict[str, Any] = {}
        self._size = 0
        self._said = monotonic()
        self.lines = 0
        try:
            # people's data: nobody else's to read
            self._file = os.fdopen(os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb")
        except OSError as error:
            raise InputError(f"cannot write {self._part}: {error.strerror}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)

    def add(self, piece: bytes) -> None:
        """Take a piece of the gzip. Raises CommandFailedError for what is none, or where the disk is full."""
        try:
            self._file.write(piece)
            plain = self._reader.decompress(piece)
        except OSError as error:
            raise CommandFailedError(f"cannot write {self._part}: {error.strerror}") from None
        except zlib.error as error:
            raise CommandFailedError(f"what came is no archive: {error}") from None
        self._size += len(piece)
        self.lines += plain.count(b"\n")
        if self._head is not None:
            self._head += plain
            first, end, _ = self._head.partition(b"\n")
            if end:
                self._broadcast = msgspec.json.decode(first)["broadcast"]
                self._head = None
            elif len(self._head) > _HEAD_MOST:
                raise CommandFailedError("what came is no archive: its first line has no end")
        self._say()

    def finish(self) -> Written:
        """Check that it is whole, and give it its name. Raises CommandFailedError: then there is no file."""
        total, messages = self._expected(), self.lines - 1
        if not self._reader.eof or messages != total:
            raise CommandFailedError(
                f"the archive has {max(0, messages):,} messages where there are {max(0, total):,}: "
                "nothing was removed. Try again"
            )
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._part.replace(self._path)
            _sync_folder(self._path.parent)
        except OSError as error:
            raise CommandFailedError(f"cannot write {self._path}: {error.strerror}") from None
        return Written(messages, self._size, self._broadcast.get("finished_at"))

    def _expected(self) -> int:
        """Return how many messages there are, SMS in place of others included; -1 while that isn't told."""
        sms = self._broadcast.get("fallbacks") or {}
        return int(self._broadcast.get("total", -1)) + int(sms.get("total", 0))

    def _say(self) -> None:
        if monotonic() - self._said >= _SAY_EVERY_SECONDS:
            self._said = monotonic()
            total = max(0, self._expected())
            end = "\r" if sys.stderr.isatty() else "\n"
            click.echo(f"{max(0, self.lines - 1):,} of {total:,} messages archived{end}", nl=False, err=True)


def _sync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # some systems can't
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@click.command()
@click.argument("broadcast", metavar="ID")
@click.argument("file", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--keep", is_flag=True, help="Leave its people in Redis until their time is up.")
@json_option
@env_file_option
def archive(broadcast: str, file: Path, *, keep: bool, as_json: bool, env_file: Path | None) -> None:
    """Write an ended broadcast into FILE (NDJSON, gzip), and only then remove its people from Redis.

    The first line is the broadcast with its content, then comes one a message: variables, text, state, code,
    SID, times, consent, history, and what people answered. The file is whole and on disk before anything is
    removed. Counts stay.
    """

    async def here(store: Store) -> Written:
        view = await removals.removable(store, broadcast)
        await audit.record(store, at_the_shell(), "broadcast.archive", broadcast)
        with ArchiveFile(file) as taken:
            async for piece in pieces_of(store, view):
                taken.add(piece)
            written = taken.finish()
        if not keep:
            await removals.remove(store, at_the_shell(), broadcast, ended_at=written.ended_at)
        return written

    def there(client: Client) -> Written:
        pieces = client.archive_broadcast(broadcast)
        first = next(pieces, b"")  # what is refused leaves no file
        with ArchiveFile(file) as taken:
            taken.add(first)
            for piece in pieces:
                taken.add(piece)
            written = taken.finish()
        if not keep:
            client.remove_people(broadcast, ended_at=written.ended_at)
        return written

    done = at_hand(env_file, here, there)
    if as_json:
        print_json({"archived": done.messages, "file": str(file), "bytes": done.bytes, "removed": not keep})
    else:
        say(
            f"{done.messages:,} messages in {file}"
            + ("" if keep else "; their people are removed from Redis")
        )
