"""Deliveries of one endpoint: waiting until they are due, then done, or parked until they are replayed."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import msgpack

from broadcaster.store.scripts import Call, packed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from broadcaster.events.payloads import Event
    from broadcaster.events.stream import Read
    from broadcaster.store.connection import Store

#: Parked deliveries that are kept; beyond these the oldest go.
PARKED_MOST: Final = 100_000
MICRO: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one endpoint: when it happened, tries so far, the last answer in words."""

    id: str
    kind: str
    at_ms: int
    tries: int
    answer: str
    body: bytes

    def after(self, answer: str) -> Delivery:
        """Return it after one more try."""
        return Delivery(self.id, self.kind, self.at_ms, self.tries + 1, answer, self.body)


class How(enum.StrEnum):
    """How a try ended for its delivery."""

    DELIVERED = "delivered"
    AGAIN = "again"
    PARKED = "parked"


class Ended(NamedTuple):
    """The end of one try; `delay_seconds` until the next one where it goes again."""

    delivery: Delivery
    how: How
    delay_seconds: float = 0.0


class Listed(NamedTuple):
    """A delivery in a list: it is due, or was parked, at `at` (unix seconds)."""

    delivery: Delivery
    at: float


def take(endpoint_id: str, read: Read, events: Sequence[Event]) -> Call[int]:
    """Make deliveries of what was read, and move the endpoint's place; -1 if another has done so."""
    arguments = (
        endpoint_id,
        read.cursor,
        read.new_cursor,
        read.ordinal,
        read.lost,
        packed([[e.id, _pack(Delivery(e.id, e.kind, e.at_ms, 0, "", e.body))] for e in events]),
    )
    return Call("events_take", arguments, int)


def done(endpoint_id: str, ends: Sequence[Ended], place: Mapping[str, str]) -> Call[tuple[int, ...]]:
    """Write how tries ended, and what to remember of the endpoint; delivered, again, parked, dropped."""
    told = [
        [
            e.delivery.id,
            e.how.value,
            int(e.delay_seconds * MICRO),
            b"" if e.how is How.DELIVERED else _pack(e.delivery),
        ]
        for e in ends
    ]
    arguments = (endpoint_id, packed(told), packed(dict(place)), PARKED_MOST)
    return Call("events_done", arguments, lambda reply: tuple(int(n) for n in reply))


def replay(endpoint_id: str, ids: Sequence[str], most: int) -> Call[int]:
    """Let parked deliveries be due again, these or the `most` oldest; answers how many."""
    return Call("events_replay", (endpoint_id, packed(list(ids)), most), int, lasting=True)


async def read_due(
    store: Store, endpoint_id: str, most: int, without: Collection[str] = ()
) -> list[Delivery]:
    """Read at most so many deliveries that are due, but for those under way. Raises redis' errors."""
    seconds, micro = await store.redis.time()
    found = await store.redis.zrangebyscore(
        store.keys.endpoint(endpoint_id, ":queue"),
        "-inf",
        seconds * MICRO + micro,
        start=0,
        num=most + len(without),
    )
    ids = [raw.decode() for raw in found]
    return await _read(store, endpoint_id, [name for name in ids if name not in without][:most])


async def read_deliveries(
    store: Store, endpoint_id: str, *, parked: bool, start: int = 0, most: int = 100
) -> list[Listed]:
    """Read waiting deliveries, the soonest first, or parked ones, the oldest first."""
    key = store.keys.endpoint(endpoint_id, ":parked" if parked else ":queue")
    found = await store.redis.zrange(key, start, start + most - 1, withscores=True)
    times = {raw.decode(): score / MICRO for raw, score in found}
    return [Listed(d, times[d.id]) for d in await _read(store, endpoint_id, list(times))]


async def _read(store: Store, endpoint_id: str, ids: list[str]) -> list[Delivery]:
    if not ids:
        return []
    bodies = await store.redis.hmget(store.keys.endpoint(endpoint_id, ":bodies"), ids)
    return [_unpack(name, raw) for name, raw in zip(ids, bodies, strict=True) if raw]


def _pack(delivery: Delivery) -> bytes:
    # events_replay.lua sets the third to 0
    return packed([delivery.kind, delivery.at_ms, delivery.tries, delivery.answer, delivery.body])


def _unpack(name: str, raw: bytes) -> Delivery:
    kind, at_ms, tries, answer, body = msgpack.unpackb(raw, raw=True)
    return Delivery(name, kind.decode(), int(at_ms), int(tries), answer.decode(errors="replace"), body)
