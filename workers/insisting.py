"""Asking Redis until it has done what must be done: outcomes can't be left out, whatever Redis is at.

Each call may be run twice; all of them change nothing the second time.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

import structlog

from broadcaster.store.errors import EpochChanged, LeaseLost, StoreError, Unconfirmed, Unreachable
from workers.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.store.connection import Store
    from broadcaster.store.scripts import Call

log = structlog.get_logger("dispatcher")

PAUSE_FIRST_SECONDS: Final = 0.05
PAUSE_MOST_SECONDS: Final = 1.0
SAY_AGAIN_SECONDS: Final = 30.0
#: Calls that are made again where Redis has lost what they did.
REMEMBERED: Final = frozenset({"record", "release", "optout"})
#: Answers that asking again would not better.
_LEAVE_IT: Final = (LeaseLost, Unconfirmed)


class Insisting:
    """Calls of one worker. `in_flight` says how many messages have left and not come back, for the log.

    `moved` is told of each try: a worker that waits for Redis is alive.
    """

    def __init__(self, store: Store, in_flight: Callable[[], int], moved: Callable[[], None]) -> None:
        self._store = store
        self._in_flight = in_flight
        self._moved = moved
        self._memory = Memory()
        self._lost: list[Call[Any]] = []
        #: Whether the last calls were made more than once.
        self.repeated = False
        #: When to give up (monotonic); None while the worker works.
        self.until: float | None = None

    async def ask(self, calls: list[Call[Any]]) -> list[Any]:
        """Ask until every call is carried out; POSTs go on meanwhile.

        Raises `EpochChanged`, and `Unreachable` once the time to stop is over.
        """
        pause, waited, say_at = PAUSE_FIRST_SECONDS, 0.0, 0.0
        while True:
            self._moved()
            try:
                if waited:  # that it has our scripts says nothing: another process may have given it them
                    await self._store.guard.look()
                answers = await self._store.run_each(calls)
                refused = next(
                    (a for a in answers if isinstance(a, StoreError) and not isinstance(a, _LEAVE_IT)), None
                )
                if isinstance(refused, EpochChanged):
                    raise refused
                if refused is None:
                    break
                error: StoreError = refused
            except Unreachable as unreachable:
                error = unreachable
            if waited >= say_at:
                say_at += SAY_AGAIN_SECONDS
                log.warning("redis.unreachable", error=str(error), in_flight=self._in_flight())
            if self.until is not None and monotonic() > self.until:
                raise Unreachable(str(error))
            await asyncio.sleep(pause)
            waited += pause
            pause = min(PAUSE_MOST_SECONDS, pause * 2)
        if not self._store.guard.keeps:
            self._memory.add(monotonic(), [call for call in calls if call.script in REMEMBERED])
        self.repeated = waited > 0
        if waited:
            log.info("redis.back", waited_seconds=round(waited, 1))
        return answers

    def another_server(self) -> int:
        """Say that another server answers, which may have lost the last writes; returns how many they are."""
        self._lost = self._memory.all()
        return len(self._lost)

    async def write_again(self) -> None:
        """Write what another server was not told."""
        lost, self._lost = self._lost, []
        if lost:
            await self.ask(lost)
