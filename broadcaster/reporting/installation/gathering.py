"""Reading an installation for a scrape: what is small at once, what may be large in shares beside it.

Sizes, the account, workers and the counters of everything that is open are read at each scrape. All lanes
with their flows, and all broadcasts that there ever were, are so too where they are few; else they are gone
through every few seconds, some hundreds in a call.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog
from redis.exceptions import RedisError, ResponseError

from broadcaster.domain.record import State
from broadcaster.reporting.installation import calls
from broadcaster.reporting.installation.server import SECTIONS, ServerFacts, read_server
from broadcaster.reporting.installation.sharing import (
    account_of,
    flow_shares,
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

    from broadcaster.reporting.installation.calls import Flow, Lane, Overview
    from broadcaster.store.reading import Reader
    from broadcaster.store.scripts import Call

log = structlog.get_logger("exporter")
#: So much is gone through at each scrape; more than that beside them, every so many seconds.
SMALL: Final = 300
SURVEY_SECONDS: Final = 5.0
TALLY_SECONDS: Final = 30.0
#: Between two calls of what is done beside scrapes: Redis serves others.
_BREATH_SECONDS: Final = 0.005
_FIRST_SECONDS: Final = 1.0
_FSYNC_SECONDS: Final = 10.0


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
        self._replicas = replicas
        self._lanes_of: dict[str, list[str]] = {}
        self._tally = Tally()
        self._tallied = False
        self._watched: set[str] = set()
        self._guessed: set[str] = set()
        self._survey: Survey | None = None
        self._surveyed = asyncio.Event()
        self._fsync: str | None = None
        self._fsync_at = -_FSYNC_SECONDS
        self._large = False

    async def server(self, *, refused: bool = False) -> tuple[ServerFacts, dict[str, Any]]:
        """Return Redis' own facts, and the INFO they are from. Raises redis' errors."""
        info = await self._reader.redis.info(*SECTIONS)
        if time.monotonic() - self._fsync_at >= _FSYNC_SECONDS:
            self._fsync = await self._setting("appendfsync")
            self._fsync_at = time.monotonic()
        return read_server(info, self._fsync, refused=refused), info

    async def read(self, lease: Call[bool]) -> Picture | None:
        """Read it; None where the lease is another's. Raises redis' errors or a `StoreError`.

        What was open last time is asked for in the same round trip: nearly always that is all.
        """
        guessed = shares(sorted(self._guessed), calls.STANDINGS_AT_ONCE)
        (facts, info), (active, found, *rows) = await asyncio.gather(
            self.server(),
            self._each([lease, calls.overview(), *[calls.standings(share) for share in guessed]]),
        )
        if not active:
            self._guessed = set()
            return None
        standings = read_standings(guessed, rows)
        watched = {*found.active, *found.importing}
        news = [one for one in found.newest if not self._tally.has_ended(one)]
        ids = {*watched, *found.doubtful, *news, *self._watched}
        standings |= await self._standings(ids - self._guessed)
        for broadcast in ids:
            self._tally.put(broadcast, standings.get(broadcast))
        self._watched, self._guessed = watched, ids
        open_ = tuple(standings[i] for i in dict.fromkeys((*found.active, *found.doubtful)) if i in standings)
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

    async def _surveyed_now(
        self, found: Overview, info: dict[str, Any], open_: tuple[Standing, ...]
    ) -> Survey | None:
        flows = sum(len(self._lanes_of.get(one.id, ())) for one in open_)
        self._large = found.sizes.lanes > SMALL or flows > SMALL
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
        standings = await self._standings(found.active)
        open_ = tuple(standings.values())
        await self._keep_lanes(open_)
        account = account_of(found, missing_in(info, self._replicas) if self._replicas else "")
        self._take(await self._go_through(found.now, account, open_, breath=_BREATH_SECONDS))

    def _take(self, survey: Survey) -> None:
        self._survey = survey
        self._surveyed.set()

    async def _standings(self, ids: Iterable[str]) -> dict[str, Standing]:
        """Read the counters of these; those that are gone are left out."""
        some = shares(sorted(ids), calls.STANDINGS_AT_ONCE)
        return read_standings(some, await self._each([calls.standings(share) for share in some]))

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
        surveyor = Surveyor(now, account, await self._all_lanes(breath))
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
                standings = await self._standings(ids)
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

    async def _setting(self, name: str) -> str | None:
        """Return a setting of the server, None where CONFIG is not allowed."""
        try:
            value = (await self._reader.redis.config_get(name)).get(name)
        except ResponseError:
            return None
        return value.decode() if isinstance(value, bytes) else value
