"""Watching a broadcast until it ends or stops; how it ended is the exit code."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Final, Protocol

from redis.exceptions import RedisError

from broadcaster.cli.exits import STOPPED, UNFINISHED, InputError
from broadcaster.cli.output import say, span
from broadcaster.domain.broadcast import BroadcastState
from broadcaster.domain.record import State
from broadcaster.reporting.broadcasts import read_broadcast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from broadcaster.cli.live import Meter
    from broadcaster.reporting.broadcasts import BroadcastView
    from broadcaster.store.connection import Store

POLL_SECONDS: Final = 0.3
LINE_SECONDS: Final = 5.0
CARE_SECONDS: Final = 2.0
#: How long requests in flight may take before a stop is told though they have not ended.
PATIENCE_SECONDS: Final = 10.0
_FAILED: Final = (State.DEAD, State.UNDELIVERED, State.FAILED, State.IN_DOUBT)


class Show(Protocol):
    """Where progress goes."""

    async def update(self, view: BroadcastView) -> None:
        """Show how far it is."""

    def close(self) -> None:
        """Leave the screen to others."""


async def wait_for_end(
    store: Store, broadcast: str, *, care: Callable[[], Awaitable[None]] | None = None
) -> tuple[int, BroadcastView]:
    """Wait until nothing moves any more; return the exit code and the last view.

    `care` is called now and then while it moves, and when Redis does not answer: it may bring back what is
    gone. Raises InputError if there is no such broadcast, EpochChanged if Redis was emptied meanwhile.
    """
    show: Show = Screen(store) if sys.stderr.isatty() else Lines()
    try:
        stopped_since: float | None = None
        cared = 0.0
        while True:
            view = await _look(store, broadcast, care)
            await show.update(view)
            reason = await stop_reason(store, view)
            if not reason and view.settled:
                return (UNFINISHED if any(view.counts.get(s) for s in _FAILED) else 0), view
            if not reason:
                stopped_since = None
            else:
                stopped_since = stopped_since or time.monotonic()
                if not view.counts.get(State.SENDING) or time.monotonic() > stopped_since + PATIENCE_SECONDS:
                    show.close()
                    say(f"{view.name}: {reason}")
                    return STOPPED, view
            if care is not None and time.monotonic() > cared + CARE_SECONDS:
                await care()
                cared = time.monotonic()
            await asyncio.sleep(POLL_SECONDS)
    finally:
        show.close()


async def _look(store: Store, broadcast: str, care: Callable[[], Awaitable[None]] | None) -> BroadcastView:
    told = False
    while True:
        try:
            view = await read_broadcast(store, broadcast)
            if view is None:
                await store.check_epoch()
        except (RedisError, OSError) as error:
            if not told:
                ended = "The embedded server has ended with the command that started it; starting it again."
                say(f"Redis does not answer ({error}); waiting for it." if care is None else ended)
                told = True
            await asyncio.sleep(1.0)
            if care is not None:
                await care()
            continue
        if view is None:
            raise InputError(f"there is no broadcast {broadcast}")
        return view


async def stop_reason(store: Store, view: BroadcastView) -> str:
    """Say what keeps a broadcast from going on until somebody acts; "" if it moves by itself, or is done."""
    match view.state:
        case BroadcastState.PAUSED | BroadcastState.CANCELED | BroadcastState.FAILED:
            hint = f" (go on with: broadcaster broadcasts resume {view.id})" if view.state == "paused" else ""
            return f"{view.state}: {view.state_reason or 'by request'}{hint}"
        case BroadcastState.DRAFT:
            return f"a draft, not started: broadcaster broadcasts start {view.id}"
        case BroadcastState.RUNNING if view.unsent:
            return await _stop_of_running(store, view)
    return ""


async def _stop_of_running(store: Store, view: BroadcastView) -> str:
    keys = store.keys
    async with store.redis.pipeline(transaction=False) as pipe:
        pipe.hget(keys.plain("account"), "paused")
        for lane in view.senders:
            pipe.hget(keys.lane(lane), "paused")
            pipe.hmget(keys.flow(view.id, lane), "head", "n")
            pipe.zcard(keys.flow(view.id, lane, ":retry"))
            pipe.llen(keys.flow(view.id, lane, ":back"))
        account, *parts = await pipe.execute()
    if account:
        return f"everything is stopped: {account.decode()} (go on with: broadcaster resume)"
    reasons = []
    for number, lane in enumerate(view.senders):
        paused, (head, batches), retries, back = parts[number * 4 : number * 4 + 4]
        if int(head or 0) >= int(batches or 0) and not retries and not back:
            continue  # this lane has nothing left to send
        if not paused:
            return ""
        hint = f"(go on with: broadcaster senders resume {lane})"
        reasons.append(f"sender {lane} is stopped: {paused.decode()} {hint}")
    return "; ".join(reasons)


def progress_line(view: BroadcastView) -> str:
    """Say in a line how far a broadcast is."""
    unsent = view.unsent + view.counts.get(State.SENDING, 0)
    states = ", ".join(f"{n:,} {state.label}" for state, n in sorted(view.counts.items()))
    pace = f"; {view.rate:.1f}/s" if view.rate else ""
    left = f"; about {span(view.eta_seconds)} left" if view.eta_seconds else ""
    return f"{view.name} {view.state}: {view.total - unsent:,} of {view.total:,} ({states}){pace}{left}"


def waits(view: BroadcastView) -> str:
    """Say what the lanes wait for, each reason once."""
    return "; ".join(dict.fromkeys(view.waits_for.values()))


class Lines:
    """Progress where there is no terminal: a line every few seconds, on standard error."""

    def __init__(self) -> None:
        self._next = time.monotonic() + LINE_SECONDS

    async def update(self, view: BroadcastView) -> None:
        """Print a line if it is time."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + LINE_SECONDS
        why = waits(view)
        say(progress_line(view) + (f"; waits for: {why}" if why else ""))

    def close(self) -> None:
        """Do nothing: lines stay."""


class Screen:
    """Progress on a terminal: the same picture as the demo's, gone when it ends."""

    def __init__(self, store: Store) -> None:
        from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
        from rich.live import Live  # noqa: PLC0415

        self._store = store
        self._meter: Meter | None = None
        self._live = Live(
            console=Console(stderr=True), auto_refresh=False, transient=True, vertical_overflow="crop"
        )

    async def update(self, view: BroadcastView) -> None:
        """Draw it anew."""
        from broadcaster.cli.live import Glimpse, Meter, answered  # noqa: PLC0415
        from broadcaster.cli.live_picture import picture  # noqa: PLC0415
        from broadcaster.cli.live_senders import read_senders  # noqa: PLC0415

        glimpse = Glimpse((view,), await read_senders(self._store, (view,)))
        if self._meter is None:
            self._meter = Meter(before=answered(view))
        frame = self._meter.frame(glimpse, time.monotonic())
        self._live.start()
        self._live.update(picture(frame, self._live.console.width), refresh=True)

    def close(self) -> None:
        """Give the screen back."""
        self._live.stop()
