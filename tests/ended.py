"""Broadcasts whose messages have ended, without a worker: what codes they ended with is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from driving import LANE, SID, ask, join, result, take, tell
from loading import load

from broadcaster.domain.record import State
from broadcaster.lanes import claims

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.store.connection import Store


async def ended(store: Store, codes: Sequence[int], *, first: int = 0, batch: int = 50) -> str:
    """Load a broadcast whose messages ended with these codes: 0 was accepted, others are dead."""
    bid = await load(store, {LANE: len(codes)}, rates={LANE: 1e5}, first=first, batch=batch)
    await join(store)
    seen = 0
    while slices := await take(store, horizon_seconds=1.0):
        for held in slices:
            await ask(store, held)
            at = int(held.batch.partition(".")[2]) * batch
            outcomes = [
                result(item.row, 1, State.DEAD, code=code)
                if (code := codes[at + item.row])
                else result(item.row, 1, State.ACCEPTED, sid=SID)
                for item in held.items
            ]
            await tell(store, held, outcomes)
            await store.run(claims.release("w1", [held.claim]))
            seen += len(outcomes)
    assert seen == len(codes)
    await store.run(claims.leave("w1"))
    return bid
