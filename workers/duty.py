"""Whether this worker is one of the few that run the installation's jobs, as its lease says (renew.lua)."""

from __future__ import annotations

import asyncio


class Duty:
    """What the lease says, to be waited for; off duty until it has said anything."""

    def __init__(self) -> None:
        self._on, self._off = asyncio.Event(), asyncio.Event()
        self._off.set()

    def hear(self, *, on: bool) -> None:
        """Take what a standing says."""
        come, gone = (self._on, self._off) if on else (self._off, self._on)
        come.set()
        gone.clear()

    async def begins(self) -> None:
        """Wait until it is on duty."""
        await self._on.wait()

    async def ends(self) -> None:
        """Wait until it is not: its lease was lost, and others have taken over meanwhile."""
        await self._off.wait()
