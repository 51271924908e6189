"""Settling doubt: rounds of looking at Twilio's list, each paced, until every doubt has its end.

A round reads what is in doubt, asks Twilio's list (by recipient; account-wide while there is much), takes
what it finds, and where it finds nothing for long enough lets the policy decide. Nothing is kept between
rounds but when to look next, which any worker may forget.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog

from broadcaster.domain.evidence import Look, Patience, absent, match
from broadcaster.domain.forgotten import FORGOTTEN
from broadcaster.domain.record import Evidence
from broadcaster.ledger.doubts import AT_MOST, Doubt, read_doubts
from broadcaster.ledger.settling import Found, Verdict, accept, settle
from broadcaster.reporting.completed import say_completed
from broadcaster.twilio.rest import TwilioError
from workers.alone import alone_with
from workers.explaining import explained
from workers.listing import Listing, Lists
from workers.redis_clock import begun_before, our_clock, set_back, since_moved, trusted_since
from workers.searching import say_searching

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broadcaster.domain.evidence import Listed, Question
    from broadcaster.store.connection import Store
    from broadcaster.telemetry.metrics import Metrics
    from workers.pools import Pools

log = structlog.get_logger("settling")

REST_SECONDS: Final = 10.0
THROTTLED: Final = 429
#: How long a service's pool is asked for before its doubts are held: what it had meanwhile isn't known.
POOL_PATIENCE_SECONDS: Final = 900.0


@dataclass(frozen=True, slots=True)
class Settling:
    """How doubt is settled. Beyond `many` due looks the account's list is read, not each recipient's.

    While more is in doubt than one round takes, and it settles that, rounds follow each other so long.
    """

    patience: Patience = field(default_factory=Patience)
    owner_gone_seconds: float = 900.0
    every_seconds: float = 5.0
    max_attempts: int = 5
    at_once: int = 2
    many: int = 50
    looks_at_most: int = 200
    page_size: int = 1000
    again_seconds: float = 30.0


@dataclass(slots=True)
class _Seen:
    """What a round saw: for each address what is listed, and the look that shows how much that proves."""

    listed: dict[str, list[Listed]] = field(default_factory=dict)
    looks: dict[str, Look] = field(default_factory=dict)


class Settler:
    """Runs rounds; `round` may be called by several processes, one of them works."""

    def __init__(
        self, store: Store, twilio: Lists, how: Settling, metrics: Metrics, pools: Pools | None = None
    ) -> None:
        self._store = store
        self._pools = pools
        self._twilio = twilio
        self.how = how
        self._metrics = metrics
        self._next: dict[tuple[str, str, int, int], float] = {}
        self._rest_until = 0.0
        self._trusted = 0
        self._refused = ""
        self._settled = 0

    async def round(self) -> None:
        """Settle what can be settled now. Raises redis' errors and `StoreError`; Twilio's are waited out."""
        if not await self._store.redis.exists(self._store.keys.plain("doubtful")):
            self._next.clear()
            return
        async with alone_with(self._store) as alone:
            until = monotonic() + self.how.again_seconds
            while alone and await self._round() and monotonic() < until:
                pass

    async def _round(self) -> bool:
        """Settle once; tells whether there were more doubts than one round takes, and it got on with them."""
        settled = self._settled
        doubts = await read_doubts(self._store, self.how.owner_gone_seconds)
        # asked last: many doubts take seconds to read, by which Twilio's clock would seem ahead of ours
        now = await our_clock(self._store)
        if await self._pools_read_anew(doubts, now):
            doubts = await read_doubts(self._store, self.how.owner_gone_seconds)
            now = await our_clock(self._store)
        doubts = begun_before(doubts, *await set_back(self._store))
        since = await trusted_since(self._store)
        doubts = since_moved(doubts, since, now, self.how.owner_gone_seconds)
        doubts = await self._without_forgotten(doubts)
        if since != self._trusted:
            self._trusted, self._rest_until = since, 0.0
            self._next.clear()
        self._next = {d.key: at for d in doubts if (at := self._next.get(d.key)) is not None}
        due = [d for d in doubts if self._next.get(d.key, 0.0) <= now and now >= self._rest_until]
        listing = Listing(self._twilio, now, at_once=self.how.at_once, page_size=self.how.page_size)
        if due:
            # all doubts about one address are judged together: they compete for the same messages
            tos = {d.question.to for d in due}
            due = [d for d in doubts if d.question.to in tos]
            seen = await self._look(due, listing)
            await self._judge(due, seen)
            for doubt in due:
                if doubt.question.to not in seen.looks:
                    continue  # there were too many, or Twilio refused: its turn is next
                self._next[doubt.key] = self._look_after(doubt, listing.now())
            if listing.clocked:
                self._metrics.clock_skewed("twilio", listing.skew + listing.now() - time.time())
            self._note_refusal(listing)
        await say_searching(self._store, doubts, self.how.patience.seconds, now, self._refused)
        return len(doubts) >= AT_MOST and (self._settled - settled) * 2 >= AT_MOST

    async def _pools_read_anew(self, doubts: list[Doubt], now: float) -> bool:
        """Read pools that may decide what can be judged now."""
        ripe = {d.stale for d in doubts if d.stale and _ripe(d.question, now, self.how.patience.seconds)}
        return bool(ripe) and self._pools is not None and await self._pools.refresh(sorted(ripe))

    async def _without_forgotten(self, doubts: list[Doubt]) -> list[Doubt]:
        """End doubts whose person was forgotten: nobody can be asked whether they have got it."""
        nameless = [d for d in doubts if d.question.to == FORGOTTEN]
        if nameless:
            await self._write([], [_given_up(d) for d in nameless])
        return [d for d in doubts if d.question.to != FORGOTTEN]

    # -- looking

    async def _look(self, due: Sequence[Doubt], listing: Listing) -> _Seen:
        seen = _Seen()
        patience = self.how.patience.seconds
        ripe = [d for d in due if _ripe(d.question, listing.now(), patience)]
        tos = sorted({d.question.to for d in due})
        if len(tos) > self.how.many:
            listed, look = await listing.everything(_earliest(due))
            for to in tos:
                seen.listed[to], seen.looks[to] = [], look
            for message in listed:
                if message.to in seen.listed:
                    seen.listed[message.to].append(message)
            # what the account's list can't prove absent is asked for one by one, once that may decide
            tos = (
                sorted({d.question.to for d in ripe if not seen.listed[d.question.to]})
                if not look.complete
                else []
            )
        elif ripe:
            await listing.control()
        tos = tos[: self.how.looks_at_most]

        async def one(to: str) -> None:
            if listing.refused is not None:
                return
            earliest = _earliest([d for d in due if d.question.to == to])
            seen.listed[to], seen.looks[to] = await listing.by_recipient(to, earliest)

        await asyncio.gather(*(one(to) for to in tos))
        return seen

    def _look_after(self, doubt: Doubt, now: float) -> float:
        """Return when to look again: soon at first, later ever less often, and when patience ends."""
        patience = self.how.patience
        age = now - doubt.record.changed
        at = now + min(max(age / 2, self.how.every_seconds / 2), patience.seconds / 2)
        until = doubt.question.in_flight_until
        ends = () if until is None else (until + patience.seconds, until + patience.alone_seconds)
        return min([at, *(e for e in ends if e > now)])

    def _note_refusal(self, listing: Listing) -> None:
        refused = str(listing.refused) if listing.refused else ""
        if isinstance(listing.refused, TwilioError) and listing.refused.status == THROTTLED:
            self._rest_until = listing.now() + max(REST_SECONDS, listing.rest_seconds)
        if refused and refused != self._refused:
            log.warning("list.unread", error=refused)
        self._refused = refused

    # -- judging

    async def _judge(self, due: Sequence[Doubt], seen: _Seen) -> None:
        asked = [d for d in due if d.question.to in seen.looks]
        sought = [d for d in asked if seen.listed[d.question.to]]
        since = min((d.question.began - d.question.set_back for d in sought), default=0)
        known = await explained(self._store, sought, since)
        accepted: list[Found] = []
        verdicts: list[Verdict] = []
        by_address: dict[str, list[Doubt]] = {}
        for doubt in asked:
            if doubt.question.to not in known.sending:
                by_address.setdefault(doubt.question.to, []).append(doubt)
        for to, some in by_address.items():
            look = seen.looks[to]
            questions = [(d, q) for d in some for q in (*d.earlier, d.question)]
            found = match([q for _, q in questions], seen.listed[to], known.sids, look.skew)
            for place, (doubt, question) in enumerate(questions):
                if place in found:
                    accepted.append(_found(doubt, question, found[place].sid))
                elif question is doubt.question and (verdict := self._verdict(doubt, look)):
                    verdicts.append(verdict)
        await self._write(accepted, verdicts)

    def _verdict(self, doubt: Doubt, look: Look) -> Verdict | None:
        """Return what becomes of a doubt that nothing was found of; None while that proves nothing."""
        patience, until = self.how.patience, doubt.question.in_flight_until
        if doubt.trusted:
            if not absent(doubt.question, look, patience):
                return None
        else:
            may_be_read = doubt.stale and self._pools is not None
            wait = POOL_PATIENCE_SECONDS if may_be_read else patience.alone_seconds
            if until is None or look.began < until + wait:
                return None
        return Verdict(
            doubt.lane,
            doubt.broadcast,
            doubt.batch,
            doubt.row,
            doubt.record.attempt,
            doubt.record.changed,
            absent=doubt.trusted,
            hold=doubt.hold,
        )

    async def _write(self, accepted: list[Found], verdicts: list[Verdict]) -> None:
        completed: list[str] = []
        if accepted:
            # older attempts first: a newer one's doubt must know of them
            accepted.sort(key=lambda f: f.attempt)
            told = await self._store.run(accept(accepted, Evidence.LIST))
            completed += told.completed
            self._metrics.doubt_settled("list", told.changed)
        if verdicts:
            ended = await self._store.run(settle(verdicts, self.how.max_attempts))
            completed += ended.completed
        self._settled += len(accepted) + len(verdicts)
        if accepted or verdicts:
            log.info("doubt.settled", found=len(accepted), without_evidence=len(verdicts))
        for broadcast in completed:
            await say_completed(self._store, broadcast)


def _earliest(doubts: Sequence[Doubt]) -> Callable[[float], int]:
    """Return from when on a message may be about one of them, an earlier attempt included."""
    first = min((q for d in doubts for q in (*d.earlier, d.question)), key=lambda q: q.began - q.set_back)
    return first.earliest


def _found(doubt: Doubt, question: Question, sid: str) -> Found:
    return Found(doubt.lane, doubt.broadcast, doubt.batch, doubt.row, question.attempt, sid)


def _given_up(doubt: Doubt) -> Verdict:
    at, changed = doubt.record.attempt, doubt.record.changed
    return Verdict(doubt.lane, doubt.broadcast, doubt.batch, doubt.row, at, changed, absent=False, hold=True)


def _ripe(question: Question, now: float, seconds: float) -> bool:
    return question.in_flight_until is not None and now >= question.in_flight_until + seconds
