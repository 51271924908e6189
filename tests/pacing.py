"""How well a pace was kept, from the times at which messages came. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def fullest(times: Sequence[float], seconds: float = 1.0) -> int:
    """Return the most of ascending times that lie within any window of so long, its end not included."""
    first = most = 0
    for last, at in enumerate(times):
        while at - times[first] >= seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def share(times: Sequence[float], rate: float, began: float, ended: float) -> float:
    """Return how much of the rate was sent in a stretch of time."""
    return sum(began <= at < ended for at in times) / (rate * (ended - began))


def room(rate: float) -> float:
    """Return how many messages any second may have: the rate and 10 %, and one."""
    return rate * 1.1 + 1
