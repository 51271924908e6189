"""A snapshot of Redis over the connection there is, as a replica gets it: from anywhere, at any moment.

Redis forks and sends what it held then (`SYNC`, as `redis-cli --rdb` asks for it); it goes on meanwhile. The
file is a `dump.rdb` like any other, whose own checksum a server tests as it reads it.
"""

from __future__ import annotations

import asyncio
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from redis.exceptions import RedisError

from broadcaster.store.backup_note import NoteSought
from broadcaster.store.errors import StoreError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.store.connection import Store

#: Redis says nothing but a newline now and then while it writes; it does so every ten seconds at least.
PATIENCE_SECONDS: Final = 60.0
#: So much may the clock of whoever noted a backup's time have been ahead.
CLOCKS_DIFFER_SECONDS: Final = 300
_CHUNK: Final = 1 << 18
_STREAMED: Final = b"$EOF:"
_MARK_BYTES: Final = 40
_MAGIC: Final = (b"REDIS", b"VALKEY")


class Dumped(NamedTuple):
    """A snapshot: unix second before which everything is in it, its bytes, and the SHA-256 of them.

    The second is the one that the snapshot itself holds; None where that could not be read out of it.
    """

    taken_at: int | None
    size: int
    digest: str


async def note_backup(store: Store) -> int:
    """Write into Redis when its next snapshot is taken, so that this is in it; return that (unix second)."""
    seconds, _ = await store.redis.time()
    await store.redis.set(store.keys.plain("backup"), int(seconds))
    return int(seconds)


async def backup_noted(store: Store) -> int | None:
    """Return when the backup that this data is was taken, or an earlier one; None if none was by us."""
    found = await store.redis.get(store.keys.plain("backup"))
    return None if found is None else int(found)


async def unknown_since(store: Store, taken_at: float) -> int:
    """Return the unix second from which on to look for what a backup taken at `taken_at` doesn't know.

    That was told by another clock than this server's, by which it is compared with Twilio's, and nobody can
    ask it any more: hence the margin. Too early, and more of Twilio's list is read; too late, and what was
    sent right after the backup would count as never sent. Raises redis' errors.
    """
    now, _ = await store.redis.time()
    return int(min(taken_at, now)) - CLOCKS_DIFFER_SECONDS


async def dump(store: Store, write: Callable[[bytes], Any]) -> Dumped:
    """Take a snapshot, handed to `write` in pieces. Raises `StoreError`: what was written is no backup.

    What `write` raises comes through.
    """
    try:
        taken_at = await note_backup(store)
        connection = await store.redis.connection_pool.get_connection()
    except (RedisError, OSError) as error:
        raise Unreachable(f"Redis does not answer: {error}") from error
    try:
        await connection.send_command("REPLCONF", "rdb-only", "1")
        await connection.read_response()
        await connection.send_command("SYNC")
        pieces = _Pieces(write, NoteSought(store.keys.plain("backup")))
        await _receive(connection._reader, pieces)  # noqa: SLF001 - what follows is no reply
    except TimeoutError:
        raise Unreachable(f"Redis has sent nothing of its snapshot for {PATIENCE_SECONDS:g} s") from None
    except RedisError as error:
        raise StoreError(f"{_REFUSED} ({error})") from error
    except _NotWrittenError as failed:
        raise failed.error from None
    except (OSError, EOFError) as error:
        raise Unreachable(f"the connection broke off in the middle of the snapshot: {error}") from error
    finally:
        await connection.disconnect(nowait=True)
        await store.redis.connection_pool.release(connection)
    return Dumped(pieces.note.found(taken_at), pieces.size, pieces.digest.hexdigest())


_REFUSED: Final = (
    "Redis refuses to send a snapshot: its user needs +sync and +replconf, and a service that somebody runs "
    "for you may never allow it: then use that one's own backups, and note the time before"
)


class _NotWrittenError(Exception):
    """`write` failed: not to be taken for a connection that broke off."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


class _Pieces:
    """Counts and digests what it passes on, and looks for the note in it."""

    def __init__(self, write: Callable[[bytes], Any], note: NoteSought) -> None:
        self.note = note
        self.size = 0
        self.digest = sha256()
        self._write = write

    def take(self, piece: bytes) -> None:
        if not self.size and piece and not piece.startswith(_MAGIC):
            raise StoreError("what Redis sent is no snapshot")
        self.size += len(piece)
        self.digest.update(piece)
        self.note.look_at(piece)
        try:
            self._write(piece)
        except OSError as error:
            raise _NotWrittenError(error) from error


async def _receive(reader: asyncio.StreamReader, pieces: _Pieces) -> None:
    head = b""
    while not head:  # newlines while it forks and writes
        line = await asyncio.wait_for(reader.readline(), PATIENCE_SECONDS)
        if not line:
            raise EOFError("it was closed")
        head = line.strip()
    if head.startswith(b"-"):
        raise StoreError(f"{_REFUSED} ({head[1:].decode(errors='replace')})")
    if head.startswith(_STREAMED):
        await _until(reader, head[len(_STREAMED) :], pieces)
        return
    left = int(head[1:])
    while left:
        piece = await asyncio.wait_for(reader.read(min(left, _CHUNK)), PATIENCE_SECONDS)
        if not piece:
            raise EOFError(f"{left:,} bytes were missing")
        left -= len(piece)
        pieces.take(piece)


async def _until(reader: asyncio.StreamReader, mark: bytes, pieces: _Pieces) -> None:
    """Take everything up to the mark that Redis has announced; the last bytes may be it and are kept back."""
    held = b""
    while not held.endswith(mark):
        piece = await asyncio.wait_for(reader.read(_CHUNK), PATIENCE_SECONDS)
        if not piece:
            raise EOFError("its end was missing")
        held += piece
        if len(held) > _MARK_BYTES:
            pieces.take(held[:-_MARK_BYTES])
            held = held[-_MARK_BYTES:]
