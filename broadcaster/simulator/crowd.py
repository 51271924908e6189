"""How many Create Message requests were being processed at once, over time: what a client really uses."""

from __future__ import annotations

import time
from array import array
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

#: Width of a slot of time, and for how many of them the past is kept.
SLOT_US: Final = 100_000
SLOTS_MOST: Final = 100_000


class Crowd:
    """Counts who is in; keeps for each tenth of a second the average of that, and who was turned away."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.now = 0
        self._clock = clock
        self.forget()

    def forget(self) -> None:
        """Begin anew; who is in stays in."""
        self._began = self._clock()
        self._at = 0
        self._area = array("Q")
        self._refused = array("L")

    def enter(self) -> None:
        """Let one in."""
        self._advance()
        self.now += 1

    def leave(self) -> None:
        """Let one out."""
        self._advance()
        self.now -= 1

    def refuse(self) -> None:
        """Turn one away."""
        self._advance()
        if self._refused:
            self._refused[-1] += 1

    def slots(self) -> list[dict[str, Any]]:
        """Return the slots so far: when each began (monotonic ms), the average inside, who was refused."""
        self._advance()
        return [
            {
                "ms": round(self._began * 1000 + place * SLOT_US / 1000),
                "inside": round(area / SLOT_US, 2),
                "refused": refused,
            }
            for place, (area, refused) in enumerate(zip(self._area, self._refused, strict=True))
        ]

    def _advance(self) -> None:
        """Add what passed since the last change to the slots it passed in, in whole microseconds."""
        now = self._passed_us()
        slot = min(now // SLOT_US, SLOTS_MOST)
        while len(self._area) <= slot:
            self._area.append(0)
            self._refused.append(0)
        while self._at < now and self._at // SLOT_US <= slot:
            until = min(now, (self._at // SLOT_US + 1) * SLOT_US)
            self._area[self._at // SLOT_US] += (until - self._at) * self.now
            self._at = until
        self._at = now

    def _passed_us(self) -> int:
        return int((self._clock() - self._began) * 1_000_000)
