"""A clock for leases: unlike the monotonic one it goes on while the machine sleeps."""

from __future__ import annotations

import time
from typing import Final

#: Linux' CLOCK_BOOTTIME counts suspended time too; elsewhere the monotonic clock has to do.
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def lease_clock() -> float:
    """Return seconds since some moment that does not change while the machine is up."""
    return time.clock_gettime(_CLOCK)
