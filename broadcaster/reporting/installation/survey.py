"""What the lanes and flows of an installation come to: backlogs, who waits since when, and why. No I/O.

One broadcast is looked at after the other, then some lanes after others, so that whoever builds a survey of
very many can do else in between.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from broadcaster.domain.openings import ends_by, read_openings
from broadcaster.domain.record import State
from broadcaster.reporting.forecast import FlowLeft, seconds_left, share_out
from broadcaster.reporting.waits import (
    Everything,
    LaneStanding,
    Sending,
    Wait,
    broadcast_waits,
    moves,
    refused_by_twilio,
    stops_everything,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from broadcaster.reporting.forecast import LaneLeft
    from broadcaster.reporting.installation.calls import Flow, Lane
    from broadcaster.reporting.installation.standing import Standing

BUSIEST: Final = 100
OTHER: Final = "other"
#: Of a broadcast's lanes so many are asked why they wait.
_ASKED: Final = 1000
#: What claim.lua lets a lane borrow (µs), and how far a permit's clock can be ahead.
BURST: Final = 40_000
_DEBT: Final = 60_000_000
_CLOSED: Final = "its hours are over"


@dataclass(frozen=True, slots=True)
class LaneBacklog:
    """One of the busiest lanes, or all others together; `tat` is µs, None for those."""

    name: str
    queued: float
    rate: float
    stopped: int
    tat: float | None = None

    def permits(self, now: float) -> float | None:
        """Return the segments that may leave at once (at `now`, µs); below 0: those that were borrowed."""
        if self.tat is None or self.rate <= 0:
            return None
        free = (now + BURST - max(now, min(self.tat, now + _DEBT))) * self.rate / 1e6
        return max(1.0, free) if free >= 0 else free


@dataclass(frozen=True, slots=True)
class Survey:
    """All lanes and flows at `at` (unix seconds). Times are unix seconds, 0: none.

    `claimable`, `waits`, `ends_at` are by broadcast; `oldest_due` is since when the lane that waits longest
    has had a permit and work that nobody took.
    """

    at: float = 0.0
    lanes: dict[str, int] = field(default_factory=dict)
    backlogs: tuple[LaneBacklog, ...] = ()
    claimable: dict[str, float] = field(default_factory=dict)
    waits: dict[str, Wait] = field(default_factory=dict)
    ends_at: dict[str, float] = field(default_factory=dict)
    oldest_due: float = 0.0
    next_retry: float = 0.0
    drain_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Account:
    """What concerns all lanes; `tat` and `resumed` are µs."""

    everything: Everything
    tat: float = 0.0
    resumed: float = 0.0


class Surveyor:
    """Makes a survey out of what Redis said at `now` (µs): `add` each broadcast, `look_at` all lanes."""

    def __init__(self, now: float, account: Account, lanes: Mapping[str, Lane]) -> None:
        self._now = now
        self._account = account
        self._lanes = lanes
        self._stopped = bool(stops_everything(account.everything)) or bool(account.everything.silent)
        self._queued: Counter[str] = Counter()
        self._segments: Counter[str] = Counter()
        self._working: set[str] = set()
        self._claimable: dict[str, float] = {}
        self._waits: dict[str, Wait] = {}
        self._ends_at: dict[str, float] = {}
        self._oldest_due = self._next_retry = self._drain = 0.0
        self._states = Counter(dict.fromkeys(("sending", "idle", "paused", "refused", "held"), 0))
        self._busiest: list[Lane] = []
        self._others = LaneBacklog(OTHER, 0, 0, 0)
        self._looked_at = 0

    def add(self, one: Standing, names: Sequence[str], flows: Sequence[Flow], *, shown: bool) -> None:
        """Take one that is running or paused, with its flows; `shown`: say why it waits, and when it ends."""
        told = [
            FlowLeft(name, f.batches, f.head, f.recipients, f.segments, f.retries)
            for name, f in zip(names, flows, strict=True)
        ]
        left = share_out(told, one.unsent)
        opens = opened_at(one.windows, self._now)
        claimable, free = 0.0, not self._stopped
        for part, flow in zip(left, flows, strict=True):
            lane = self._lanes.get(part.lane)
            if part.recipients > 0:
                self._queued[part.lane] += part.recipients  # type: ignore[assignment]  # a share of many is no whole number
                self._segments[part.lane] += part.segments  # type: ignore[assignment]
                if one.state == "running":
                    self._working.add(part.lane)
            if flow.first_retry and (not self._next_retry or flow.first_retry < self._next_retry):
                self._next_retry = flow.first_retry
            if lane is not None and one.unsent and one.state == "running" and free and opens <= self._now:
                claimable += self._claimable_of(one, lane, flow, part.recipients, opens)
        self._claimable[one.id] = claimable
        if shown:
            self._explain(one, left, flows, closed=opens > self._now)

    def look_at(self, lanes: Sequence[Lane]) -> None:
        """Take some of the lanes, after every broadcast: what they do, and which have most to send."""
        for lane in lanes:
            self._states[self._state(lane)] += 1
            segments = self._segments.get(lane.name)
            if segments and lane.rate > 0:
                self._drain = max(self._drain, segments / lane.rate)
        self._looked_at += len(lanes)
        ranked = sorted([*self._busiest, *lanes], key=self._busiest_first)
        self._busiest, rest = ranked[:BUSIEST], ranked[BUSIEST:]
        self._others = _together([self._others, *map(self._backlog, rest)])

    def finish(self) -> Survey:
        """Return the survey."""
        return Survey(
            at=self._now / 1e6,
            lanes=dict(self._states),
            backlogs=tuple(self._backlogs()),
            claimable=self._claimable,
            waits=self._waits,
            ends_at=self._ends_at,
            oldest_due=self._oldest_due / 1e6,
            next_retry=self._next_retry / 1e6,
            drain_seconds=self._drain,
        )

    def _claimable_of(self, one: Standing, lane: Lane, flow: Flow, left: float, opens: float) -> float:
        """Return how many of a flow's messages may be taken; and note since when the lane waits for that."""
        fresh = flow.head < flow.batches or flow.back > 0
        if lane.paused or lane.hold > self._now or not (fresh or flow.retries_due):
            return 0.0
        if lane.due:
            since = max(
                lane.due,
                lane.hold,
                self._account.resumed,
                one.resumed * 1e6,
                opens,
                self._permit_at(lane),
                free_at(one.rate, one.tat),
                0.0 if fresh else flow.first_retry,
            )
            if since <= self._now and (not self._oldest_due or since < self._oldest_due):
                self._oldest_due = since
        return max(0.0, left - (flow.retries - flow.retries_due))

    def _permit_at(self, lane: Lane) -> float:
        at = free_at(lane.rate or 1.0, lane.tat)
        if lane.pool and (pool := self._lanes.get(lane.pool)) is not None:
            at = max(at, free_at(pool.rate, pool.tat))
        return max(at, free_at(self._account.everything.rate, self._account.tat))

    def _explain(
        self, one: Standing, left: Sequence[LaneLeft], flows: Sequence[Flow], *, closed: bool
    ) -> None:
        now = self._now / 1e6
        everything = self._account.everything
        doubts = one.counts[State.IN_DOUBT]
        hours = _CLOSED if closed and one.state == "running" and one.unsent else ""
        sending = Sending(
            one.state, "", one.unsent, doubts, one.rate or None, hours, stopped_itself=one.stopped_itself
        )
        standings = [self._standing(part.lane, flow) for part, flow in zip(left, flows, strict=True)]
        self._waits[one.id] = broadcast_waits(everything, sending, standings[:_ASKED], now)
        if one.state != "running" or self._stopped or not everything.workers:
            return
        rates = {
            part.lane: standing.rate
            for part, standing in zip(left, standings, strict=True)
            if moves(standing, now)
        }
        seconds = seconds_left(left, rates, one.rate, everything.rate)
        if seconds is not None and one.windows:
            seconds = ends_by(read_openings(one.windows), now, seconds)
        if seconds is not None:
            self._ends_at[one.id] = now + seconds

    def _standing(self, name: str, flow: Flow) -> LaneStanding:
        lane = self._lanes.get(name)
        ahead = flow.head < flow.batches or flow.back > 0
        if lane is None:
            return LaneStanding(ahead=ahead, first_retry=flow.first_retry)
        return LaneStanding(lane.rate, lane.paused, lane.hold, "", ahead, flow.first_retry)

    def _state(self, lane: Lane) -> str:
        """Return what a lane does; what `reporting/lanes.py` calls paused is `refused` where Twilio did."""
        if lane.paused:
            return _paused_by(lane.paused)
        if lane.hold > self._now:
            return "held"
        if lane.name not in self._working:
            return "idle"
        if not self._stopped:
            return "sending"
        everything = self._account.everything
        return _paused_by(everything.paused) if everything.paused and not everything.rewind else "held"

    def _busiest_first(self, lane: Lane) -> tuple[float, str]:
        return -self._queued.get(lane.name, 0), lane.name

    def _backlog(self, lane: Lane) -> LaneBacklog:
        queued = self._queued.get(lane.name, 0)
        return LaneBacklog(lane.name, queued, lane.rate, int(self._is_stopped(lane)), lane.tat)

    def _backlogs(self) -> Iterator[LaneBacklog]:
        """Yield the busiest lanes by name, and what the others come to."""
        for lane in sorted(self._busiest, key=lambda lane: lane.name):
            yield self._backlog(lane)
        if self._looked_at > len(self._busiest):
            yield self._others

    def _is_stopped(self, lane: Lane) -> int:
        return int(bool(lane.paused) or lane.hold > self._now)


def _together(some: Sequence[LaneBacklog]) -> LaneBacklog:
    queued, rate, stopped = (
        sum(part) for part in zip(*[(b.queued, b.rate, b.stopped) for b in some], strict=True)
    )
    return LaneBacklog(OTHER, queued, rate, stopped)


def _paused_by(reason: str) -> str:
    return "refused" if refused_by_twilio(reason) else "paused"


def free_at(rate: float, tat: float) -> float:
    """Return from when on (µs) a pace lets a message go; 0 where none is set."""
    return tat - BURST if rate > 0 else 0.0


def opened_at(windows: str, now: float) -> float:
    """Return from when on (µs) a broadcast may send, also if that is past; as `opens_at` of prelude.lua."""
    if not windows:
        return 0.0
    for begins, ends in read_openings(windows):
        if now < ends * 1e6:
            return begins * 1e6
    return now + 60e6
