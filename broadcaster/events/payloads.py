"""From what happened to the JSON that a customer gets: `{"type", "timestamp", "data"}`, below 20 kB.

A message's variables and text are never in it; a reply's text is. The id of an event says what happened, not
when somebody looked: whoever is told twice (a crash between two steps) is told under the same `webhook-id`.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from broadcaster.domain.record import State
from broadcaster.domain.replies import Reply
from broadcaster.events.stream import BroadcastChange, MessageChange, ReplyCame
from broadcaster.store.batches import Recipients, unpack_batch
from broadcaster.twilio.codes import class_of, explain_reason, meaning

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from broadcaster.events.stream import Change, Entry
    from broadcaster.store.connection import Store

#: Names, references and reasons of ours are short; a caller's may be anything.
_LONGEST: Final = 1000
_ID_BYTES: Final = 16
#: Of a reply's parts in JSON, where a character may take six bytes (`\u0001`).
_BODY_BYTES: Final = 8_000
_URL_BYTES: Final = 500
_PART_BYTES: Final = 300
_TYPE_BYTES: Final = 100
_MEDIA_MOST: Final = 10
_read_reply = msgspec.json.Decoder(Reply).decode


class Event(NamedTuple):
    """One event as it is sent: its `webhook-id`, type, when (ms of unix time), and its body."""

    id: str
    kind: str
    at_ms: int
    body: bytes


class Known(NamedTuple):
    """What is not in the stream, as far as it is still there.

    Batches, lanes and names of broadcasts; replies, each with when it came (ms of unix time).
    """

    batches: dict[tuple[str, str], Recipients]
    lanes: dict[str, tuple[str, ...]]
    names: dict[str, str]
    replies: Mapping[str, tuple[Reply, int]] = MappingProxyType({})


async def look_up(store: Store, entries: Iterable[Entry], kinds: Collection[str]) -> Known:
    """Read what the payloads of these kinds need, each batch once. Raises redis' errors."""
    changes = [change for entry in entries for change in entry.changes if change.kind in kinds]
    batches = sorted({(c.broadcast, c.batch) for c in changes if isinstance(c, MessageChange)})
    broadcasts = sorted({c.broadcast for c in changes if isinstance(c, MessageChange | BroadcastChange)})
    replies = sorted({change.reply for change in changes if isinstance(change, ReplyCame)})
    if not broadcasts and not replies:
        return Known({}, {}, {})
    keys = store.keys
    async with store.redis.pipeline(transaction=False) as pipe:
        for bid in broadcasts:
            pipe.hget(keys.broadcast(bid), "name")
            pipe.lrange(keys.broadcast(bid, ":lanes"), 0, -1)
        for bid, batch in batches:
            pipe.get(keys.batch(bid, batch))
        for name in replies:
            pipe.hmget(keys.reply(name), "facts", "at")
        found = await pipe.execute()
    heads, packed = found[: 2 * len(broadcasts)], found[2 * len(broadcasts) :]
    written = packed[len(batches) :]
    return Known(
        {at: unpack_batch(raw) for at, raw in zip(batches, packed, strict=False) if raw},
        {bid: tuple(lane.decode() for lane in heads[2 * i + 1]) for i, bid in enumerate(broadcasts)},
        {bid: (heads[2 * i] or b"").decode() for i, bid in enumerate(broadcasts)},
        {name: (_read_reply(r), int(at)) for name, (r, at) in zip(replies, written, strict=True) if r},
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
    elif isinstance(change, ReplyCame):
        name = _id(change.kind, change.reply)
        data = _reply(change, known)
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
        "class": class_of(change.code),
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


def _reply(change: ReplyCame, known: Known) -> dict[str, Any]:
    reply, at_ms = known.replies.get(change.reply, (None, 0))
    if reply is None:  # removed since (`forget`): its person must not be told of
        return {"id": change.reply}
    media = [one for one in reply.media if one.url == _cut(one.url, _URL_BYTES)][:_MEDIA_MOST]
    body = _cut(reply.body, _BODY_BYTES)
    return {
        "id": reply.id,
        "from": _cut(reply.person, _PART_BYTES),
        "to": _cut(reply.sender, _PART_BYTES),
        "messaging_service_sid": reply.service or None,
        "received_at": round(at_ms / 1000, 3),
        "body": body,
        "truncated": body != reply.body or len(media) < len(reply.media),
        "media": [{"url": one.url, "type": _cut(one.type, _TYPE_BYTES) or None} for one in media],
        "location": reply.location and _parts(reply.location),
        "button": reply.button and _parts(reply.button),
        "meaning": reply.meaning.value,
        "message": reply.message or None,
        "broadcast": reply.message.partition(".")[0] or None,
    }


def _parts(value: Any) -> dict[str, str | None]:
    return {name: _cut(text, _PART_BYTES) or None for name, text in msgspec.structs.asdict(value).items()}


def _cut(text: str, most: int) -> str:
    """Return a text, or as much of it as takes so many bytes in JSON, with a mark that there is more."""
    if len(msgspec.json.encode(text)) <= most:
        return text
    while len(msgspec.json.encode(text)) > most:
        text = text[: len(text) * 9 // 10]
    return f"{text}…"


def _body(kind: str, at_ms: int, data: dict[str, Any]) -> bytes:
    moment = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
    return msgspec.json.encode({"type": kind, "timestamp": moment.replace("+00:00", "Z"), "data": data})


def _id(*parts: str) -> str:
    # without full stops, which part the signed text (Standard Webhooks, "Signature scheme")
    return "evt_" + hashlib.blake2b("\n".join(parts).encode(), digest_size=_ID_BYTES).hexdigest()
