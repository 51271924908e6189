"""One exporter's life with Redis: its lease, its readings, and what it shows when it can't read.

Of all exporters of an installation one holds a lease, which is asked for with every reading. A reading
counts only if the lease that was asked for before it can't have run out since: by a clock that goes on while
the machine sleeps, so that a process that was stopped shows nothing that another one shows by now. Scrapes at
the same time share a reading. Whoever is scraped no more lets the lease go, so that one that is can have it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import socket
import time
from typing import TYPE_CHECKING, Any, Final

import structlog
from redis.exceptions import RedisError

from broadcaster.exporter.families import Page
from broadcaster.exporter.showing import show, show_server
from broadcaster.reporting.installation.calls import hold_lease
from broadcaster.reporting.installation.gathering import Gatherer
from broadcaster.store.connection import client
from broadcaster.store.errors import EpochChanged, StoreError, Unreachable
from broadcaster.store.reading import join_to_read

if TYPE_CHECKING:
    from broadcaster.reporting.installation.gathering import Picture
    from broadcaster.reporting.installation.server import ServerFacts
    from broadcaster.store.reading import Reader
    from broadcaster.telemetry.masking import Masking

log = structlog.get_logger("exporter")
#: How long a reading may take before it is given up.
PATIENCE_SECONDS: Final = 5.0
#: As long as a usual scrape interval: when another takes over, what this one showed last is nearly gone.
LEASE_SECONDS: Final = 15.0
_RENEW_SECONDS: Final = 4.0
#: Without a scrape for so long nobody reads what it shows.
_SCRAPED_SECONDS: Final = 150.0
_CONNECTIONS: Final = 8
#: Counts suspended time too, where there is such a clock.
_CLOCK: Final = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class Exporter:
    """Answers scrapes. `run` beside it keeps the lease; `close` gives it back."""

    def __init__(
        self,
        redis_url: str,
        prefix: str,
        masking: Masking,
        *,
        replicas: int = 0,
        lease_seconds: float = LEASE_SECONDS,
    ) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
        self._redis: Any = client(redis_url, connections=_CONNECTIONS)
        self._prefix = prefix
        self._masking = masking
        self._replicas = replicas
        self._lease_seconds = lease_seconds
        self._reader: Reader | None = None
        self._gatherer: Gatherer | None = None
        self._beside: asyncio.Task[None] | None = None
        self._known = ""
        self._changes = 0
        self._reading: asyncio.Task[bytes] | None = None
        self._seconds = 0.0
        self._scraped_at = 0.0
        self._active: bool | None = None
        self._up: bool | None = None

    async def scrape(self) -> bytes:
        """Return what there is to show now. Raises nothing."""
        self._scraped_at = time.clock_gettime(_CLOCK)
        if self._reading is None or self._reading.done():
            self._reading = asyncio.ensure_future(self._read())
        return await asyncio.shield(self._reading)

    async def join(self) -> None:
        """Join the installation if there is one. Raises redis' errors, or a `StoreError`."""
        if self._reader is not None:
            return
        reader = await join_to_read(self._redis, self._prefix)
        if reader is None:
            return
        if self._known and reader.epoch != self._known:
            self._changes += 1
            log.warning("exporter.joined_another_installation", epoch=reader.epoch, before=self._known)
        self._reader, self._known = reader, reader.epoch
        self._gatherer = Gatherer(reader, replicas=self._replicas)

    async def ready(self) -> bool:
        """Tell whether Redis answers."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._redis.ping()
        except (RedisError, OSError, TimeoutError):
            return False
        return True

    async def run(self) -> None:
        """Keep the lease between scrapes, until canceled."""
        while True:
            await asyncio.sleep(_RENEW_SECONDS)
            with contextlib.suppress(RedisError, OSError, StoreError, TimeoutError):
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await self._keep()

    async def _keep(self) -> None:
        if not self._active or self._reader is None:
            return
        if time.clock_gettime(_CLOCK) - self._scraped_at < _SCRAPED_SECONDS:
            self._became(active=await self._hold(self._reader))
        else:
            await self._reader.run(hold_lease(self.name, 0))
            self._became(active=False)

    async def close(self) -> None:
        """Give the lease back, so that another takes over at once, and close the connections."""
        if self._beside is not None:
            self._beside.cancel()
        if self._reader is not None:
            with contextlib.suppress(RedisError, OSError, StoreError, TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._reader.run(hold_lease(self.name, 0))
        await self._redis.aclose()

    async def _read(self) -> bytes:
        began = time.perf_counter()
        page = Page()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._fill(page)
            self._is_up(up=True)
        except (RedisError, OSError, StoreError, TimeoutError) as error:
            self._is_up(up=False, error=error)
            page = Page()
            page.one("exporter_active", 0)
            page.one("redis_up", 0)
        self._seconds = time.perf_counter() - began
        return page.text()

    async def _fill(self, page: Page) -> None:
        asked_at = time.clock_gettime(_CLOCK)
        try:
            await self.join()
            found = await self._ask()
        except EpochChanged:
            self._leave()
            await self.join()  # reading sends nothing: whatever is there now is shown as what it is
            asked_at = time.clock_gettime(_CLOCK)
            found = await self._ask()
        in_time = time.clock_gettime(_CLOCK) - asked_at < self._lease_seconds / 2  # exporter.lua
        if found is None or not in_time:
            page.one("exporter_active", 0)
            if self._reader is None:
                page.one("redis_up", 1)
                page.one("installation_found", 0)
                page.one("installation_changes_total", self._changes)
            return
        picture, server = found
        page.one("exporter_active", picture is not None)
        page.one("redis_up", 1)
        if picture is None:  # nobody can hold the lease while Redis takes no writes: then all show that
            show_server(page, server)
            return
        page.one("exporter_scrape_seconds", self._seconds)
        page.one("installation_found", 1)
        page.one("installation_changes_total", self._changes)
        show(page, picture, self._masking)

    async def _ask(self) -> tuple[Picture | None, ServerFacts] | None:
        """Read all; without a picture where Redis refuses the lease as any write. None: another is active."""
        reader, gatherer = self._reader, self._gatherer
        if reader is None or gatherer is None:
            return None
        lease = hold_lease(self.name, int(self._lease_seconds * 1000))
        try:
            if not self._active:
                self._became(active=await reader.run(lease))
            if not self._active:
                return None
            picture = await gatherer.read(lease)
        except Unreachable:
            server, _ = await gatherer.server(refused=True)
            self._became(active=False)
            return None, server
        if picture is None:
            self._became(active=False)
            return None
        return picture, picture.server

    async def _hold(self, reader: Reader) -> bool:
        return await reader.run(hold_lease(self.name, int(self._lease_seconds * 1000)))

    def _became(self, *, active: bool) -> None:
        """Say it where that is news; only the active one reads beside scrapes."""
        if active != self._active:
            log.info("exporter.active" if active else "exporter.stands_by", exporter=self.name)
        self._active = active
        if active and self._gatherer is not None and (self._beside is None or self._beside.done()):
            self._beside = asyncio.ensure_future(self._gatherer.keep_up())
        elif not active and self._beside is not None:
            self._beside.cancel()
            self._beside = None

    def _leave(self) -> None:
        """Forget an installation that is no longer there."""
        log.error("exporter.installation_gone", epoch=self._known, meaning=str(EpochChanged()))
        if self._beside is not None:
            self._beside.cancel()
        self._reader = self._gatherer = self._beside = None

    def _is_up(self, *, up: bool, error: BaseException | None = None) -> None:
        if up == self._up:
            return
        if not up:
            log.warning("exporter.redis_gone", error=str(error) or type(error).__name__)
        elif self._up is False:
            log.info("exporter.redis_back")
        self._up = up
