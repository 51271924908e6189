"""Which listed messages other records explain: those to the same address in broadcasts of the same time."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from broadcaster.domain.record import RECORD_BYTES, Record, State
from broadcaster.store.batches import fingerprint, has_fingerprint, unpack_batch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broadcaster.store.connection import Store
    from workers.doubts import Doubt

BROADCASTS_AT_MOST: Final = 1000
BATCHES_AT_ONCE: Final = 50
#: A broadcast that ended so long before may still have had a message under way.
MARGIN_SECONDS: Final = 300


@dataclass(slots=True)
class Explained:
    """SIDs that records hold, and addresses that one is being sent to: what is listed may be that."""

    sids: set[str] = field(default_factory=set)
    sending: set[str] = field(default_factory=set)


async def explained(store: Store, doubts: Iterable[Doubt], since: float) -> Explained:
    """Look at all records to the doubts' addresses. Raises redis' errors.

    A broadcast has one record for each address, so its own doubts need no look at itself.
    """
    found = Explained()
    broadcasts_of: dict[str, set[str]] = defaultdict(set)
    for doubt in doubts:
        found.sids |= doubt.explained
        broadcasts_of[doubt.question.to].add(doubt.broadcast)
    if not broadcasts_of:
        return found
    for broadcast in await _of_that_time(store, since):
        sought = {to for to, own in broadcasts_of.items() if own != {broadcast}}
        if sought:
            await _search(store, broadcast, sought, found)
    return found


async def _of_that_time(store: Store, since: float) -> list[str]:
    keys = store.keys
    newest = await store.redis.zrevrange(keys.plain("bcs"), 0, BROADCASTS_AT_MOST - 1)
    active = await store.redis.smembers(keys.plain("active"))
    names = list(dict.fromkeys(raw.decode() for raw in [*newest, *active]))
    async with store.redis.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.hmget(keys.broadcast(name), "started", "finished")
        times = await pipe.execute()
    return [
        name
        for name, (started, finished) in zip(names, times, strict=True)
        if started and (not finished or float(finished) >= since - MARGIN_SECONDS)
    ]


async def _search(store: Store, broadcast: str, sought: set[str], found: Explained) -> None:
    keys = store.keys
    marks = [fingerprint(to) for to in sought]
    for number, raw in enumerate(await store.redis.lrange(keys.broadcast(broadcast, ":lanes"), 0, -1)):
        count = int(await store.redis.hget(keys.flow(broadcast, raw.decode()), "n") or 0)
        names = [f"{number}.{batch}" for batch in range(count)]
        for start in range(0, count, BATCHES_AT_ONCE):
            some = names[start : start + BATCHES_AT_ONCE]
            prints = await store.redis.mget([keys.fingerprints(broadcast, name) for name in some])
            for name, held in zip(some, prints, strict=True):
                if held is not None and any(has_fingerprint(held, mark) for mark in marks):
                    await _read(store, broadcast, name, sought, found)


async def _read(store: Store, broadcast: str, batch: str, sought: set[str], found: Explained) -> None:
    keys = store.keys
    packed, ledger = await store.redis.mget([keys.batch(broadcast, batch), keys.ledger(broadcast, batch)])
    if packed is None or ledger is None:
        return
    for row, to in enumerate(unpack_batch(packed).to):
        if to in sought:
            record = Record.unpack(ledger, row * RECORD_BYTES)
            if record.sid is not None:
                found.sids.add(record.sid)
            if record.state is State.SENDING:
                found.sending.add(to)
