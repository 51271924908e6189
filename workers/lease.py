"""A worker's lease: the name under which it holds claims, and how long it may still POST."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from broadcaster.lanes import claims
from broadcaster.store.errors import EpochChanged, LeaseLost, StoreError, Unreachable
from workers.clock import lease_clock
from workers.owner import identity

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from broadcaster.lanes.claims import Standing
    from broadcaster.store.connection import Store
    from workers.posting import Poster

log = structlog.get_logger("lease")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one worker does at once, and how long others wait before they take over its work."""

    concurrency: int = 64
    lease_seconds: float = 5.0
    renew_seconds: float = 1.0
    drain_seconds: float = 40.0
    account_initial: int = 100
    account_most: int = 1000


class Lease:
    """Joins, renews every second, and begins again under a new name when the lease was lost.

    Every standing goes to the poster (its share, until when it may POST) and to `on_standing`.
    """

    def __init__(
        self,
        store: Store,
        limits: Limits,
        poster: Poster,
        *,
        on_standing: Callable[[Standing], Awaitable[None]],
        on_lost: Callable[[], None],
    ) -> None:
        self.worker = ""
        self._store = store
        self._limits = limits
        self._poster = poster
        self._on_standing = on_standing
        self._on_lost = on_lost

    async def join(self) -> None:
        """Take a lease under a new name; waits for Redis."""
        while True:
            self.worker = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}"
            about = {
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "concurrency": self._limits.concurrency,
                **identity(),
            }
            asked_at = lease_clock()
            try:
                standing = await self._store.run(
                    claims.join(
                        self.worker,
                        about,
                        lease_seconds=self._limits.lease_seconds,
                        initial=self._limits.account_initial,
                        most=self._limits.account_most,
                    )
                )
            except Unreachable:
                await asyncio.sleep(0.5)
                continue
            await self._take(standing, asked_at)
            return

    async def renew_forever(self) -> None:
        """Renew until cancelled. Raises `EpochChanged`."""
        while True:
            await asyncio.sleep(self._limits.renew_seconds)
            try:
                await self._renew()
            except LeaseLost:
                log.warning("lease.lost", worker=self.worker, in_flight=self._poster.in_flight)
                self._on_lost()
                await self.join()
            except Unreachable:
                continue
            except EpochChanged:
                raise
            except StoreError as error:  # ends no worker: its POSTs would be cut off, each into doubt
                log.warning("lease.unrenewed", worker=self.worker, error=str(error))

    async def _renew(self) -> None:
        tally = self._poster.tally
        accepted, throttled, full = tally.accepted, tally.throttled, tally.full
        tally.accepted = tally.throttled = 0
        tally.full = False
        asked_at = lease_clock()
        standing = await self._store.run(
            claims.renew(
                self.worker,
                lease_seconds=self._limits.lease_seconds,
                accepted=accepted,
                throttled=throttled,
                full=full,
                initial=self._limits.account_initial,
                most=self._limits.account_most,
            )
        )
        await self._take(standing, asked_at)

    async def _take(self, standing: Standing, asked_at: float) -> None:
        # counted from before the question: Redis' lease began after that, so ours ends first
        self._poster.lease_until = asked_at + self._limits.lease_seconds
        self._poster.share(standing.share)
        await self._on_standing(standing)
