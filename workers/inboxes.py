"""What people write while free text waits for them: read from Twilio's list, where no webhook tells us.

Without that whoever wrote after a list was taken would be skipped, or get the template, though their window
is open. Asked for is only what broadcasts that run, or start within a minute, depend on: a page a minute and
sender (intake/inbox.py).
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

import structlog

from broadcaster.intake.windows import Windows, minding_lanes

if TYPE_CHECKING:
    from broadcaster.store.connection import Store
    from broadcaster.twilio.rest import TwilioRest

log = structlog.get_logger("inboxes")

SOON_SECONDS: Final = 60
_KEPT: Final = 10_000


class Inboxes:
    """Keeps marks current. A round asks for what has not been asked for in the last minute."""

    def __init__(self, store: Store, twilio: TwilioRest) -> None:
        self._store = store
        self._windows = Windows(store, twilio)
        self._lanes: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    async def round(self) -> None:
        """Read what was written to the senders of broadcasts that depend on it. Raises redis' errors."""
        for lane in sorted(
            {lane for broadcast in await self._current() for lane in await self._of(broadcast)}
        ):
            if why := await self._windows.refresh(lane):
                log.warning("inbox.unread", lane=lane, reason=why)

    async def _current(self) -> list[str]:
        keys = self._store.keys
        soon = (await self._store.redis.time())[0] + SOON_SECONDS
        async with self._store.redis.pipeline(transaction=False) as pipe:
            pipe.smembers(keys.plain("active"))
            pipe.zrangebyscore(keys.plain("scheduled"), "-inf", soon)
            running, starting = await pipe.execute()
        return [raw.decode() for raw in {*running, *starting}]

    async def _of(self, broadcast: str) -> tuple[str, ...]:
        """Return the lanes of a broadcast on which windows count; what it says never changes."""
        known = self._lanes.get(broadcast)
        if known is None:
            known = self._lanes[broadcast] = await minding_lanes(self._store, broadcast)
            while len(self._lanes) > _KEPT:
                self._lanes.popitem(last=False)
        return known
