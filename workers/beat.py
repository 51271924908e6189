"""When the next round trip starts: at a time that may be moved forward while it is being waited for."""

from __future__ import annotations

import asyncio
from time import monotonic


class Beat:
    """A wait until a time (monotonic seconds) that `nudge` can bring nearer."""

    def __init__(self) -> None:
        self._at = 0.0
        self._event = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None

    async def wait_until(self, at: float) -> None:
        """Return at `at`, or at the earlier time that a nudge named meanwhile."""
        if at <= monotonic():
            await asyncio.sleep(0)
            return
        self._event.clear()
        self._schedule(at)
        await self._event.wait()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._at = 0.0

    def nudge(self, at: float = 0.0) -> None:
        """Let the wait end at `at` if it was to end later."""
        if at < self._at:
            self._schedule(at)

    def _schedule(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(max(0.0, at - monotonic()), self._event.set)
        self._at = at
