"""Messaging Services' pools, read anew: senders come and go in Twilio's console, and nobody tells us.

A pool with an agent of RCS sends on another channel than the list of messages shows, and each WhatsApp sender
of a pool has 24 hours of its own with everybody. So what decides by a pool asks how old it is.
"""

from __future__ import annotations

from http import HTTPStatus
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog

from broadcaster.ledger.pools import read_anew, read_at
from broadcaster.twilio.rest import TwilioError, TwilioUnreachable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broadcaster.ledger.pools import PoolReader
    from broadcaster.store.connection import Store

log = structlog.get_logger("pools")

#: How old a pool may be that nothing in particular asks for, and how soon it is asked for again.
EVERY_SECONDS: Final = 300
AGAIN_SECONDS: Final = 15.0
_LEFT_ALONE_SECONDS: Final = 60.0
_GONE_SECONDS: Final = 3600.0


class Pools:
    """Reads pools; `round` those of all services that ever sent."""

    def __init__(self, store: Store, read: PoolReader) -> None:
        self._store = store
        self._read = read
        self._not_before: dict[str, float] = {}
        self._unread: dict[str, str] = {}

    async def round(self) -> None:
        """Read anew what is old. Raises redis' errors and `StoreError`; Twilio's are logged once."""
        now, _ = await self._store.redis.time()
        lanes = [raw.decode() for raw in await self._store.redis.smembers(self._store.keys.plain("lanes"))]
        services = sorted(lane for lane in lanes if lane.startswith("MG"))
        read = await read_at(self._store, services)
        await self.refresh(s for s, at in zip(services, read, strict=True) if now - at >= EVERY_SECONDS)

    async def refresh(self, services: Iterable[str]) -> bool:
        """Read these now, but not again within seconds; tells whether one was. Raises as `round` does."""
        found = False
        for service in services:
            if monotonic() < self._not_before.get(service, 0.0):
                continue
            self._not_before[service] = monotonic() + AGAIN_SECONDS
            try:
                await read_anew(self._store, service, self._read)
            except (TwilioError, TwilioUnreachable) as error:
                self._failed(service, error)
            else:
                self._unread.pop(service, None)
                found = True
        return found

    def _failed(self, service: str, error: TwilioError | TwilioUnreachable) -> None:
        gone = isinstance(error, TwilioError) and error.status == HTTPStatus.NOT_FOUND
        self._not_before[service] = monotonic() + (_GONE_SECONDS if gone else _LEFT_ALONE_SECONDS)
        if self._unread.get(service) != str(error):
            self._unread[service] = str(error)
            log.warning("pool.unread", service=service, error=str(error))
