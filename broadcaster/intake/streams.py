"""Streams: broadcasts that take their messages one by one.

All messages of a stream have in common what `StreamKey` names, content's shape included; what varies are
values in its batches. Each hour has streams of its own, so that they end and can be removed.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from broadcaster.domain.broadcast import BroadcastSpec, OnDoubt, OutsideWindow, Priority
from broadcaster.domain.data_format import needed_by
from broadcaster.domain.purpose import CONSENT_GIVEN, Purpose
from broadcaster.domain.record import RECORD_BYTES, Record
from broadcaster.intake.load import CLASS_OF, new_broadcast_id
from broadcaster.ledger.people import forget
from broadcaster.ledger.removing_replies import remove_answering
from broadcaster.store.batches import unpack_batch
from broadcaster.store.scripts import Call, packed, text, unpacked
from broadcaster.store.who import bucket_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broadcaster.domain.content import Content
    from broadcaster.store.connection import Store

HOUR_SECONDS: Final = 3600
#: A message may be given up by this part of its time too early: those of about the same time share a stream.
_EARLY: Final = 8
_BATCHES_AT_ONCE: Final = 50


class StreamKey(NamedTuple):
    """What makes two messages of one hour belong to one stream; `shape` names the content's shape.

    `lanes` are (name, segments a second), of which the rate doesn't count: it is what a new lane begins with.
    `agreed`: each message holds its recipient's consent.
    """

    key_id: str
    shape: str
    lanes: tuple[tuple[str, float], ...]
    service: str | None
    priority: Priority
    on_doubt: OnDoubt
    rate: float | None
    expires_at: float | None
    hour: int
    purpose: Purpose = Purpose.UTILITY
    agreed: bool = False
    outside_window: OutsideWindow = OutsideWindow.REFUSE


def expiry(now: float, expires_in_seconds: float) -> float:
    """Return the unix second at which a message expires: at most an eighth of its time early, never late."""
    step = 2.0 ** math.floor(math.log2(expires_in_seconds / _EARLY))
    return (now + expires_in_seconds) // step * step


@dataclass(slots=True)
class Stream:
    """One stream as its appends name it: `id` is what it gets if it begins, `needs` its data format."""

    key: StreamKey
    print: str
    spec: BroadcastSpec
    id: str
    _facts: bytes
    needs: int

    @classmethod
    def of(cls, key: StreamKey, content: Content) -> Stream:
        """Return the stream of `key`, whose content's shape `content` is."""
        names = tuple(name for name, _ in key.lanes)
        spec = BroadcastSpec(
            name="single messages",
            senders=names,
            content=content,
            messaging_service_sid=key.service,
            priority=key.priority,
            on_doubt=key.on_doubt,
            expires_at=key.expires_at,
            rate=key.rate,
            purpose=key.purpose,
            consent_column=CONSENT_GIVEN if key.agreed else None,
            outside_window=key.outside_window,
        )
        named: list[object] = list(key._replace(lanes=()))
        if key.outside_window is OutsideWindow.REFUSE:  # so that the version before names it the same
            named.pop()
        whole = msgspec.json.encode([*named, names])
        facts = (
            msgspec.msgpack.encode(spec),
            CLASS_OF[spec.priority],
            spec.name,
            "" if key.expires_at is None else repr(key.expires_at),
            "" if spec.rate is None else repr(spec.rate),
            [(name, repr(rate)) for name, rate in key.lanes],
            repr(spec.send_at) if spec.send_at else "",
            "",
            "",
            "1" if content.sms is not None else "",
        )
        print_ = hashlib.sha256(whole).hexdigest()[:24]
        return cls(key, print_, spec, new_broadcast_id(), packed(facts), needed_by(spec))

    def begin_anew(self) -> None:
        """Have the next append begin a stream under another id."""
        self.id = new_broadcast_id()

    def append(self, items: list[Item], opt_outs: str = "0") -> Call[list[Appended]]:
        """Take items into the stream, each once. `opt_outs` is the epoch that is known."""
        return Call(
            "append", (self.print, self.id, self._facts, opt_outs, packed(items)), _appended, lasting=True
        )


class StreamBatch(NamedTuple):
    """One batch to append: its lane's place in the stream's key, and what `append.lua` writes of it.

    `counts` are messages by state, `codes` by 'state:code'.
    """

    lane: int
    recipients: bytes
    records: bytes
    marks: bytes
    counts: dict[str, int]
    codes: dict[str, int]


class Item(NamedTuple):
    """Batches that are appended together, once for each (memo, number): the answer is kept so long.

    `turn`: whose answer, once it is kept (ledger/kept_answers.py), says that they were appended.
    """

    memo: str
    number: int
    kept_seconds: int
    batches: list[StreamBatch]
    turn: str = ""


class Appended(NamedTuple):
    """What an item came to: 'ok', or what forbids it (`append.lua`); the batches' names in order.

    `known`: it was done before, under the same memo and number.
    """

    verdict: str
    stream: str
    batches: list[str]
    known: bool


def _appended(reply: bytes) -> list[Appended]:
    return [
        Appended(_str(verdict), _str(stream), [_str(name) for name in batches], bool(known))
        for verdict, stream, batches, known in unpacked(reply)
    ]


