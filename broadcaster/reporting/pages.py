"""Pages of broadcasts and of their messages: each costs a bounded amount of work, however much there is.

A page may hold fewer than asked for, even none, and still have a next one: then it has looked as far as one
request may. What is made meanwhile never makes a page repeat or leave out what was there before.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from broadcaster.domain.record import RECORD_BYTES, State
from broadcaster.reporting.broadcasts import read_broadcast
from broadcaster.reporting.messages import find_number, read_batches

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterator, Sequence

    from broadcaster.reporting.broadcasts import BroadcastView
    from broadcaster.reporting.messages import MessageView
    from broadcaster.store.connection import Store

_T = TypeVar("_T")
#: So many broadcasts, or batches of messages, are looked at for one page.
BROADCASTS_LOOKED_AT: Final = 2000
BATCHES_LOOKED_AT: Final = 200
_AT_ONCE: Final = 100
_BATCHES_AT_ONCE: Final = 20
_STATE_BITS: Final = 0x0F
_CODE_AT: Final = 5


@dataclass(frozen=True, slots=True)
class Page(Generic[_T]):
    """Some of many; `next` is where the next page begins (JSON's types), None after the last."""

    items: list[_T]
    next: Any


@dataclass(frozen=True, slots=True)
class MessageFilter:
    """Which messages: in one of these states, with one of these codes, to this address, of this reference.

    What is empty does not matter. `to` is as `parse_address` gives it.
    """

    states: frozenset[State] = frozenset()
    codes: frozenset[int] = frozenset()
    to: str = ""
    reference: str = ""

    def takes(self, view: MessageView) -> bool:
        """Whether a message is one of them."""
        return (
            (not self.states or view.record.state in self.states)
            and (not self.codes or view.record.code in self.codes)
            and (not self.to or view.to == self.to)
            and (not self.reference or view.reference == self.reference)
        )

    def may_be_in(self, ledger: bytes) -> bool:
        """Whether a batch with these records may hold one, as far as its records tell."""
        if self.states and not self.states.intersection(_states(ledger)):
            return False
        return not self.codes or not self.codes.isdisjoint(_codes(ledger))


def _states(ledger: bytes) -> set[State]:
    return {State(value & _STATE_BITS) for value in set(ledger[::RECORD_BYTES])}


def _codes(ledger: bytes) -> Iterator[int]:
    parts = zip(*(ledger[_CODE_AT + place :: RECORD_BYTES] for place in range(3)), strict=True)
    return ((high << 16) + (middle << 8) + low for high, middle, low in set(parts))


async def page_of_broadcasts(
    store: Store, *, after: Any = None, limit: int, states: Collection[str] = (), name: str = ""
) -> Page[BroadcastView]:
    """Return the newest broadcasts first: of these states, with `name` in their names in any case.

    `after` is a page's `next`. Raises redis' errors.
    """
    found: list[str] = []
    looked_at = 0
    async for some in _newest(store, after):
        for score, broadcast, state, called in some:
            if (not states or state in states) and name.lower() in called.lower():
                found.append(broadcast)
            looked_at += 1
            if len(found) >= limit or looked_at >= BROADCASTS_LOOKED_AT:
                return Page(await _views(store, found), [score, broadcast])
    return Page(await _views(store, found), None)


async def _newest(store: Store, after: Any) -> AsyncIterator[list[tuple[float, str, str, str]]]:
    """Yield (µs of its creation, id, state, name) of every broadcast, some at a time."""
    keys = store.keys
    at, last = (after[0], after[1]) if after else ("+inf", "")
    while True:
        found = await store.redis.zrevrangebyscore(
            keys.plain("bcs"), at, "-inf", start=0, num=_AT_ONCE, withscores=True
        )
        # of those of the same microsecond the ids descend too
        fresh = [
            (score, raw.decode()) for raw, score in found if not last or (score, raw.decode()) < (at, last)
        ]
        if not fresh:
            return
        async with store.redis.pipeline(transaction=False) as pipe:
            for _, broadcast in fresh:
                pipe.hmget(keys.broadcast(broadcast), "state", "name")
            told = await pipe.execute()
        yield [
            (score, broadcast, (state or b"").decode(), (name or b"").decode())
            for (score, broadcast), (state, name) in zip(fresh, told, strict=True)
        ]
        if len(found) < _AT_ONCE:
            return
        at, last = fresh[-1]


async def _views(store: Store, broadcasts: list[str]) -> list[BroadcastView]:
    views: list[BroadcastView | None] = []
    for start in range(0, len(broadcasts), _BATCHES_AT_ONCE):
        some = broadcasts[start : start + _BATCHES_AT_ONCE]
        views += await asyncio.gather(*(read_broadcast(store, name) for name in some))
    return [view for view in views if view is not None]


async def page_of_messages(
    store: Store, broadcast: str, wanted: MessageFilter, *, after: Any = None, limit: int
) -> Page[MessageView]:
    """Return a broadcast's messages, a lane's in the list's order. `after` is a page's `next`.

    Raises redis' errors.
    """
    if wanted.to:
        found = [view async for view in find_number(store, broadcast, wanted.to) if wanted.takes(view)]
        return Page(found[:limit], None)
    start = tuple(after or (0, 0, 0))
    items: list[MessageView] = []
    looked_at = 0
    async for lane, some in _places(store, broadcast, wanted, (start[0], start[1])):
        looked_at += len(some)
        async for view in _matching(store, broadcast, lane, some, wanted):
            place = (*map(int, view.batch.split(".")), view.index)
            if place < start:
                continue
            if len(items) >= limit:
                return Page(items, list(place))
            items.append(view)
        if looked_at >= BATCHES_LOOKED_AT:
            index, number = map(int, some[-1].split("."))
            return Page(items, [index, number + 1, 0])
    return Page(items, None)


async def _places(
    store: Store, broadcast: str, wanted: MessageFilter, start: tuple[int, int]
) -> AsyncIterator[tuple[str, list[str]]]:
    """Yield lanes with names of their batches, from `start` on, some at a time."""
    keys = store.keys
    lanes = [raw.decode() for raw in await store.redis.lrange(keys.broadcast(broadcast, ":lanes"), 0, -1)]
    marked = await _marked(store, broadcast, wanted)
    for index in range(start[0], len(lanes)):
        first = start[1] if index == start[0] else 0
        if marked is None:
            count = int(await store.redis.hget(keys.flow(broadcast, lanes[index]), "n") or 0)
            numbers: Sequence[int] = range(first, count)
        else:
            numbers = [number for lane, number in marked if lane == index and number >= first]
        for at in range(0, len(numbers), _BATCHES_AT_ONCE):
            yield lanes[index], [f"{index}.{number}" for number in numbers[at : at + _BATCHES_AT_ONCE]]


async def _marked(store: Store, broadcast: str, wanted: MessageFilter) -> list[tuple[int, int]] | None:
    """Return the batches with dead letters or messages in doubt, if only such are wanted: they are marked."""
    parts = {State.DEAD: ":dead", State.IN_DOUBT: ":doubt"}
    if not wanted.states or not wanted.states <= parts.keys():
        return None
    names: set[bytes] = set()
    for state in wanted.states:
        names.update(await store.redis.hkeys(store.keys.broadcast(broadcast, parts[state])))
    return sorted((int(lane), int(number)) for lane, number in (name.decode().split(".") for name in names))


async def _matching(
    store: Store, broadcast: str, lane: str, names: list[str], wanted: MessageFilter
) -> AsyncIterator[MessageView]:
    if wanted.states or wanted.codes:
        ledgers = await store.redis.mget([store.keys.ledger(broadcast, name) for name in names])
        told = zip(names, ledgers, strict=True)
        names = [name for name, ledger in told if ledger and wanted.may_be_in(ledger)]
    async for view in read_batches(store, broadcast, lane, names):
        if wanted.takes(view):
            yield view
