"""What happened, as the scripts wrote it: each endpoint reads the stream from its own place.

So one that is slow or down is behind by entries of the stream (about 25 bytes a message), and holds up no
other. What the stream drops before an endpoint has read it is counted and logged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgpack
import structlog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.store.connection import Store

log = structlog.get_logger("events")

_MESSAGE_HEAD: Final = 3
_MESSAGE_WIDTH: Final = 6
_BROADCAST_WIDTH: Final = 6


class MessageChange(NamedTuple):
    """A message came into `state`. `sid` is 16 raw bytes or b'', flags as in its record."""

    kind: str
    broadcast: str
    batch: str
    row: int
    attempt: int
    state: int
    code: int
    sid: bytes
    flags: int


class BroadcastChange(NamedTuple):
    """A broadcast came from state `before` into `state`; `counts` by the number of the messages' state."""

    kind: str
    broadcast: str
    before: str
    state: str
    reason: str
    total: int
    counts: tuple[int, ...]


class OptOutChange(NamedTuple):
    """An address was added to (`verb` 'add'), or removed from, the opt-outs of `scope` ('*': everywhere)."""

    kind: str
    verb: str
    scope: str
    address: str
    source: str


class ReplyCame(NamedTuple):
    """Somebody wrote to us: reply `reply` (ledger/replies.py), which is not in the stream itself."""

    kind: str
    reply: str


Change = MessageChange | BroadcastChange | OptOutChange | ReplyCame


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the stream: what one call of a script did. `at_ms` is Redis' clock."""

    id: str
    at_ms: int
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Read:
    """What an endpoint finds from its place on: the new place, entries up to there, and what was dropped."""

    cursor: str
    new_cursor: str
    ordinal: int
    lost: int
    entries: tuple[Entry, ...]


async def read_on(store: Store, endpoint_id: str, entries: int) -> Read | None:
    """Read at most so many entries behind an endpoint's place; None if there are none."""
    place = await store.redis.hmget(store.keys.endpoint(endpoint_id), "cursor", "read")
    if place[0] is None:
        return None
    events, cursor, ordinal = store.keys.plain("events"), place[0].decode(), int(place[1])
    async with store.redis.pipeline(transaction=True) as pipe:
        pipe.xrange(events, min=f"({cursor}", count=entries)
        pipe.exists(events)
        pipe.xinfo_stream(events)
        found, _, info = await pipe.execute(raise_on_error=False)
    if isinstance(found, Exception):
        raise found
    if not found:
        return None
    dropped_before = int(info["entries-added"]) - int(info["length"])
    lost = max(0, dropped_before - ordinal)
    return Read(
        cursor,
        found[-1][0].decode(),
        ordinal + lost + len(found),
        lost,
        tuple(_entry(name.decode(), fields[b"e"]) for name, fields in found),
    )


async def trim(store: Store, endpoint_ids: list[str]) -> None:
    """Drop what all these endpoints have been given. Raises redis' errors."""
    if not endpoint_ids:
        return
    async with store.redis.pipeline(transaction=False) as pipe:
        for endpoint_id in endpoint_ids:
            pipe.hget(store.keys.endpoint(endpoint_id), "cursor")
        cursors = await pipe.execute()
    places = [tuple(map(int, cursor.decode().split("-"))) for cursor in cursors if cursor]
    if places:
        ms, number = min(places)
        await store.redis.xtrim(store.keys.plain("events"), minid=f"{ms}-{number + 1}", approximate=True)


def _entry(entry_id: str, raw: bytes) -> Entry:
    changes: list[Change] = []
    for item in msgpack.unpackb(raw, raw=True):
        changes.extend(_changes(item))
    return Entry(entry_id, int(entry_id.partition("-")[0]), tuple(changes))


def _changes(item: list[Any]) -> Iterator[Change]:
    kind = item[0].decode()
    if kind.startswith("message."):
        bid, batch = item[1].decode(), item[2].decode()
        for at in range(_MESSAGE_HEAD, len(item), _MESSAGE_WIDTH):
            index, attempt, state, code, sid, flags = item[at : at + _MESSAGE_WIDTH]
            yield MessageChange(
                kind, bid, batch, int(index), int(attempt), int(state), int(code), sid, int(flags)
            )
    elif kind.startswith("broadcast."):
        bid, before, state, reason = (_text(part) for part in item[1:5])
        counts = tuple(int(n) for n in item[_BROADCAST_WIDTH:])
        yield BroadcastChange(kind, bid, before, state, reason, int(item[5]), counts)
    elif kind == "opt_out.changed":
        verb, scoped, source = (_text(part) for part in item[1])
        scope, _, address = scoped.partition("|")
        yield OptOutChange(kind, verb, scope, address, source)
    elif kind == "reply.received":
        yield ReplyCame(kind, _text(item[1]))
    else:  # written by a newer version of this program
        log.warning("events.unknown_kind", kind=kind)


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")
