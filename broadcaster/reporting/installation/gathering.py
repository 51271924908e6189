"""Reading an installation for a scrape: what is small at once, what may be large in shares beside it.

Sizes, the account, workers and the counters of the broadcasts that are shown are read at each scrape. Those
of all others that are open, all lanes with their flows, and all broadcasts that there ever were, are so too
where they are few; else they are gone through every few seconds, some dozens in a call.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog
from redis.exceptions import RedisError

from broadcaster.domain.record import State
from broadcaster.reporting.installation import calls
from broadcaster.reporting.installation.server import Server, ServerFacts
from broadcaster.reporting.installation.sharing import (
    account_of,
    flow_shares,
    paced,
    read_standings,
    shares,
    shown_of,
)
from broadcaster.reporting.installation.standing import OPEN, Standing, Tally
from broadcaster.reporting.installation.survey import Account, Survey, Surveyor
from broadcaster.reporting.replicas import missing_in
from broadcaster.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from broadcaster.reporting.installation.calls import Flow, Lane, Overview
    from broadcaster.store.reading import Reader
    from broadcaster.store.scripts import Call

log = structlog.get_logger("exporter")
#: So much is gone through at each scrape; more than that beside them, every so many seconds.
SMALL: Final = 300
#: So many broadcasts' counters, 25 µs of Redis' time each.
SMALL_OPEN: Final = 40
SURVEY_SECONDS: Final = 5.0
TALLY_SECONDS: Final = 30.0
#: Between two calls of what is done beside scrapes: Redis serves others.
_BREATH_SECONDS: Final = 0.005
_FIRST_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Picture:
    """One reading. `open` are running or paused now, or have something on its way; `shown` some of them.

    `survey` is None until the first one of a large installation is done; so is `states` (how many are in
    each).
    """

    overview: Overview
    server: ServerFacts
    open: tuple[Standing, ...]
    shown: tuple[Standing, ...]
    survey: Survey | None
    states: Mapping[str, int] | None
    recipients: int
    dead: int
    doubt_since: int


class Gatherer:
    """Reads one installation, again and again; what is read beside scrapes is kept here."""

    def __init__(self, reader: Reader, *, replicas: int = 0) -> None:
        self._reader = reader
        self._server = Server(reader.redis)
        self._replicas = replicas
        self._lanes_of: dict[str, list[str]] = {}
        self._tally = Tally()
        self._tallied = False
        self._watched: set[str] = set()
        self._ids: set[str] = set()
        self._known: dict[str, Standing] = {}
        self._survey: Survey | None = None
        self._surveyed = asyncio.Event()
        self._large = False

    async def server(self, *, refused: bool = False) -> tuple[ServerFacts, dict[str, Any]]:
        """Return Redis' own facts, and the INFO they are from. Raises redis' errors."""
        return await self._server.read(refused=refused)

    async def read(self, lease: Call[bool]) -> Picture | None:
        """Read it; None where the lease is another's. Raises redis' errors or a `StoreError`.

        What will be asked for is nearly always known from last time: then one round trip is all.
        """
        guessed = shares(sorted(self._near()), calls.STANDINGS_AT_ONCE)
        (facts, info), (active, found, *rows) = await asyncio.gather(
            self.server(),
            self._each([lease, calls.overview(), *[calls.standings(share) for share in guessed]]),
        )
        if not active:
            self._known.clear()
            return None
        self._learn(guessed, rows)
        await self._follow(found, {broadcast for share in guessed for broadcast in share})
        open_ = self._open(found)
        await self._keep_lanes(open_)
        if found.sizes.broadcasts + found.sizes.streams <= SMALL:
            await self._count_all()
        return Picture(
            overview=found,
            server=facts,
            open=open_,
            shown=shown_of(open_),
            survey=await self._surveyed_now(found, info, open_),
            states=dict(self._tally.states) if self._tallied else None,
            recipients=self._tally.recipients,
            dead=self._tally.dead,
            doubt_since=await self._doubt_since(open_),
        )

    def _near(self, gone: AbstractSet[str] = frozenset()) -> set[str]:
        """Return whose counters each scrape reads: all where they are few, else those that are shown."""
        if len(self._ids) <= SMALL_OPEN:
            return self._ids
        shown = {one.id for one in shown_of(self._known.values())}
        return shown | gone | (self._ids - self._known.keys())

    async def _follow(self, found: Overview, read: set[str]) -> None:
        """Know everything that is open now, what has just begun or ended, and what may begin."""
        watched = {*found.active, *found.importing}
        news = [one for one in found.newest if not self._tally.has_ended(one)]
        self._ids = {*watched, *found.doubtful, *news, *self._watched}
        await self._read_standings(self._near(self._watched - watched) - read)
        self._known = {one: self._known[one] for one in self._ids if one in self._known}
        for broadcast in self._ids:
            self._tally.put(broadcast, self._known.get(broadcast))
        self._watched = watched

    def _open(self, found: Overview) -> tuple[Standing, ...]:
        known = self._known
        every = dict.fromkeys((*found.active, *found.doubtful))
        return tuple(paced(known[one], known) for one in every if one in known)

    async def _surveyed_now(
        self, found: Overview, info: dict[str, Any], open_: tuple[Standing, ...]
    ) -> Survey | None:
        flows = sum(len(self._lanes_of.get(one.id, ())) for one in open_)
        self._large = found.sizes.lanes > SMALL or flows > SMALL or len(self._ids) > SMALL_OPEN
        if not self._large:
            account = account_of(found, missing_in(info, self._replicas) if self._replicas else "")
            self._take(await self._go_through(found.now, account, open_))
        elif not self._surveyed.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(self._surveyed.wait(), _FIRST_SECONDS)
        return self._survey

    async def _doubt_since(self, open_: Iterable[Standing]) -> int:
        doubts = [one.id for one in open_ if one.counts[State.IN_DOUBT]]
        return await self._reader.run(calls.doubt_since(doubts)) if doubts else 0

    async def keep_up(self) -> None:
        """Go through what is large, again and again, until canceled; an error ends only its round."""
        survey_at = tally_at = 0.0
        while True:
            now = time.monotonic()
            try:
                if self._large and now >= survey_at:
                    await self._survey_beside()
                    survey_at = time.monotonic() + SURVEY_SECONDS
                if now >= tally_at:
                    await self._count_all(breath=_BREATH_SECONDS)
                    tally_at = time.monotonic() + TALLY_SECONDS
            except (RedisError, OSError, StoreError) as error:
                log.debug("exporter.survey_failed", error=str(error))
            await asyncio.sleep(0.5)

    async def _survey_beside(self) -> None:
        found, (_, info) = await asyncio.gather(self._reader.run(calls.overview()), self.server())
        await self._read_standings({*found.active, *self._ids}, _BREATH_SECONDS)
        open_ = self._open(found)
        await self._keep_lanes(open_)
        account = account_of(found, missing_in(info, self._replicas) if self._replicas else "")
        self._take(await self._go_through(found.now, account, open_, breath=_BREATH_SECONDS))

    def _take(self, survey: Survey) -> None:
        self._survey = survey
        self._surveyed.set()

    async def _read_standings(self, ids: Iterable[str], breath: float = 0.0) -> None:
        """Learn the counters of these; those that are gone are forgotten."""
        every = shares(sorted(ids), calls.STANDINGS_AT_ONCE)
        for some in shares(every, 1) if breath else [every]:
            self._learn(some, await self._each([calls.standings(share) for share in some]))
            await asyncio.sleep(breath)

    def _learn(self, asked: Sequence[Sequence[str]], rows: Sequence[list[list[str]]]) -> None:
        found = read_standings(asked, rows)
        for broadcast in [one for share in asked for one in share]:
            if broadcast in found:
                self._known[broadcast] = found[broadcast]
            else:
                self._known.pop(broadcast, None)

    async def _keep_lanes(self, open_: Sequence[Standing]) -> None:
        """Learn which lanes those have that are new; they never change."""
        ids = {one.id for one in open_}
        for gone in self._lanes_of.keys() - ids:
            del self._lanes_of[gone]
        new = [broadcast for broadcast in ids if broadcast not in self._lanes_of]
        for share in shares(new, calls.STANDINGS_AT_ONCE):
            async with self._reader.redis.pipeline(transaction=False) as pipe:
                for broadcast in share:
                    pipe.lrange(self._reader.keys.broadcast(broadcast, ":lanes"), 0, -1)
                for broadcast, lanes in zip(share, await pipe.execute(), strict=True):
                    self._lanes_of[broadcast] = [raw.decode() for raw in lanes]

    async def _go_through(
        self,
        now: float,
        account: Account,
        open_: Sequence[Standing],
        breath: float = 0.0,
    ) -> Survey:
        """Look at every lane, and at every flow that has something left or is shown."""
        all_lanes = await self._all_lanes(breath)
        surveyor = Surveyor(now, account, all_lanes)
        named = {one.id for one in shown_of(open_)}
        worth = [one for one in open_ if one.state in OPEN and (one.unsent or one.id in named)]
        flows: dict[str, list[Flow]] = {one.id: [] for one in worth}
        every = flow_shares([(one.id, self._lanes_of.get(one.id, [])) for one in worth])
        for some in shares(every, 1) if breath else [every]:
            asked = [calls.survey_flows(share) for share in some]
            for share, rows in zip(some, await self._each(asked), strict=True):
                for (broadcast, _), row in zip(share, rows, strict=True):
                    flows[broadcast] += row
            await asyncio.sleep(breath)
        for one in worth:
            names = self._lanes_of.get(one.id, [])
            surveyor.add(one, names, flows[one.id], shown=one.id in named)
            if breath and len(names) > SMALL // 10:
                await asyncio.sleep(0)
        for lanes in shares(list(all_lanes.values()), SMALL):
            surveyor.look_at(lanes)
            await asyncio.sleep(0)
        return surveyor.finish()

    async def _all_lanes(self, breath: float) -> dict[str, Lane]:
        lanes: dict[str, Lane] = {}
        cursor = "0"
        while True:
            cursor, some = await self._reader.run(calls.survey_lanes(cursor))
            lanes.update({lane.name: lane for lane in some})
            if cursor == "0":
                return lanes
            await asyncio.sleep(breath)

    async def _count_all(self, breath: float = 0.0) -> None:
        """Count every broadcast and stream there is."""
        redis, keys = self._reader.redis, self._reader.keys
        known: set[str] = set()
        for name in ("bcs", "streams"):
            begin = 0
            while True:
                raw = await redis.zrange(keys.plain(name), begin, begin + calls.STANDINGS_AT_ONCE - 1)
                ids = [one.decode() for one in raw]
                if not ids:
                    break
                rows = await self._reader.run(calls.standings(ids))
                standings = read_standings([ids], [rows])
                for broadcast in ids:
                    self._tally.put(broadcast, standings.get(broadcast))
                known.update(ids)
                begin += len(ids)
                if breath:
                    await asyncio.sleep(breath)
        self._tally.keep_only(known | self._watched)
        self._tallied = True

    async def _each(self, asked: Sequence[Any]) -> list[Any]:
        answers = await self._reader.run_each(asked) if asked else []
        for answer in answers:
            if isinstance(answer, StoreError):
                raise answer
        return answers
