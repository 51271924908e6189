"""The canonical line of a slice: what was claimed, and what became of it.

While there are few of them each slice has its own (`slice.done`). A worker with thousands of slow lanes ends
thousands a second, so that what exceeds `telemetry.bounded` goes into sums by broadcast and lane, written
every five seconds (`slices.done`): the busiest and the troubled with their lane, the rest by broadcast.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

import structlog

from broadcaster.telemetry.bounded import SUM_SECONDS, SUMS_AT_ONCE, LineBudget

if TYPE_CHECKING:
    from collections.abc import Callable

    from workers.plan import Held

log = structlog.get_logger("slices")
_plain: Final = logging.getLogger("slices")
#: What the gate refused is noted under this and its reason.
REFUSED: Final = "refused."
#: Twilio's codes, or HTTP's where an answer had none, are noted under this; a line names the most frequent.
CODE: Final = "code."
_CODES_MOST: Final = 25
#: Notes about what has an outcome all the same: not another end.
_BESIDE: Final = frozenset({"retries"})
#: Sums by lane that are kept until they are written; what comes then counts for its broadcast only.
_LANES_KEPT: Final = 1000
_segments: Final = itemgetter(1)


@dataclass(slots=True)
class Sum:
    """What became of one slice, or of many. Seconds are the longest of any."""

    slices: int = 0
    records: int = 0
    ended: int = 0
    segments: int = 0
    seconds: float = 0.0
    permit_wait_seconds: float = 0.0
    lanes: int = 1
    noted: Counter[str] = field(default_factory=Counter)

    def add(self, held: Held, seconds: float) -> None:
        """Add a slice that ended after so long."""
        items, delay = held.slice.items, held.slice.delay_seconds
        self.slices += 1
        self.records += len(items)
        self.ended += held.ended
        # thousands of slow lanes: a slice is a message
        self.segments += items[0].segments if len(items) == 1 else sum(map(_segments, items))
        if seconds > self.seconds:  # noqa: PLR1730 - a third of the time
            self.seconds = seconds
        if delay > self.permit_wait_seconds:  # noqa: PLR1730
            self.permit_wait_seconds = delay
        if held.noted:
            self.noted.update(held.noted)

    def join(self, other: Sum) -> None:
        """Add another lane's sum."""
        self.slices += other.slices
        self.records += other.records
        self.ended += other.ended
        self.segments += other.segments
        self.seconds = max(self.seconds, other.seconds)
        self.permit_wait_seconds = max(self.permit_wait_seconds, other.permit_wait_seconds)
        self.lanes += other.lanes
        self.noted.update(other.noted)

    def line(self) -> dict[str, Any]:
        """Return what is logged of it; records are what was accepted, the other ends, refused, given back."""
        refused = {
            name.removeprefix(REFUSED): n for name, n in self.noted.items() if name.startswith(REFUSED)
        }
        codes = Counter(
            {name.removeprefix(CODE): n for name, n in self.noted.items() if name.startswith(CODE)}
        )
        others = {
            name: n
            for name, n in self.noted.items()
            if not name.startswith((REFUSED, CODE)) and name not in _BESIDE
        }
        return {
            "records": self.records,
            "segments": self.segments,
            "accepted": self.ended - sum(others.values()),
            **{name: others.pop(name, 0) for name in ("rejected", "throttled", "not_sent", "unknown")},
            **others,
            "retries": self.noted["retries"],
            **({"codes": dict(codes.most_common(_CODES_MOST))} if codes else {}),
            **({"refused": refused} if refused else {}),
            "given_back": self.records - self.ended - sum(refused.values()),
            "seconds": round(self.seconds, 3),
            "permit_wait_seconds": round(self.permit_wait_seconds, 3),
        }


class SliceLog:
    """Writes lines of slices. `about` gives the worker's name and how many requests are in flight."""

    def __init__(self) -> None:
        self.about: Callable[[], tuple[str, int]] = lambda: ("", 0)
        self._budget = LineBudget()
        self._sums: dict[tuple[str, str], Sum] = {}
        self._write_at = 0.0

    def ended(self, held: Held, now: float) -> None:
        """Take a slice whose last message has its end at `now`, in monotonic seconds."""
        if not _plain.isEnabledFor(logging.INFO):
            return
        slice_ = held.slice
        sums, key = self._sums, (slice_.broadcast, slice_.lane)
        there = sums.get(key)
        if there is None and len(sums) >= _LANES_KEPT:
            key = (slice_.broadcast, "")
            there = sums.get(key)
        if there is None:
            if self._budget.take(now):
                alone = Sum()
                alone.add(held, now - held.began)
                self._write("slice.done", slice_.broadcast, slice_.lane, alone, batch=slice_.batch)
                return
            if not sums:
                self._write_at = now + SUM_SECONDS
            there = sums[key] = Sum()
        there.add(held, now - held.began)

    def write_due(self, now: float) -> None:
        """Write the sums when their time has come."""
        if self._sums and now >= self._write_at:
            self.write_all()

    def write_all(self) -> None:
        """Write the sums now."""
        sums, self._sums = self._sums, {}
        order = sorted(sums, key=lambda key: (not sums[key].noted, -sums[key].records))
        for broadcast, lane in order[:SUMS_AT_ONCE]:
            self._write("slices.done", broadcast, lane or None, sums[broadcast, lane])
        rest: dict[str, Sum] = {}
        for key in order[SUMS_AT_ONCE:]:
            rest.setdefault(key[0], Sum(lanes=0)).join(sums[key])
        for broadcast, joined in rest.items():
            self._write("slices.done", broadcast, None, joined, lanes=joined.lanes)

    def _write(self, event: str, broadcast: str, lane: str | None, made: Sum, **more: Any) -> None:
        worker, in_flight = self.about()
        if event != "slice.done":
            more["slices"] = made.slices
        log.info(
            event, broadcast=broadcast, lane=lane, **more, worker=worker, in_flight=in_flight, **made.line()
        )
