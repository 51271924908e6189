"""Clocks: one for leases, which goes on while the machine sleeps, and Redis', by which everything waits."""

from __future__ import annotations

import math
import time
from collections import deque
from typing import Final

#: Linux' CLOCK_BOOTTIME counts suspended time too; elsewhere the monotonic clock has to do.
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)

#: A clock that is put right while it runs gains or loses less than this in a second (adjtime).
SLEW: Final = 0.0005
#: Of so many round trips the quickest counts, and of a slow Redis no more than that.
ROUND_TRIPS: Final = 8
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
    """How long Redis takes to answer, at its quickest of late: what is asked so much ahead comes in time."""

    __slots__ = ("_last", "quickest")

    def __init__(self) -> None:
        self._last: deque[float] = deque(maxlen=ROUND_TRIPS)
        self.quickest = 0.0

    def note(self, seconds: float) -> None:
        """Note how long one took."""
        self._last.append(seconds)
        self.quickest = min(*self._last, ROUND_TRIP_MOST_SECONDS)


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
