"""What a worker has written lately, to be written again where Redis has lost it.

Each such call is idempotent: written again to a Redis that has it, it changes nothing.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from broadcaster.store.scripts import Call

#: Longer than a disk or a replica lags behind before it is given up.
REMEMBERED_SECONDS: Final = 30.0


class Memory:
    """The calls of the last seconds, oldest first."""

    def __init__(self) -> None:
        self._calls: deque[tuple[float, list[Call[Any]]]] = deque()

    def add(self, now: float, calls: list[Call[Any]]) -> None:
        """Remember calls that were carried out at `now` (monotonic)."""
        if calls:
            self._calls.append((now, calls))
        while self._calls and self._calls[0][0] < now - REMEMBERED_SECONDS:
            self._calls.popleft()

    def clear(self) -> None:
        """Forget everything: the server can't lose it."""
        self._calls.clear()

    def all(self) -> list[Call[Any]]:
        """Return the calls in their order."""
        return [call for _, calls in self._calls for call in calls]
