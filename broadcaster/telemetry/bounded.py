"""How many lines a process may write: a line costs 0.1 ms, and a worker ends a thousand slices a second."""

from __future__ import annotations

import zlib
from typing import Final

#: One in 10 ms: a thousandth of a core, whatever happens; what has no line of its own is in a sum.
LINES_PER_SECOND: Final = 10.0
#: So many may come at once after a quiet time.
BURST: Final = 50.0
#: So often sums are written; of these at most so many by lane or route, the rest as one.
SUM_SECONDS: Final = 5.0
SUMS_AT_ONCE: Final = 25
_WHOLE: Final = 1 << 32


class LineBudget:
    """A bucket of lines that fills by `per_second` up to `burst`; times are monotonic seconds."""

    def __init__(self, per_second: float = LINES_PER_SECOND, burst: float = BURST) -> None:
        self._per_second = per_second
        self._burst = burst
        self._left = burst
        self._at = 0.0

    def take(self, now: float) -> bool:
        """Whether one more line may be written now."""
        left = min(self._burst, self._left + (now - self._at) * self._per_second)
        self._at = now
        self._left = left - 1 if left >= 1 else left
        return left >= 1


class Sample:
    """Chooses `share` (0 to 1) of all messages, by what they are: every process chooses the same ones."""

    def __init__(self, share: float) -> None:
        self._below = int(share * _WHOLE)

    def takes(self, broadcast: str, batch: str, row: int) -> bool:
        """Whether this message has lines of its own at debug."""
        return zlib.crc32(f"{broadcast}/{batch}/{row}".encode()) < self._below


def sample_of(share: float, level: str) -> Sample | None:
    """Return the sample of a process that logs at this level; None where it chooses nobody."""
    return Sample(share) if share > 0 and level.lower() == "debug" else None
