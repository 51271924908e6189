"""Opt-outs as people see them: who, from which sender, for which purpose, since when, and how we know."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from broadcaster.domain.opt_out_scopes import parts_of_scope
from broadcaster.ledger.people_key import digest, people_key, written

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from broadcaster.ledger.optouts import OptOuts
    from broadcaster.store.connection import Store

COLUMNS: Final = ("address", "sender", "purpose", "since", "source")
_AT_ONCE: Final = 500
#: Stands for the channel of forgotten people: behind all others.
_FORGOTTEN: Final = "~"


class Place(NamedTuple):
    """Where an opt-out stands in their order; of a forgotten person `who` is the digest in hex."""

    channel: str
    who: int | str
    scope: str

    @property
    def address(self) -> str:
        """Whom it is about, as Redis has it."""
        if self.channel == _FORGOTTEN:
            return written(bytes.fromhex(str(self.who)))
        return f"whatsapp:+{self.who}" if self.channel == "whatsapp" else f"+{self.who}"


class Wanted(NamedTuple):
    """Which opt-outs to show: of one `sender` or service (`*`: of all), for one `purpose`; None: any."""

    sender: str | None = None
    purpose: str | None = None

    def has(self, scope: str) -> bool:
        """Whether it is one of these."""
        sender, purpose = parts_of_scope(scope)
        return self.sender in (None, sender) and self.purpose in (None, purpose)


@dataclass(frozen=True, slots=True)
class OptOutView:
    """One opt-out. `sender` is `*` for all, `purpose` None for every one; `since` is in unix seconds.

    `address` is a hash (`~…`) where the person was forgotten; `source` says how we know.
    """

    address: str
    sender: str
    purpose: str | None
    since: int
    source: str

    def summary(self) -> dict[str, Any]:
        """Return it in JSON's types."""
        return {name: getattr(self, name) for name in COLUMNS}


async def page(
    store: Store,
    known: OptOuts,
    *,
    after: Sequence[Any] | None = None,
    limit: int,
    wanted: Wanted | None = None,
) -> tuple[list[OptOutView], Place | None]:
    """Return up to `limit` of them in order of channel, number, scope; and where to go on, None at the end.

    Whoever is there all the while is met once, whatever is added and removed meanwhile. `known` is brought up
    to date.
    """
    await known.refresh(store)
    begin = Place(*after) if after else None
    places = list(islice(_sorted(known, begin, wanted or Wanted()), limit + 1))
    views = await read_many(store, places[:limit])
    return views, places[limit - 1] if len(places) > limit else None


async def of_address(
    store: Store, known: OptOuts, address: str, wanted: Wanted | None = None
) -> list[OptOutView]:
    """Return what an address (as `parse_address` gives it) is opted out of, before it was forgotten too."""
    await known.refresh(store)
    asked = wanted or Wanted()
    channel, digits = ("whatsapp", address[10:]) if address[0] == "w" else ("sms", address[1:])
    scopes = {scope for scope, _ in known.sets if asked.has(scope)}
    places = [Place(channel, int(digits), scope) for scope in sorted(scopes)]
    if known.hashes:
        who = digest(await people_key(store), address).hex()
        places += [Place(_FORGOTTEN, who, scope) for scope in sorted(known.hashes) if asked.has(scope)]
    return await read_many(store, places)


async def read_all(store: Store, known: OptOuts, wanted: Wanted | None = None) -> AsyncIterator[OptOutView]:
    """Yield every opt-out, in order."""
    after: Place | None = None
    while True:
        views, after = await page(store, known, after=after, limit=_AT_ONCE, wanted=wanted)
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
            sender, purpose = parts_of_scope(place.scope)
            views.append(OptOutView(place.address, sender, purpose, int(since or 0), source))
    return views


def _sorted(known: OptOuts, after: Place | None, wanted: Wanted) -> Iterator[Place]:
    """Yield the places behind `after`, in order. To be used up before `known` changes."""
    streams: list[Iterator[Place]] = []
    for (scope, channel), digits in known.sets.items():
        if wanted.has(scope) and not (after and channel < after.channel):
            least = int(after.who) if after and channel == after.channel else 0
            streams.append(_stream(channel, scope, digits.iter_equal_or_larger(least)))
    for scope, digests in known.hashes.items():
        if wanted.has(scope):
            streams.append(_stream(_FORGOTTEN, scope, sorted(one.hex() for one in digests)))
    return (place for place in heapq.merge(*streams) if after is None or place > after)


def _stream(channel: str, scope: str, who: Any) -> Iterator[Place]:
    return (Place(channel, one, scope) for one in who)
