"""From what happened to the JSON that a customer gets: `{"type", "timestamp", "data"}`, below 20 kB.

A message's variables and text are never in it. The id of an event says what happened, not when somebody
looked: whoever is told twice (a crash between two steps) is told under the same `webhook-id`.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from broadcaster.domain.record import State
from broadcaster.events.stream import BroadcastChange, MessageChange, OptOutChange
from broadcaster.store.batches import Recipients, unpack_batch
from broadcaster.twilio.codes import explain_reason, meaning

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from broadcaster.events.stream import Change, Entry
    from broadcaster.store.connection import Store

#: Names, references and reasons of ours are short; a caller's may be anything.
_LONGEST: Final = 1000
_ID_BYTES: Final = 16


class Event(NamedTuple):
    """One event as it is sent: its `webhook-id`, type, when (ms of unix time), and its body."""

    id: str
    kind: str
    at_ms: int
    body: bytes


class Known(NamedTuple):
    """What is not in the stream: batches, lanes and names of broadcasts, as far as they are still there."""

    batches: dict[tuple[str, str], Recipients]
    lanes: dict[str, tuple[str, ...]]
    names: dict[str, str]


async def look_up(store: Store, entries: Iterable[Entry], kinds: Collection[str]) -> Known:
    """Read what the payloads of these kinds need, each batch once. Raises redis' errors."""
    changes = [change for entry in entries for change in entry.changes if change.kind in kinds]
    batches = sorted({(c.broadcast, c.batch) for c in changes if isinstance(c, MessageChange)})
    broadcasts = sorted({c.broadcast for c in changes if not isinstance(c, OptOutChange)})
    if not broadcasts:
        return Known({}, {}, {})
    keys = store.keys
    async with store.redis.pipeline(transaction=False) as pipe:
        for bid in broadcasts:
            pipe.hget(keys.broadcast(bid), "name")
            pipe.lrange(keys.broadcast(bid, ":lanes"), 0, -1)
        for bid, batch in batches:
            pipe.get(keys.batch(bid, batch))
        replies = await pipe.execute()
    heads, packed = replies[: 2 * len(broadcasts)], replies[2 * len(broadcasts) :]
    return Known(
        {at: unpack_batch(raw) for at, raw in zip(batches, packed, strict=True) if raw},
        {bid: tuple(lane.decode() for lane in heads[2 * i + 1]) for i, bid in enumerate(broadcasts)},
        {bid: (heads[2 * i] or b"").decode() for i, bid in enumerate(broadcasts)},
    )


def events_of(entries: Iterable[Entry], known: Known, kinds: Collection[str]) -> list[Event]:
    """Return the events of these kinds, in the order they happened."""
    return [
        _event(entry, number, change, known)
        for entry in entries
        for number, change in enumerate(entry.changes)
        if change.kind in kinds
    ]


def ping(endpoint_id: str, at_ms: int) -> Event:
    """Return what `test` sends: a type that means nothing else, and its id is never the same."""
    data = {"endpoint": endpoint_id, "text": "This is a test: your endpoint is reached."}
    name = _id("endpoint.test", endpoint_id, str(at_ms))
    return Event(name, "endpoint.test", at_ms, _body("endpoint.test", at_ms, data))


def _event(entry: Entry, number: int, change: Change, known: Known) -> Event:
    if isinstance(change, MessageChange):
        message = f"{change.broadcast}.{change.batch}.{change.row}"
        name = _id(change.kind, message, str(change.attempt), str(change.state), str(change.code))
        data = _message(message, change, known)
    elif isinstance(change, BroadcastChange):
        name = _id(change.kind, entry.id, str(number))
        data = _broadcast(change, known)
    else:
        name = _id(change.kind, entry.id, str(number))
        data = {
            "address": change.address,
            "scope": change.scope,
            "change": "added" if change.verb == "add" else "removed",
            "source": change.source[:_LONGEST] or None,
        }
    return Event(name, change.kind, entry.at_ms, _body(change.kind, entry.at_ms, data))


def _message(message: str, change: MessageChange, known: Known) -> dict[str, Any]:
    recipients = known.batches.get((change.broadcast, change.batch))
    lanes = known.lanes.get(change.broadcast, ())
    lane = int(change.batch.partition(".")[0])
    reference = recipients.references[change.row] if recipients and recipients.references else None
    return {
        "id": message,
        "broadcast": change.broadcast,
        "to": recipients.to[change.row] if recipients else None,
        "reference": reference[:_LONGEST] if reference else reference,
        "sender": lanes[lane] if lane < len(lanes) else None,
        "state": State(change.state).label,
        "code": change.code or None,
        "meaning": meaning(change.code) or None,
        "sid": ("MM" if change.flags & 1 else "SM") + change.sid.hex() if change.sid else None,
        "attempts": change.attempt,
    }


def _broadcast(change: BroadcastChange, known: Known) -> dict[str, Any]:
    return {
        "id": change.broadcast,
        "name": known.names.get(change.broadcast, "")[:_LONGEST],
        "state": change.state,
        "state_before": change.before,
        "state_reason": explain_reason(change.reason)[:_LONGEST],
        "total": change.total,
        "counts": {State(i).label: n for i, n in enumerate(change.counts) if n},
    }


def _body(kind: str, at_ms: int, data: dict[str, Any]) -> bytes:
    moment = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return msgspec.json.encode({"type": kind, "timestamp": moment.replace("+00:00", "Z"), "data": data})


def _id(*parts: str) -> str:
    # without full stops, which part the signed text (Standard Webhooks, "Signature scheme")
    return "evt_" + hashlib.blake2b("\n".join(parts).encode(), digest_size=_ID_BYTES).hexdigest()
