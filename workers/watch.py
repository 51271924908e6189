"""A worker's look at Redis every second: whether it is the server it was, and has kept what was written."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import structlog

from broadcaster.store.errors import EpochChanged, StoreError

if TYPE_CHECKING:
    from broadcaster.store.connection import Store
    from broadcaster.store.guard import Look
    from broadcaster.store.scripts import Call
    from workers.gate import Gate
    from workers.posting import Poster

log = structlog.get_logger("watch")

_AGAIN_SECONDS: Final = 1.0
#: A yes that is older than this when it arrives is not used: its permit is long past, maybe the lease too.
LATE_SECONDS: Final = 1.0


class Watch:
    """Asks the guard, and tells it when nothing of before a rewinding is in flight any more."""

    def __init__(self, store: Store, poster: Poster) -> None:
        self._store = store
        self._poster = poster
        self._run_id = ""
        self._another = False
        self._heard_of = 0
        self._heard = 0.0

    async def question(self, worker: str) -> Call[Any]:
        """Return what to ask."""
        return await self._store.guard.question(worker, cleared=self._cleared())

    def heard(self, found: Look | StoreError, began: float, answered: float) -> None:  # noqa: ARG002 - as `lease.Asks` has it
        """Take the answer. Raises `EpochChanged`."""
        if isinstance(found, EpochChanged):
            raise found
        if isinstance(found, StoreError):
            log.debug("guard.unread", error=str(found))
            return
        self._store.guard.heard(found)
        if found.asked and found.at != self._heard_of:
            self._heard_of, self._heard = found.at, monotonic()
        self._another = self._another or self._run_id not in ("", found.run_id)
        self._run_id = found.run_id

    def another_server(self) -> bool:
        """Tell whether another server has answered than before, once of each."""
        another, self._another = self._another, False
        return another

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

    def _cleared(self) -> int:
        """Return the rewinding from before which nothing is in flight any more; 0 while that isn't sure.

        A yes of before may still be on its way when the loss is heard of, and be used so long after that.
        """
        late = monotonic() - self._heard > LATE_SECONDS
        idle = not self._poster.in_flight and not self._poster.ready
        return self._heard_of if late and idle else 0
