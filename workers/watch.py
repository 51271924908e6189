"""A worker's look at Redis every second: whether it is the server it was, and has kept what was written."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

import structlog

from broadcaster.store.errors import EpochChanged, StoreError

if TYPE_CHECKING:
    from broadcaster.store.connection import Store
    from workers.gate import Gate
    from workers.posting import Poster

log = structlog.get_logger("watch")

_AGAIN_SECONDS: Final = 1.0


class Watch:
    """Asks the guard, and tells it when nothing of before a rewinding is in flight any more."""

    def __init__(self, store: Store, poster: Poster) -> None:
        self._store = store
        self._poster = poster
        self._run_id = ""
        self._cleared = 0

    async def another_server(self, worker: str) -> bool:
        """Look; tells whether another server answers than last time. Raises `EpochChanged`."""
        try:
            found = await self._store.guard.look(worker, cleared=self._cleared)
        except EpochChanged:
            raise
        except StoreError as error:
            log.debug("guard.unread", error=str(error))
            return False
        # said only after the loss was heard of: a yes of before has arrived by now, or never will
        idle = not self._poster.in_flight and not self._poster.ready
        self._cleared = found.at if found.asked and idle else 0
        before, self._run_id = self._run_id, found.run_id
        return bool(before) and before != found.run_id

    async def until_confirmed(self, gate: Gate) -> None:
        """Hold the gate shut until enough replicas confirm what is written."""
        log.warning("replicas.missing", reason="too few replicas confirm: nothing leaves until they do")
        while not gate.confirmed:
            try:
                await self._store.confirm()
                gate.confirmed = True
            except StoreError:
                await asyncio.sleep(_AGAIN_SECONDS)
        log.info("replicas.back")
