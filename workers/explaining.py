"""Which listed messages other records explain: those to the same address, of the same time."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from broadcaster.domain.record import RECORD_BYTES, Record, State
from broadcaster.ledger.people import find_places
from broadcaster.ledger.specs import read_spec
from broadcaster.store.batches import unpack_batch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broadcaster.ledger.doubts import Doubt
    from broadcaster.store.connection import Store

BATCHES_AT_ONCE: Final = 50
#: A broadcast that ended so long before may still have had a message under way.
MARGIN_SECONDS: Final = 300


@dataclass(slots=True)
class Explained:
    """SIDs that records hold, and addresses that one is being sent to: what is listed may be that.

    `doubtful` are those of each broadcast with something in doubt.
    """

    sids: set[str] = field(default_factory=set)
    sending: set[str] = field(default_factory=set)
    doubtful: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))


async def explained(store: Store, doubts: Iterable[Doubt], since: float) -> Explained:
    """Look at all records to the doubts' addresses. Raises redis' errors and `StoreError`."""
    found = Explained()
    addresses, asked = set[str](), set[str]()
    for doubt in doubts:
        asked.add(doubt.broadcast)
        found.sids |= doubt.explained
        addresses.add(doubt.question.to)
    if not addresses:
        return found
    places = await find_places(store, addresses)
    of_that_time = await _of_that_time(store, {p.broadcast for some in places.values() for p in some}, since)
    sought: dict[tuple[str, str], set[str]] = defaultdict(set)
    for to, some in places.items():
        for place in some:
            if place.broadcast in of_that_time:
                sought[place.broadcast, place.batch].add(to)
    batches = sorted(sought)
    for start in range(0, len(batches), BATCHES_AT_ONCE):
        await _read(store, batches[start : start + BATCHES_AT_ONCE], sought, found)
    # of these nobody can ask: what another version wrote; what is listed may be theirs all the same
    for broadcast in found.doubtful.keys() - asked:
        if read_spec(broadcast, await store.redis.hget(store.keys.broadcast(broadcast), "spec")) is None:
            found.sending |= found.doubtful[broadcast]
    return found


async def _of_that_time(store: Store, broadcasts: set[str], since: float) -> set[str]:
    """Return those that may have had a message under way since."""
    names = sorted(broadcasts)
    async with store.redis.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.hmget(store.keys.broadcast(name), "started", "finished")
        times = await pipe.execute()
    return {
        name
        for name, (started, finished) in zip(names, times, strict=True)
        if started and (not finished or float(finished) >= since - MARGIN_SECONDS)
    }


async def _read(
    store: Store,
    batches: list[tuple[str, str]],
    sought: dict[tuple[str, str], set[str]],
    found: Explained,
) -> None:
    keys = store.keys
    names = [name for at in batches for name in (keys.batch(*at), keys.ledger(*at))]
    raws = await store.redis.mget(names)
    for at, packed, ledger in zip(batches, raws[::2], raws[1::2], strict=True):
        if packed is None or ledger is None:
            continue
        for row, to in enumerate(unpack_batch(packed).to):
            if to in sought[at]:
                record = Record.unpack(ledger, row * RECORD_BYTES)
                if record.sid is not None:
                    found.sids.add(record.sid)
                if record.state is State.SENDING:
                    found.sending.add(to)
                elif record.state is State.IN_DOUBT:
                    found.doubtful[at[0]].add(to)
