"""Which senders single messages go out from: what `send` chooses for a list, remembered for some seconds."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broadcaster.domain.senders import SenderShare
from broadcaster.intake.senders import resolve_lanes, senders_for
from broadcaster.ledger.pools import keep_pool, share_pool
from broadcaster.twilio.rest import TwilioError, TwilioUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.domain.addresses import Channel
    from broadcaster.intake.senders import Lane
    from broadcaster.ledger.pools import PoolReader
    from broadcaster.settings import Settings
    from broadcaster.store.connection import Store

    Asked = tuple[tuple[str, ...], str | None, frozenset[Channel]]

FRESH_SECONDS: Final = 5.0
#: A pool that could not be read is left alone for so long: nobody's message waits for it.
_LEFT_ALONE_SECONDS: Final = 60.0
_KEPT: Final = 1000


@dataclass(frozen=True, slots=True)
class Chosen:
    """The lanes for one kind of request, `named` with rates; `pick` gives an address's place in them."""

    lanes: tuple[Lane, ...]
    named: tuple[tuple[str, float], ...]
    service: str | None
    pick: Callable[[str], int]


class SenderChoice:
    """Senders by what was asked for."""

    def __init__(self, store: Store, settings: Settings, read_pool: PoolReader) -> None:
        self._store = store
        self._settings = settings
        self._ask = read_pool
        self._failed: dict[str, tuple[float, TwilioError | TwilioUnreachable]] = {}
        self._kept: dict[str, int] = {}
        self._chosen: dict[Asked, tuple[float, Chosen]] = {}
        self._shared: set[Lane] = set()

    def known(
        self, given: tuple[str, ...], service: str | None, channels: frozenset[Channel]
    ) -> Chosen | None:
        """Return what was chosen a short while ago."""
        found = self._chosen.get((given, service, channels))
        return found[1] if found and time.monotonic() - found[0] < FRESH_SECONDS else None

    async def choose(
        self, given: tuple[str, ...], service: str | None, channels: frozenset[Channel]
    ) -> Chosen:
        """Choose anew. Raises AddressError, NoSenderError, and redis' errors."""
        senders = senders_for(self._settings, given, service, channels)
        of_service = service if given else None
        lanes = tuple(await resolve_lanes(senders, self._store, self._read_pool, of_service))
        await self._share(lanes)
        named = tuple((lane.name, lane.rate) for lane in lanes)
        chosen = Chosen(lanes, named, of_service, SenderShare(named).pick)
        if len(self._chosen) >= _KEPT:
            self._chosen.clear()
        self._chosen[given, service, channels] = (time.monotonic(), chosen)
        return chosen

    async def _share(self, lanes: tuple[Lane, ...]) -> None:
        """Let senders share the permits of their services, once for what a process has seen of each."""
        new = [lane for lane in lanes if lane.shares and lane not in self._shared]
        read = [lane for lane in lanes if lane.pool_read > self._kept.get(lane.name, 0)]
        if not new and not read:
            return
        calls = [keep_pool(lane.name, lane.pool, lane.pool_read) for lane in read]
        await self._store.run_all([share_pool(lane.name, lane.shares) for lane in new] + calls)
        self._shared.update(new)
        self._kept.update({lane.name: lane.pool_read for lane in read})

    async def _read_pool(self, service: str) -> list[str]:
        until, error = self._failed.get(service, (0.0, None))
        if error is not None and time.monotonic() < until:
            raise error
        try:
            return await self._ask(service)
        except (TwilioError, TwilioUnreachable) as failed:
            self._failed[service] = (time.monotonic() + _LEFT_ALONE_SECONDS, failed)
            raise
