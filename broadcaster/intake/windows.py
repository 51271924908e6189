"""Who can be written to freely on WhatsApp, looked at before messages are queued.

Our own marks come first, then Twilio's list. What nobody knows to be open counts as closed, and the words for
it say what could not be asked.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Final

import msgspec

from broadcaster.domain.broadcast import BroadcastSpec
from broadcaster.domain.senders import NoSenderError
from broadcaster.domain.whatsapp_window import (
    OUTSIDE,
    Window,
    is_whatsapp,
    may_meet,
    minds,
    together,
    words,
)
from broadcaster.intake.inbox import Inbox
from broadcaster.intake.shapes import RequestFault
from broadcaster.ledger import inbound
from broadcaster.ledger.pools import pool_of, read_anew
from broadcaster.twilio.rest import TwilioError, TwilioUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broadcaster.intake.sender_choice import Chosen
    from broadcaster.intake.singles import SingleRequest
    from broadcaster.store.connection import Store
    from broadcaster.twilio.rest import TwilioRest

#: How long a request to write to a few waits for Twilio's list, a list of many, and a start.
FEW_PATIENCE_SECONDS: Final = 5.0
LIST_PATIENCE_SECONDS: Final = 120.0
START_PATIENCE_SECONDS: Final = 15.0
_SENDERS_KEPT: Final = 1000
_SENDERS_FRESH_SECONDS: Final = 5.0
#: By a service's pool that was read so lately somebody may be refused; one that can't be is left alone.
_POOL_FRESH_SECONDS: Final = 60
_POOL_LEFT_ALONE_SECONDS: Final = 10.0


class Windows:
    """Looks for closed windows. Made once for a process, or for one list."""

    def __init__(self, store: Store, twilio: TwilioRest | None) -> None:
        self._store = store
        self._twilio = twilio
        self._inbox = Inbox(store, twilio)
        self._pools: dict[str, tuple[float, str]] = {}
        self._senders: dict[str, tuple[float, tuple[str, ...]]] = {}

    async def closed(
        self,
        lane: str,
        addresses: Sequence[str],
        *,
        at: float | None = None,
        patience_seconds: float = FEW_PATIENCE_SECONDS,
    ) -> dict[int, str]:
        """Return why windows are closed, by place, of those that are; addresses of other channels have none.

        `at`: the unix second that counts, where that is later than now. One round trip where all are open.
        Raises redis' errors and `StoreError`.
        """
        if not may_meet(lane):
            return {}
        places = [place for place, address in enumerate(addresses) if address and is_whatsapp(address)]
        if not places:
            return {}
        senders = await self._senders_of(lane)
        later = at is not None and at > time.time() + 1
        everybody = [addresses[place] for place in places]
        found = await self._look(lane, senders, everybody, at)
        unread = ""
        if any(window.shut for window in found) and lane.startswith("MG"):
            unread = await self._read_pool_of(lane, patience_seconds)
            if (now_in := await self._senders_of(lane)) != senders:
                senders = now_in
                found = await self._look(lane, senders, everybody, at)
        left = [(place, window) for place, window in zip(places, found, strict=True) if window.shut]
        why = unread if senders else unread or f"no WhatsApp sender is in the pool of {lane}"
        if left and senders:
            people = [addresses[place] for place, _ in left]
            for sender in senders:
                why = await self._inbox.read(sender, people, patience_seconds) or why
            found = await self._look(lane, senders, people, at)
            left = [(place, window) for (place, _), window in zip(left, found, strict=True) if window.shut]
        more = f" ({why}, so only what we were told of is known)" if why else ""
        told = {window: words(window, lane, later=later) + more for window in Window}
        return {place: told[window] for place, window in left}

    async def refresh(self, lane: str, patience_seconds: float = LIST_PATIENCE_SECONDS) -> str:
        """Read what was written to a lane's senders since that was last done; returns why not, "" if it was.

        Raises redis' errors and `StoreError`.
        """
        senders = await self._senders_of(lane)
        whys = [await self._inbox.refresh(sender, patience_seconds) for sender in senders]
        return "; ".join(filter(None, whys))

    async def before_start(self, broadcast: str) -> None:
        """Learn who wrote since a broadcast was loaded, where that matters. Raises redis' errors.

        What can't be asked leaves things as they were: a worker asks again while it sends.
        """
        for lane in await minding_lanes(self._store, broadcast):
            await self.refresh(lane, START_PATIENCE_SECONDS)

    async def of_request(
        self, request: SingleRequest, chosen: Chosen, addresses: Sequence[str]
    ) -> list[RequestFault]:
        """Return which of a request's people can't be written to freely, and why."""
        content = request.content
        if content.fallback is not None or not minds(content, request.outside_window):
            return []
        by_lane: dict[str, list[int]] = {}
        for place, address in enumerate(addresses):
            if is_whatsapp(address):
                with contextlib.suppress(NoSenderError):  # which is told of it besides
                    by_lane.setdefault(chosen.lanes[chosen.pick(address)].name, []).append(place)
        faults = []
        for lane, places in by_lane.items():
            told = await self.closed(lane, [addresses[place] for place in places])
            faults += [RequestFault(f"/to/{places[i]}", why, OUTSIDE) for i, why in told.items()]
        return faults

    async def _look(
        self, lane: str, senders: Sequence[str], people: Sequence[str], at: float | None
    ) -> list[Window]:
        known = await inbound.read_marks(self._store, [inbound.Asked(lane, senders, people)])
        moment = max(known.now, at or 0.0)
        return [together(marks, moment) for marks in known.marks[0]]

    async def _read_pool_of(self, service: str, patience_seconds: float) -> str:
        """Ask for a service's pool unless that was just done: by an old one nobody is refused.

        Returns why it could not be read, "" if it was.
        """
        until, why = self._pools.get(service, (0.0, ""))
        if time.monotonic() < until:
            return why
        now, _ = await self._store.redis.time()
        if now - (await pool_of(self._store, service)).read < _POOL_FRESH_SECONDS:
            return ""
        if self._twilio is None:
            return f"the pool of {service} can't be read without Twilio's credentials"
        try:
            async with asyncio.timeout(patience_seconds):
                await read_anew(self._store, service, self._twilio.service_pool)
        except (TwilioError, TwilioUnreachable, TimeoutError) as error:
            why = f"the pool of {service} could not be read: {error or 'it took too long'}"
            self._pools[service] = (time.monotonic() + _POOL_LEFT_ALONE_SECONDS, why)
            return why
        self._pools[service] = (time.monotonic() + _POOL_FRESH_SECONDS, "")
        self._senders.pop(service, None)
        return ""

    async def _senders_of(self, lane: str) -> tuple[str, ...]:
        if not lane.startswith("MG"):
            return (lane,)
        known = self._senders.get(lane)
        if known is None or time.monotonic() - known[0] > _SENDERS_FRESH_SECONDS:
            if len(self._senders) >= _SENDERS_KEPT:
                self._senders.clear()
            known = self._senders[lane] = (time.monotonic(), await inbound.senders_of(self._store, lane))
        return known[1]


async def minding_lanes(store: Store, broadcast: str) -> tuple[str, ...]:
    """Return the lanes of a broadcast on which people's windows count. Raises redis' errors."""
    raw = await store.redis.hget(store.keys.broadcast(broadcast), "spec")
    try:
        spec = None if raw is None else msgspec.msgpack.decode(raw, type=BroadcastSpec)
    except msgspec.MsgspecError:  # the dispatcher says what is wrong with it
        return ()
    if spec is None or not minds(spec.content, spec.outside_window):
        return ()
    return tuple(filter(may_meet, spec.senders))


class ListWindows:
    """The same for a list whose chunks are read in another thread than that of `loop`, which is running.

    `refuses`: a closed window is a fault of its row; else it is only counted. Never call it in the loop's own
    thread, which would wait for itself.
    """

    def __init__(
        self, windows: Windows, loop: asyncio.AbstractEventLoop, *, refuses: bool, at: float | None = None
    ) -> None:
        self.refuses = refuses
        self._windows = windows
        self._loop = loop
        self._at = at

    def closed(self, lane: str, addresses: Sequence[str]) -> dict[int, str]:
        """Return why windows are closed, by place. Raises what `Windows.closed` raises."""
        if not may_meet(lane) or not any(map(is_whatsapp, addresses)):
            return {}
        look = self._windows.closed(lane, addresses, at=self._at, patience_seconds=LIST_PATIENCE_SECONDS)
        return asyncio.run_coroutine_threadsafe(look, self._loop).result()


def windows_for(
    windows: Windows, spec: BroadcastSpec, loop: asyncio.AbstractEventLoop | None = None
) -> ListWindows | None:
    """Return what looks at the windows of a broadcast's list; None where nothing depends on them.

    `loop` will serve it, by default the running one. What starts later, or waits at Twilio, is judged by that
    time.
    """
    if not minds(spec.content, spec.outside_window) or not any(map(may_meet, spec.senders)):
        return None
    at = max(spec.schedule_at or 0.0, spec.send_at)
    refuses = spec.content.fallback is None
    return ListWindows(windows, loop or asyncio.get_running_loop(), refuses=refuses, at=at or None)


def here(windows: Windows) -> Callable[[BroadcastSpec], ListWindows | None]:
    """Return `windows_for` for whoever calls it from another thread: the running loop will serve it."""
    loop = asyncio.get_running_loop()
    return lambda spec: windows_for(windows, spec, loop)
