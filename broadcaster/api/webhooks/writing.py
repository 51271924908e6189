"""Writing statuses: all that waits goes in one round trip, while the next are collected."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING, Final, TypeVar

from broadcaster.api.webhooks.lines import CallbackLog
from broadcaster.ledger.callbacks import write_statuses
from broadcaster.ledger.strays import park
from broadcaster.reporting.completed import say_completed
from broadcaster.store.errors import Unreachable

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from broadcaster.ledger.callbacks import Status
    from broadcaster.ledger.strays import Stray
    from broadcaster.store.connection import Store
    from broadcaster.telemetry.bounded import Sample
    from broadcaster.telemetry.metrics import Metrics

#: One call keeps Redis from everything else for some milliseconds.
AT_ONCE: Final = 500
T = TypeVar("T")


class StatusWriter:
    """Collects statuses and writes them, one call at a time. Whoever waits is told once Redis has its own."""

    def __init__(self, store: Store, metrics: Metrics, sample: Sample | None = None) -> None:
        self._store = store
        self._metrics = metrics
        self._lines = CallbackLog(sample)
        self._statuses: list[tuple[Status, asyncio.Future[None]]] = []
        self._strays: list[tuple[Stray, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        self._saying: set[asyncio.Task[None]] = set()

    def write(self, status: Status) -> asyncio.Future[None]:
        """Take a status; the result is there when it is written. Its errors are the store's."""
        return self._take(self._statuses, status)

    def park(self, stray: Stray) -> asyncio.Future[None]:
        """Take a status of a message that has to be looked for."""
        return self._take(self._strays, stray)

    async def close(self) -> None:
        """Return when nothing waits any more."""
        if self._writing is not None:
            await self._writing
        if self._saying:
            await asyncio.wait(self._saying)
        self._lines.write_all()

    def _take(self, waiting: list[tuple[T, asyncio.Future[None]]], one: T) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        waiting.append((one, done))
        if self._writing is None:
            self._writing = loop.create_task(self._write())
        return done

    async def _write(self) -> None:
        """Write until nothing waits. What comes meanwhile goes with the next."""
        await asyncio.sleep(0)  # whatever else has come in by now comes along
        try:
            while self._statuses or self._strays:
                statuses, self._statuses = self._statuses[:AT_ONCE], self._statuses[AT_ONCE:]
                strays, self._strays = self._strays, []
                if statuses:
                    await _answered([done for _, done in statuses], self._record([s for s, _ in statuses]))
                if strays:
                    await _answered([done for _, done in strays], self._park([s for s, _ in strays]))
        finally:
            # only where this process is ending there is something left
            left = [done for _, done in (*self._statuses, *self._strays)]
            _end(left, Unreachable("this process is ending: it is not written"))
            self._statuses, self._strays, self._writing = [], [], None

    async def _record(self, statuses: list[Status]) -> None:
        began = monotonic()
        told = await self._store.run(write_statuses(statuses))
        self._lines.written(statuses, told, monotonic() - began)
        self._metrics.callbacks_ended("recorded", told.changed)
        self._metrics.callbacks_ended("dropped", told.missing)
        self._metrics.callbacks_ended("unchanged", len(statuses) - told.changed - told.missing)
        for broadcast in told.completed:
            task = asyncio.create_task(say_completed(self._store, broadcast))
            self._saying.add(task)
            task.add_done_callback(self._saying.discard)

    async def _park(self, strays: list[Stray]) -> None:
        dropped = await park(self._store, strays)
        self._metrics.callbacks_ended("parked", len(strays))
        self._metrics.callbacks_ended("dropped", dropped)


async def _answered(waiting: list[asyncio.Future[None]], work: Awaitable[None]) -> None:
    """Do work, and tell all who wait for it how it ended."""
    try:
        await work
    except asyncio.CancelledError:
        _end(waiting, Unreachable("this process is ending: it may be written, or not"))
        raise
    except Exception as error:  # noqa: BLE001 - each of them gets it
        _end(waiting, error)
    else:
        _end(waiting, None)


def _end(waiting: list[asyncio.Future[None]], error: Exception | None) -> None:
    for done in waiting:
        if done.done():
            continue
        if error is None:
            done.set_result(None)
        else:
            done.set_exception(error)
            done.exception()  # nobody may be waiting any more
