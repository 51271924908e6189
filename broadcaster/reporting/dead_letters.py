"""Dead letters: messages that will not be sent unless somebody replays them, by code and one by one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from broadcaster.domain.record import State
from broadcaster.reporting.messages import list_messages
from broadcaster.twilio.codes import lookup

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from broadcaster.reporting.messages import MessageView
    from broadcaster.store.connection import Store


@dataclass(frozen=True, slots=True)
class CodeTotal:
    """How many dead letters of a broadcast have a code, what it means, and what it is about."""

    broadcast: str
    code: int
    count: int

    def summary(self) -> dict[str, Any]:
        """Return it in JSON's types."""
        known = lookup(self.code)
        return {
            "broadcast": self.broadcast,
            "code": self.code,
            "count": self.count,
            "meaning": known.meaning,
            "about": str(known.remedy),
        }


async def broadcasts_with_dead_letters(store: Store, *, limit: int | None = 200) -> list[str]:
    """Return the ids of the newest broadcasts, and of the newest streams, that have any (None: of all)."""
    last = -1 if limit is None else limit - 1
    ids = [
        raw.decode()
        for all_ in ("bcs", "streams")
        for raw in await store.redis.zrevrange(store.keys.plain(all_), 0, last)
    ]
    if not ids:
        return []
    async with store.redis.pipeline(transaction=False) as pipe:
        for broadcast in ids:
            pipe.exists(store.keys.broadcast(broadcast, ":dead"))
        found = await pipe.execute()
    return [broadcast for broadcast, there in zip(ids, found, strict=True) if there]


async def list_dead_letters(
    store: Store, broadcasts: Iterable[str], codes: Iterable[int] = ()
) -> AsyncIterator[MessageView]:
    """Yield the dead letters of `broadcasts`, with `codes` only if given; reads only batches with any."""
    wanted = frozenset(codes)
    for broadcast in broadcasts:
        async for view in list_messages(store, broadcast, (State.DEAD,), codes=wanted):
            yield view


async def dead_letter_codes(store: Store, broadcasts: Iterable[str]) -> list[CodeTotal]:
    """Count the dead letters of `broadcasts` by code, most first within a broadcast."""
    totals: list[CodeTotal] = []
    for broadcast in broadcasts:
        counted: Counter[int] = Counter()
        async for view in list_messages(store, broadcast, (State.DEAD,)):
            counted[view.record.code] += 1
        totals += [CodeTotal(broadcast, code, count) for code, count in counted.most_common()]
    return totals
