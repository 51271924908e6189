"""How full a sender's seconds were, by when its messages arrived; also on a machine that others keep busy."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

#: A hundred a second and more leave no such gap by chance.
STALL_SECONDS: Final = 0.06


def stalls(arrivals: dict[str, list[float]]) -> list[tuple[float, float]]:
    """Return when this machine stood still, (end, seconds): no sender's message came for so long.

    Then those that were due come all at once as the simulator reads again. What is longer was no stall; on a
    machine of one's own there are none, and each second is held to its rate.
    """
    times = sorted(at_ms for ms in arrivals.values() for at_ms in ms)
    gaps = [(now, (now - before) / 1000) for before, now in itertools.pairwise(times)]
    return [(at_ms, gap) for at_ms, gap in gaps if STALL_SECONDS < gap < 2]


def fullest(
    ms: Sequence[float], rate: float, stood: Sequence[tuple[float, float]], seconds: float = 1.0
) -> tuple[float, int, float]:
    """Return the fullest window: how many above what may be in it, how many came, when (second) it began.

    In it may be what its time allows, a permit 40 ms early at its beginning and one 40 ms late at its end,
    and what stalls held up that ended in it or shortly before.
    """
    best, first = (-rate * seconds, 0, 0.0), 0
    for place, at_ms in enumerate(ms):
        while at_ms - ms[first] >= seconds * 1000:
            first += 1
        came = place - first + 1
        held_up = sum(gap for end, gap in stood if ms[first] - 3000 <= end <= at_ms)
        over = came - rate * (seconds + 0.1 + held_up)
        if over > best[0]:
            best = (over, came, (ms[first] - ms[0]) / 1000)
    return best
