"""A broadcast as lines of JSON, packed as they come: first the broadcast itself, then a line a message.

A message's line has its history and the replies to it, which are removed with it. The SMS in place of
WhatsApp messages come last; each names the message in whose place it went (`fallback_of`).
"""

from __future__ import annotations

import time
import zlib
from typing import TYPE_CHECKING, Any, Final

import msgpack
import msgspec

from broadcaster.ledger.removing_replies import replies_to
from broadcaster.reporting.bodies import read_spec
from broadcaster.reporting.fallbacks import fallback_streams
from broadcaster.reporting.messages import attempts_of, batches_of, read_batches
from broadcaster.reporting.replies import read_many
from broadcaster.reporting.said import Said
from broadcaster.store.scripts import Call, packed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broadcaster.reporting.broadcasts import BroadcastView
    from broadcaster.store.connection import Store

#: The first line says so.
VERSION: Final = 1
#: Redis is busy with so many batches for about a millisecond.
_BATCHES_AT_ONCE: Final = 8
_GZIP: Final = 31
_PIECE: Final = 64 * 1024
_encode: Final = msgspec.json.Encoder().encode


async def archive(store: Store, view: BroadcastView) -> AsyncIterator[bytes]:
    """Yield a broadcast's archive (gzip) in pieces; its memory doesn't grow with the list.

    Only ids of the replies to it are held. Messages stand as they are when their turn comes. Raises
    redis' errors and `StoreError`.
    """
    packer = zlib.compressobj(wbits=_GZIP)
    held: list[bytes] = []
    size = 0
    async for line in _lines(store, view):
        held.append(packer.compress(line))
        size += len(held[-1])
        if size >= _PIECE:
            yield b"".join(held)
            held, size = [], 0
    yield b"".join([*held, packer.flush()])


async def _lines(store: Store, view: BroadcastView) -> AsyncIterator[bytes]:
    spec = await read_spec(store, view.id)
    head: dict[str, Any] = {"archive": VERSION, "archived_at": int(time.time()), "broadcast": view.summary()}
    yield _line(head | {"spec": None if spec is None else msgspec.to_builtins(spec)})
    async for lines in _messages(store, view.id, Said(spec)):
        yield lines
    for stream in await fallback_streams(store, view.id):
        async for lines in _messages(store, stream, Said(await read_spec(store, stream))):
            yield lines


async def _messages(store: Store, broadcast: str, said: Said) -> AsyncIterator[bytes]:
    """Yield the lines of a broadcast's, or stream's, messages."""
    answers = await replies_to(store, broadcast)
    async for lane, names in batches_of(store, broadcast):
        for start in range(0, len(names), _BATCHES_AT_ONCE):
            some = names[start : start + _BATCHES_AT_ONCE]
            histories = await store.run(read_histories(broadcast, some))
            messages = [message async for message in read_batches(store, broadcast, lane, some)]
            told = await read_many(store, [reply for m in messages for reply in answers.get(m.id, ())])
            replies: dict[str, list[Any]] = {}
            for one in told:
                replies.setdefault(one.reply.message, []).append(one.summary())
            lines: list[bytes] = []
            for message in messages:
                kept = histories.get((message.batch, message.index), [])
                history = [attempt.summary() for attempt in attempts_of(message, kept)]
                more = {"history": history, "replies": replies.get(message.id, [])}
                lines.append(_line(said.whole(message) | more))
            yield b"".join(lines)


def _line(value: dict[str, Any]) -> bytes:
    return _encode(value) + b"\n"


def read_histories(broadcast: str, batches: list[str]) -> Call[dict[tuple[str, int], list[bytes]]]:
    """Read what is kept of the attempts of some batches, by batch and index."""
    return Call("histories", (broadcast, packed(batches)), _histories)


def _histories(reply: bytes) -> dict[tuple[str, int], list[bytes]]:
    return {(batch.decode(), int(index)): lines for batch, index, lines in msgpack.unpackb(reply, raw=True)}
