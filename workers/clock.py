"""Clocks: one for leases, which goes on while the machine sleeps, and Redis', by which everything waits."""

from __future__ import annotations

import math
import time
from typing import Final

#: Linux' CLOCK_BOOTTIME counts suspended time too; elsewhere the monotonic clock has to do.
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

#: A clock that is put right while it runs gains or loses less than this in a second (adjtime).
SLEW: Final = 0.0005
#: Of this stretch and the one before the quickest round trip counts, and of a slow Redis no more than that.
LATELY_SECONDS: Final = 30.0
ROUND_TRIP_MOST_SECONDS: Final = 0.2


class RedisClock:
    """Redis' unix seconds, as this process knows them: never ahead of them; its own until it has asked."""

    __slots__ = ("_ahead",)

    def __init__(self) -> None:
        self._ahead: float | None = None

    def hear(self, ahead: float) -> None:
        """Learn how far Redis' clock is ahead of `lease_clock`, in seconds."""
        self._ahead = ahead

    def now(self) -> float:
        """Return unix seconds."""
        return time.time() if self._ahead is None else lease_clock() + self._ahead


class RoundTrips:
    """How long Redis takes to answer, at its quickest of late: what is asked so much ahead comes in time.

    Of half a minute at least: after a spell in which all was slow, nothing may leave so much too early.
    """

    __slots__ = ("_before", "_since", "_until_now", "quickest")

    def __init__(self) -> None:
        self._before = self._until_now = math.inf
        self._since = -math.inf
        self.quickest = 0.0

    def note(self, asked: float, answered: float) -> None:
        """Note when something was asked and answered, in monotonic seconds."""
        if answered - self._since > LATELY_SECONDS:
            self._before, self._until_now = self._until_now, math.inf
            self._since = answered
        self._until_now = min(self._until_now, answered - asked)
        self.quickest = min(self._before, self._until_now, ROUND_TRIP_MOST_SECONDS)


class Moments:
    """When Redis did something, in our monotonic seconds: never earlier, and hardly later.

    An answer that was long on its way says little about when it was made, the quickest one most.
    """

    __slots__ = ("_ahead", "_at")

    def __init__(self) -> None:
        self._ahead = -math.inf
        self._at = 0.0

    def of(self, seconds: float, asked: float, answered: float) -> float:
        """Return when Redis' clock showed `seconds`, of what was `asked` for and `answered` then."""
        known = self._ahead - (answered - self._at) * SLEW
        # a clock that was moved leaves these bounds, and is believed anew
        self._ahead = min(max(known, seconds - answered), seconds - asked)
        self._at = answered
        return seconds - self._ahead


def lease_clock() -> float:
    """Return seconds since some moment that does not change while the machine is up."""
    return time.clock_gettime(_CLOCK)
