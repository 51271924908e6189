"""Writing statuses: all that waits goes in one round trip, while the next are collected."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Final

import structlog

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

log = structlog.get_logger("webhooks")

#: One call keeps Redis from everything else for some milliseconds.
AT_ONCE: Final = 500
#: Hears once of what was given to be written: None, or the error, which is the store's.
Told = Callable[[Exception | None], None]


class StatusWriter:
    """Collects statuses and writes them, one call at a time. Whoever waits is told once Redis has its own."""

    def __init__(self, store: Store, metrics: Metrics, sample: Sample | None = None) -> None:
        self._store = store
        self._metrics = metrics
        self._lines = CallbackLog(sample)
        self._statuses: list[tuple[Status, float, Told]] = []
        self._strays: list[tuple[Stray, Told]] = []
        self._writing: asyncio.Task[None] | None = None
        self._saying: set[asyncio.Task[None]] = set()

    def write(self, status: Status, began: float, told: Told) -> None:
        """Take a status, whose request `began` then, in seconds of `perf_counter`."""
        self._statuses.append((status, began, told))
        self._begin()

    def park(self, stray: Stray, told: Told) -> None:
        """Take a status of a message that has to be looked for."""
        self._strays.append((stray, told))
        self._begin()

    async def close(self) -> None:
        """Return when nothing waits any more."""
        if self._writing is not None:
            await self._writing
        if self._saying:
            await asyncio.wait(self._saying)
        self._lines.write_all()

    def _begin(self) -> None:
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def _write(self) -> None:
        """Write until nothing waits. What comes meanwhile goes with the next."""
        await asyncio.sleep(0)  # whatever else has come in by now comes along
        try:
            while self._statuses or self._strays:
                statuses, self._statuses = self._statuses[:AT_ONCE], self._statuses[AT_ONCE:]
                strays, self._strays = self._strays, []
                if statuses:
                    await _answered([told for *_, told in statuses], self._record(statuses))
                if strays:
                    await _answered([told for _, told in strays], self._park([s for s, _ in strays]))
        finally:
            # only where this process is ending there is something left
            left = [told for *_, told in self._statuses] + [told for _, told in self._strays]
            self._statuses, self._strays, self._writing = [], [], None
            _end(left, Unreachable("this process is ending: it is not written"))

    async def _record(self, taken: list[tuple[Status, float, Told]]) -> None:
        statuses, began = [status for status, *_ in taken], monotonic()
        told = await self._store.run(write_statuses(statuses))
        self._lines.written(statuses, told, monotonic() - began)
        self._metrics.callbacks_ended("recorded", told.changed)
        self._metrics.callbacks_ended("dropped", told.missing)
        self._metrics.callbacks_ended("unchanged", len(statuses) - told.changed - told.missing)
        now = perf_counter()
        self._metrics.callback_write.observe_many([now - came for _, came, _ in taken])
        for broadcast in told.completed:
            task = asyncio.create_task(say_completed(self._store, broadcast))
            self._saying.add(task)
            task.add_done_callback(self._saying.discard)

    async def _park(self, strays: list[Stray]) -> None:
        dropped = await park(self._store, strays)
        self._metrics.callbacks_ended("parked", len(strays))
        self._metrics.callbacks_ended("dropped", dropped)


async def _answered(waiting: list[Told], work: Awaitable[None]) -> None:
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


def _end(waiting: list[Told], error: Exception | None) -> None:
    for told in waiting:
        try:
            told(error)
        except Exception:  # one that can't be told keeps nobody else waiting
            log.exception("callback.untold")
