"""Opt-outs as people see them: who, from which sender, since when, and how we know."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from broadcaster.ledger.optouts import OptOuts
    from broadcaster.store.connection import Store

COLUMNS: Final = ("address", "sender", "since", "source")
_AT_ONCE: Final = 500


class Place(NamedTuple):
    """Where an opt-out stands in their order."""

    channel: str
    digits: int
    scope: str

    @property
    def address(self) -> str:
        """Whom it is about."""
        return f"whatsapp:+{self.digits}" if self.channel == "whatsapp" else f"+{self.digits}"


@dataclass(frozen=True, slots=True)
class OptOutView:
    """One opt-out. `sender` is `*` for all; `since` is in unix seconds; `source` says how we know."""

    address: str
    sender: str
    since: int
    source: str

    def summary(self) -> dict[str, Any]:
        """Return it in JSON's types."""
        return {"address": self.address, "sender": self.sender, "since": self.since, "source": self.source}


async def page(
    store: Store, known: OptOuts, *, after: Sequence[Any] | None = None, limit: int, sender: str | None = None
) -> tuple[list[OptOutView], Place | None]:
    """Return up to `limit` of them in order of channel, number, sender; and where to go on, None at the end.

    Whoever is there all the while is met once, whatever is added and removed meanwhile. `known` is brought up
    to date; `sender`: only those of this scope.
    """
    await known.refresh(store)
    begin = Place(*after) if after else None
    places = list(islice(_sorted(known, begin, sender), limit + 1))
    views = await read_many(store, places[:limit])
    return views, places[limit - 1] if len(places) > limit else None


async def of_address(store: Store, known: OptOuts, address: str, sender: str | None) -> list[OptOutView]:
    """Return what an address (as `parse_address` gives it) is opted out of."""
    await known.refresh(store)
    channel, digits = ("whatsapp", address[10:]) if address[0] == "w" else ("sms", address[1:])
    scopes = sorted({scope for scope, _ in known.sets if sender in (None, scope)})
    return await read_many(store, [Place(channel, int(digits), scope) for scope in scopes])


async def read_all(store: Store, known: OptOuts) -> AsyncIterator[OptOutView]:
    """Yield every opt-out, in order."""
    after: Place | None = None
    while True:
        views, after = await page(store, known, after=after, limit=_AT_ONCE)
        for view in views:
            yield view
        if after is None:
            return


async def read_many(store: Store, places: Sequence[Place]) -> list[OptOutView]:
    """Read these; what is there no more is left out."""
    if not places:
        return []
    names = [f"{place.scope}|{place.address}" for place in places]
    found = await store.redis.hmget(store.keys.plain("optouts"), names)
    views = []
    for place, value in zip(places, found, strict=True):
        if value is not None:
            source, _, since = value.decode().rpartition("|")
            views.append(OptOutView(place.address, place.scope, int(since or 0), source))
    return views


def _sorted(known: OptOuts, after: Place | None, sender: str | None) -> Any:
    """Yield the places behind `after`, in order. To be used up before `known` changes."""
    streams = []
    for (scope, channel), digits in known.sets.items():
        if sender not in (None, scope) or (after and channel < after.channel):
            continue
        least = after.digits if after and channel == after.channel else 0
        streams.append(_stream(channel, scope, digits.iter_equal_or_larger(least)))
    return (place for place in heapq.merge(*streams) if after is None or place > after)


def _stream(channel: str, scope: str, digits: Any) -> Any:
    return (Place(channel, number, scope) for number in digits)
