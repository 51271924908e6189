"""A broadcast or stream as its counters tell, and what all of them add up to. No I/O."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import msgspec

from broadcaster.domain.record import State
from broadcaster.twilio.codes import is_automatic

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_PRIORITIES: Final = {"u": "urgent", "n": "normal", "b": "bulk"}
_ENDED: Final = frozenset({"completed", "canceled", "failed"})
OPEN: Final = ("running", "paused")


class Standing(msgspec.Struct, frozen=True, gc=False):
    """One of them. Times are unix seconds, 0: none; `tat` is µs. `counts` are by state's number.

    `reason` is the one for its state as a script wrote it.
    """

    id: str
    state: str
    stream: bool
    priority: str
    name: str
    total: int
    removed: bool
    created: int
    started: int
    resumed: int
    windows: str
    rate: float
    tat: float
    parent: str
    reason: str
    counts: tuple[int, ...]

    @property
    def unsent(self) -> int:
        """Recipients that still may be sent to."""
        return self.counts[State.QUEUED] + self.counts[State.RETRY]

    @property
    def stopped_itself(self) -> bool:
        """Whether it is a broadcast that no person paused, and that has recipients left.

        People can pause only what has begun: one that has not was refused its template (start.lua).
        """
        paused = self.state == "paused" and not self.stream and self.unsent > 0
        return paused and (not self.started or is_automatic(self.reason))


def read_standing(broadcast: str, fields: Sequence[str]) -> Standing | None:
    """Read what standings.lua says of one; None where there is none."""
    if not fields:
        return None
    state, kind, cls, name, total, removed, created, started, resumed, windows, rate, tat, parent, reason = (
        fields[:14]
    )
    return Standing(
        id=broadcast,
        state=state,
        stream=kind == "stream",
        priority=_PRIORITIES.get(cls, "normal"),
        name=name,
        total=int(total or 0),
        removed=bool(removed),
        created=int(created or 0),
        started=int(started or 0),
        resumed=int(resumed or 0),
        windows=windows,
        rate=float(rate or 0),
        tat=float(tat or 0),
        parent=parent,
        reason=reason,
        counts=tuple([int(n or 0) for n in fields[14:]]),
    )


def queue_messages(standings: Iterable[Standing]) -> dict[str, int]:
    """Count what waits, by state: of those that run or are paused all, of ended ones what is on its way."""
    queued = sending = retry = in_doubt = 0
    for standing in standings:
        counts = standing.counts
        sending += counts[State.SENDING]
        in_doubt += counts[State.IN_DOUBT]
        if standing.state in OPEN:
            queued += counts[State.QUEUED]
            retry += counts[State.RETRY]
    return {"queued": queued, "sending": sending, "retry": retry, "in_doubt": in_doubt}


class Tally:
    """Every broadcast and stream there is by state, and sums over them, kept up one by one."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, int, int]] = {}
        self.states: Counter[str] = Counter()
        self.recipients = 0
        self.dead = 0

    def __len__(self) -> int:
        return len(self._known)

    def put(self, broadcast: str, standing: Standing | None) -> None:
        """Take what is so now; None: it is gone."""
        before = self._known.get(broadcast)
        after = None if standing is None else _entry(standing)
        if before == after:
            return
        if before is not None:
            self._add(*before, sign=-1)
            del self._known[broadcast]
        if after is not None:
            self._add(*after, sign=1)
            self._known[broadcast] = after

    def has_ended(self, broadcast: str) -> bool:
        """Tell whether it was over when last looked at; what goes on after that is among the active."""
        known = self._known.get(broadcast)
        return known is not None and known[0] in _ENDED

    def keep_only(self, broadcasts: set[str]) -> None:
        """Forget those that there are no more."""
        for gone in self._known.keys() - broadcasts:
            self.put(gone, None)

    def _add(self, state: str, held: int, dead: int, *, sign: int) -> None:
        if state:
            self.states[state] += sign
        self.recipients += sign * held
        self.dead += sign * dead


def _entry(one: Standing) -> tuple[str, int, int]:
    """Return its state ('' for a stream, and what is being removed), recipients it holds, dead letters."""
    if one.state in ("deleting", "removing"):
        return "", 0, 0
    held = 0 if one.removed or one.state == "failed" else one.total
    dead = 0 if one.removed else one.counts[State.DEAD]
    return "" if one.stream else one.state, held, dead
