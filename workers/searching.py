"""What doubts wait for, written down for whoever looks at their broadcast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from broadcaster.reporting.doubt import SearchState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broadcaster.ledger.doubts import Doubt
    from broadcaster.store.connection import Store

SEARCH_KEPT_SECONDS: Final = 86_400


async def say_searching(
    store: Store, doubts: Iterable[Doubt], patience_seconds: float, now: float, refused: str
) -> None:
    """Write it down for each broadcast. `refused`: why Twilio's list can't be read, "" if it can."""
    by_broadcast: dict[str, list[Doubt]] = {}
    for doubt in doubts:
        by_broadcast.setdefault(doubt.broadcast, []).append(doubt)
    async with store.redis.pipeline(transaction=False) as pipe:
        for broadcast, some in by_broadcast.items():
            ends = [d.question.in_flight_until for d in some if d.question.in_flight_until is not None]
            owners = [d.owner_until for d in some if d.owner_until is not None]
            state = SearchState(
                since=min(d.record.changed for d in some),
                absent_after=min(ends) + patience_seconds if ends else None,
                owners=len(owners),
                owners_until=max(owners) if owners else None,
                looked=now,
                refused=refused,
            )
            key = store.keys.broadcast(broadcast, ":looks")
            pipe.set(key, msgspec.json.encode(state), ex=SEARCH_KEPT_SECONDS)
        await pipe.execute()
