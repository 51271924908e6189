"""Clocks: one for leases, which goes on while the machine sleeps, and Redis', by which everything waits."""

from __future__ import annotations

import time
from typing import Final

#: Linux' CLOCK_BOOTTIME counts suspended time too; elsewhere the monotonic clock has to do.
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


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


def lease_clock() -> float:
    """Return seconds since some moment that does not change while the machine is up."""
    return time.clock_gettime(_CLOCK)