def _str(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()


def retire(stream: str, kept_seconds: int) -> Call[str]:
    """Let a stream take nothing any more if it is over for so long; 'ok', or what forbids it."""
    return Call("retire", (stream, kept_seconds), text)


async def remove_streams(store: Store, kept_seconds: int) -> int:
    """Remove streams of which nothing has changed for so long, with the SMS in place of their messages.

    Answers how many went. May be done twice, by several, and may die anywhere: a stream is in `streams` until
    all else of it, and its SMS, are gone. Raises redis' errors and `StoreError`.
    """
    keys, removed = store.keys, 0
    now, micro = await store.redis.time()
    oldest = (now - max(kept_seconds, HOUR_SECONDS)) * 1_000_000 + micro
    for raw in await store.redis.zrangebyscore(keys.plain("streams"), "-inf", oldest):
        stream = raw.decode()
        state, parent = await store.redis.hmget(keys.broadcast(stream), "state", "parent")
        alone = state == b"completed" and parent is None
        if alone:
            several = [stream, *await _fallbacks_of(store, stream)]
            if max([await _last_change(store, one) for one in several]) > now - kept_seconds:
                continue
        if await store.run(retire(stream, kept_seconds)) in ("ok", "gone"):
            gone, left = await _remove_each(store, await _fallbacks_of(store, stream))
            removed += gone
            if not left:
                await _remove(store, stream)
                removed += 1
    return removed


async def remove_fallbacks(store: Store, broadcasts: Iterable[str]) -> None:
    """Remove the SMS, and replies to them, of broadcasts that are being deleted, or whose people's data are.

    What can't go yet goes by `remove_streams`. It may be done twice. Raises redis' errors and `StoreError`.
    """
    for broadcast in broadcasts:
        streams = await _fallbacks_of(store, broadcast)
        if streams:
            await remove_answering(store, streams)
        await _remove_each(store, streams)


async def _fallbacks_of(store: Store, broadcast: str) -> list[str]:
    """Return the streams of the SMS in place of a broadcast's, or a stream's, messages."""
    found = await store.redis.smembers(store.keys.broadcast(broadcast, ":fallbacks"))
    return [raw.decode() for raw in found]


async def _remove_each(store: Store, fallbacks: Iterable[str]) -> tuple[int, int]:
    """Remove streams of SMS whose broadcast goes; returns how many went, and how many could not."""
    gone = left = 0
    for stream in fallbacks:
        if await store.run(retire(stream, 0)) in ("ok", "gone"):
            await _remove(store, stream)
            gone += 1
        else:
            left += 1
    return gone, left


async def _last_change(store: Store, stream: str) -> int:
    """Return when a message of it last changed: a callback may come long after it was accepted.

    Nothing changes while Twilio keeps them back, so their hour counts as a change.
    """
    finished, raw_spec = await store.redis.hmget(store.keys.broadcast(stream), "finished", "spec")
    hour = msgspec.msgpack.decode(raw_spec, type=BroadcastSpec).send_at if raw_spec else 0.0
    latest = max(int(finished or 0), int(hour))
    for _, batches in await _flows(store, stream):
        for start in range(0, len(batches), _BATCHES_AT_ONCE):
            some = batches[start : start + _BATCHES_AT_ONCE]
            for raw in await store.redis.mget([store.keys.ledger(stream, name) for name in some]):
                rows = range(len(raw or b"") // RECORD_BYTES)
                latest = max([latest, *(Record.unpack(raw, row * RECORD_BYTES).changed for row in rows)])
    return latest


async def _flows(store: Store, stream: str) -> list[tuple[str, list[str]]]:
    """Return each lane of a stream with the names of its batches."""
    keys, found = store.keys, []
    for index, raw in enumerate(await store.redis.lrange(keys.broadcast(stream, ":lanes"), 0, -1)):
        count = int(await store.redis.hget(keys.flow(stream, raw.decode()), "n") or 0)
        found.append((raw.decode(), [f"{index}.{number}" for number in range(count)]))
    return found


async def _remove(store: Store, stream: str) -> None:
    keys = store.keys
    flows = await _flows(store, stream)
    serial, parent = await store.redis.hmget(keys.broadcast(stream), "serial", "parent")
    for _, batches in flows:
        for start in range(0, len(batches), _BATCHES_AT_ONCE):
            await _remove_batches(store, stream, int(serial or 0), batches[start : start + _BATCHES_AT_ONCE])
    async with store.redis.pipeline(transaction=True) as pipe:
        for lane, _ in flows:
            pipe.unlink(*(keys.flow(stream, lane, part) for part in ("", ":back", ":retry")))
            for part in (":u", ":n", ":b", ":later"):
                pipe.zrem(keys.lane(lane, part), stream)
        parts = ("", ":lanes", ":codes", ":dead", ":doubt", ":run", ":looks", ":polled", ":unasked")
        pipe.unlink(*(keys.broadcast(stream, part) for part in parts))
        if serial is not None:
            pipe.hdel(keys.plain("bcs:serials"), serial)
        for name in ("active", "skipping", "doubtful", "windowed"):
            pipe.srem(keys.plain(name), stream)
        if parent is not None:
            pipe.srem(keys.broadcast(parent.decode(), ":fallbacks"), stream)
        pipe.zrem(keys.plain("streams"), stream)
        await pipe.execute()


async def _remove_batches(store: Store, stream: str, serial: int, batches: list[str]) -> None:
    """Remove some batches, the index first: what is found there leads to nothing that is half gone."""
    keys = store.keys
    names = [keys.ledger(stream, name) for name in batches]
    buckets: set[str] = set()
    for name, raw in zip(
        batches, await store.redis.mget([keys.batch(stream, name) for name in batches]), strict=True
    ):
        if raw is not None:
            to = unpack_batch(raw).to
            buckets.update(map(bucket_of, to))
            names += [keys.history(stream, name, row) for row in range(len(to))]
    await forget(store, [serial], buckets)
    await store.redis.unlink(*names)
    await store.redis.unlink(*(keys.batch(stream, name) for name in batches))
