"""Watching a broadcast until it ends or stops; how it ended is the exit code."""

from __future__ import annotations

import asyncio
import sys
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol

from redis.exceptions import RedisError

from broadcaster.cli.exits import STOPPED, UNFINISHED, InputError
from broadcaster.cli.output import say, span, when
from broadcaster.client.errors import ApiError, NotReached
from broadcaster.domain.broadcast import BroadcastState
from broadcaster.domain.record import State
from broadcaster.reporting.broadcasts import read_broadcast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from broadcaster.cli.live import Meter
    from broadcaster.client import Client
    from broadcaster.reporting.broadcasts import BroadcastView
    from broadcaster.store.connection import Store

POLL_SECONDS: Final = 0.3
LINE_SECONDS: Final = 5.0
CARE_SECONDS: Final = 2.0
#: How long requests in flight may take before a stop is told though they have not ended.
PATIENCE_SECONDS: Final = 10.0
#: How what a sender waits for begins, where somebody has to act before it goes on.
EVERYTHING: Final = "everything is stopped: "
NO_WORKER: Final = "no worker is running"
_PAUSED: Final = "paused: "
_REASONS: Final = 3
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
            now = view.summary()
            reason = stop_reason(now)
            if not reason and settled(now):
                return exit_code(now), view
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


def wait_over_api(client: Client, broadcast: str) -> tuple[int, dict[str, Any]]:
    """Do as `wait_for_end` does over the API, with a line now and then; return its last summary.

    Raises `ClientError`; an API that goes away while it is watched is waited for.
    """
    lines, told, stopped_since = Lines(), False, 0.0
    now = client.broadcast(broadcast).raw
    try:
        while True:
            reason = stop_reason(now)
            if not reason and settled(now):
                return exit_code(now), now
            stopped_since = (stopped_since or time.monotonic()) if reason else 0.0
            waited = time.monotonic() - stopped_since
            if reason and (not now["counts"]["sending"] or waited > PATIENCE_SECONDS):
                say(f"{now['name']}: {reason}")
                return STOPPED, now
            if not told and waits_for_worker(now):
                say("No worker is running; waiting for one. Start it with: broadcaster worker")
                told = True
            lines.tell(now)
            time.sleep(POLL_SECONDS)
            now = _look_over_api(client, broadcast)
    except KeyboardInterrupt:
        say(f"It goes on. Watch it with: broadcaster broadcasts watch {broadcast}")
        raise


def _look_over_api(client: Client, broadcast: str) -> dict[str, Any]:
    told = False
    while True:
        try:
            return client.broadcast(broadcast).raw
        except (ApiError, NotReached) as error:
            if isinstance(error, ApiError) and error.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                raise
            if not told:
                say(f"The API does not answer ({str(error).splitlines()[0]}); waiting for it.")
                told = True


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


def stop_reason(now: Mapping[str, Any]) -> str:
    """Say what keeps a broadcast from going on until somebody acts; "" if it moves by itself, or is done.

    `now` is a broadcast's summary, as it is here and below.
    """
    match now["state"]:
        case BroadcastState.PAUSED | BroadcastState.CANCELED | BroadcastState.FAILED as state:
            hint = f" (go on with: broadcaster broadcasts resume {now['id']})" if state == "paused" else ""
            return f"{state}: {now['state_reason'] or 'by request'}{hint}"
        case BroadcastState.DRAFT:
            return f"a draft, not started: broadcaster broadcasts start {now['id']}"
        case BroadcastState.RUNNING if unsent(now) or fallbacks_open(now):
            return _stop_of_running(now["waits_for"])
    return ""


def _stop_of_running(waits_for: Mapping[str, str]) -> str:
    why = list(waits_for.values())
    if why and all(text.startswith(EVERYTHING) for text in why):
        return f"{why[0]} (go on with: broadcaster resume)"
    if not all(text.startswith(_PAUSED) for text in why):
        return ""  # a sender that has something left moves by itself
    return "; ".join(
        f"sender {lane} is stopped: {text.removeprefix(_PAUSED)} "
        f"(go on with: broadcaster senders resume {lane})"
        for lane, text in waits_for.items()
    )


def unsent(now: Mapping[str, Any]) -> int:
    """Return how many may still be sent to."""
    return int(now["counts"]["queued"] + now["counts"]["retry"])


def fallbacks_open(now: Mapping[str, Any]) -> int:
    """Return how many SMS in place of WhatsApp messages have yet to go."""
    counts = (now.get("fallbacks") or {}).get("counts", {})
    return sum(counts.get(state, 0) for state in ("queued", "retry", "sending"))


def settled(now: Mapping[str, Any]) -> bool:
    """Whether nothing moves any more by itself: all ended, or only doubt is left."""
    moves = unsent(now) or now["counts"]["sending"] or fallbacks_open(now)
    return not moves or now["state"] in ("canceled", "failed")


def exit_code(now: Mapping[str, Any]) -> int:
    """Return what a broadcast that is settled ends the command with."""
    return UNFINISHED if any(now["counts"][state.label] for state in _FAILED) else 0


def waits_for_worker(now: Mapping[str, Any]) -> bool:
    """Whether nobody is there to send it."""
    return any(text.startswith(NO_WORKER) for text in now["waits_for"].values())


def progress_line(now: Mapping[str, Any]) -> str:
    """Say in a line how far a broadcast is."""
    done = now["total"] - unsent(now) - now["counts"]["sending"]
    states = ", ".join(f"{n:,} {state}" for state, n in now["counts"].items() if n)
    pace = f"; {now['rate']:.1f}/s" if now["rate"] else ""
    left = f"; about {span(now['eta'])} left" if now["eta"] else ""
    return f"{now['name']} {now['state']}: {done:,} of {now['total']:,} ({states}){pace}{left}"


def waits(now: Mapping[str, Any]) -> str:
    """Say what the lanes wait for, each reason once."""
    return "; ".join(dict.fromkeys(now["waits_for"].values()))


def why_here(now: Mapping[str, Any], stopped: str = "") -> str:
    """Say in a table's cell why it does not move, or what it waits for; `stopped` is told above the table."""
    if now["state"] == BroadcastState.SCHEDULED:
        starts = f"starts {when(now['schedule_at'])}"
        return f"{starts}; {NO_WORKER}" if waits_for_worker(now) else starts
    if now["state"] != BroadcastState.RUNNING:
        return now["state_reason"] or ""
    found = dict.fromkeys((now["state_reason"], *now["waits_for"].values()))
    reasons = [why for why in found if why and why != stopped]
    return "; ".join(reasons[:_REASONS]) + ("; …" if len(reasons) > _REASONS else "")


class Lines:
    """Progress where there is no terminal: a line every few seconds, on standard error."""

    def __init__(self) -> None:
        self._next = time.monotonic() + LINE_SECONDS

    async def update(self, view: BroadcastView) -> None:
        """Print a line if it is time."""
        self.tell(view.summary())

    def tell(self, now: Mapping[str, Any]) -> None:
        """Print a line if it is time."""
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + LINE_SECONDS
        why = waits(now)
        say(progress_line(now) + (f"; waits for: {why}" if why else ""))

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
