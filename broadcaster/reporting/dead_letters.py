"""Dead letters: messages that will not be sent unless somebody replays them, by code and one by one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from broadcaster.domain.record import RECORD_BYTES, Record, State
from broadcaster.reporting.messages import list_messages, read_batch
from broadcaster.twilio.codes import lookup

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from broadcaster.reporting.messages import MessageView
    from broadcaster.store.connection import Store

_AT_ONCE: Final = 500
_BATCHES_AT_ONCE: Final = 50


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
    """Return the ids of the newest broadcasts that have any (None: of all), newest first."""
    return [broadcast for _, broadcast in await _with_any(store, limit=limit)]


async def _with_any(store: Store, *, limit: int | None = None) -> list[tuple[float, str]]:
    """Return when each was made, and its id; streams of single messages are among them."""
    last = -1 if limit is None else limit - 1
    ids: list[tuple[float, str]] = []
    for name in ("bcs", "streams"):
        made = await store.redis.zrevrange(store.keys.plain(name), 0, last, withscores=True)
        ids += [(score, raw.decode()) for raw, score in made]
    if not ids:
        return []
    async with store.redis.pipeline(transaction=False) as pipe:
        for _, broadcast in ids:
            pipe.exists(store.keys.broadcast(broadcast, ":dead"))
        found = await pipe.execute()
    return sorted((one for one, there in zip(ids, found, strict=True) if there), reverse=True)[:limit]


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


async def totals(store: Store, broadcast: str | None = None) -> list[dict[str, Any]]:
    """Count dead letters by code, most first, of one broadcast or all; reads counters only."""
    ids = [broadcast] if broadcast else await broadcasts_with_dead_letters(store, limit=None)
    counted: Counter[int] = Counter()
    seen: Counter[int] = Counter()
    for start in range(0, len(ids), _AT_ONCE):
        async with store.redis.pipeline(transaction=False) as pipe:
            for one in ids[start : start + _AT_ONCE]:
                pipe.hgetall(store.keys.broadcast(one, ":codes"))
            replies = await pipe.execute()
        for codes in replies:
            for name, count in codes.items():
                state, code = map(int, name.split(b":"))
                if state == State.DEAD and int(count) > 0:
                    counted[code] += int(count)
                    seen[code] += 1
    return [
        {
            "code": code,
            "count": count,
            "broadcasts": seen[code],
            "meaning": lookup(code).meaning,
            "about": str(lookup(code).remedy),
        }
        for code, count in counted.most_common()
    ]


async def page(
    store: Store,
    *,
    after: Sequence[Any] | None = None,
    limit: int,
    broadcast: str | None = None,
    codes: Iterable[int] = (),
) -> tuple[list[MessageView], list[Any] | None]:
    """Return up to `limit` dead letters, and where to go on, None at the end.

    The newest broadcast first, and within it as they lie. What is one all the while is met once.
    """
    made = [(score, one) for score, one in await _with_any(store) if broadcast in (None, one)]
    places: list[list[Any]] = []
    for score, one in made:
        if after and (score, one) > (after[0], after[1]):
            continue
        begin = tuple(after[2:]) if after and after[1] == one else (0, 0, -1)
        async for lane, number, row in _rows(store, one, begin, frozenset(codes)):
            places.append([score, one, lane, number, row])
            if len(places) > limit:
                return await _views(store, places[:limit]), places[limit - 1]
    return await _views(store, places), None


async def _rows(
    store: Store, broadcast: str, after: tuple[int, ...], codes: frozenset[int]
) -> AsyncIterator[tuple[int, int, int]]:
    """Yield where a broadcast's dead letters lie behind `after`: lane, batch, index."""
    marked = await store.redis.hkeys(store.keys.broadcast(broadcast, ":dead"))
    names = sorted(tuple(map(int, raw.split(b"."))) for raw in marked)
    names = [name for name in names if name >= after[:2]]
    for start in range(0, len(names), _BATCHES_AT_ONCE):
        some = names[start : start + _BATCHES_AT_ONCE]
        ledgers = await store.redis.mget([store.keys.ledger(broadcast, f"{lane}.{n}") for lane, n in some])
        for (lane, number), ledger in zip(some, ledgers, strict=True):
            for index, head in enumerate((ledger or b"")[::RECORD_BYTES]):
                if head & 15 != State.DEAD or (lane, number, index) <= after:
                    continue
                if not codes or Record.unpack(ledger, index * RECORD_BYTES).code in codes:
                    yield lane, number, index


async def _views(store: Store, places: list[list[Any]]) -> list[MessageView]:
    """Read these; one that is dead no more by now is shown as it is."""
    views: list[MessageView] = []
    for (broadcast, lane, number), group in groupby(places, key=lambda place: tuple(place[1:4])):
        wanted = {place[4] for place in group}
        found = await read_batch(store, broadcast, f"{lane}.{number}")
        views += [view for view in found if view.index in wanted]
    return views
