"""Watching broadcasts: a picture that keeps current on a terminal, a line every two seconds elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from rich.live import Live

from broadcaster.cli.live_picture import Frame, picture, plain_line
from broadcaster.cli.live_senders import SenderNow, read_senders
from broadcaster.domain.record import State
from broadcaster.reporting.broadcasts import BroadcastView, read_broadcast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from rich.console import Console

    from broadcaster.store.connection import Store

REFRESH_SECONDS: Final = 0.25
PLAIN_SECONDS: Final = 2.0
#: Speed is shown over this long a stretch, so that a sender at 1/s does not flicker.
_STRETCH_SECONDS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Glimpse:
    """What is read at one moment. `sent` is how many requests left from each sender, where that is known."""

    views: tuple[BroadcastView, ...]
    senders: tuple[SenderNow, ...]
    sent: Mapping[str, int] = field(default_factory=dict)

    @property
    def settled(self) -> bool:
        """Whether nothing moves any more by itself."""
        return all(view.settled for view in self.views)


@dataclass(slots=True)
class Meter:
    """Turns glimpses into speed: answered messages a second over the last few seconds, and on the whole.

    `before` is how many had been answered when the watching began; they count for no speed.
    """

    began: float = field(default_factory=time.monotonic)
    before: int = 0
    _seen: deque[tuple[float, int, Mapping[str, int]]] = field(default_factory=deque)

    def frame(self, glimpse: Glimpse, now: float) -> Frame:
        """Take one glimpse at monotonic `now`; return what is to be shown."""
        done = sum(answered(view) for view in glimpse.views)
        self._seen.append((now, done, glimpse.sent))
        while now - self._seen[0][0] > _STRETCH_SECONDS:
            self._seen.popleft()
        since, before, sent_before = self._seen[0]
        elapsed, stretch = now - self.began, max(now - since, 1e-9)
        sent = glimpse.sent
        return Frame(
            views=glimpse.views,
            senders=glimpse.senders,
            seconds=elapsed,
            now_rate=(done - before) / stretch,
            mean_rate=(done - self.before) / elapsed if elapsed else 0.0,
            sent={name: (sent[name], (sent[name] - sent_before.get(name, 0)) / stretch) for name in sent},
        )


def answered(view: BroadcastView) -> int:
    """Return how many recipients had their last answer or stay in doubt: all that left, come what may."""
    waiting = view.unsent + view.counts.get(State.SENDING, 0) + view.counts.get(State.SKIPPED, 0)
    return view.total - waiting


async def look(store: Store, broadcasts: Sequence[str]) -> Glimpse:
    """Read broadcasts and their senders; ids that are gone are left out."""
    found = await asyncio.gather(*(read_broadcast(store, broadcast) for broadcast in broadcasts))
    views = tuple(view for view in found if view is not None)
    return Glimpse(views, await read_senders(store, views))


async def watch(
    store: Store,
    broadcasts: Callable[[], Sequence[str]],
    console: Console,
    *,
    ended: Callable[[Glimpse], bool] = lambda glimpse: glimpse.settled,
    each: Callable[[], Awaitable[None]] | None = None,
    sent: Callable[[], Mapping[str, int]] = dict,
) -> Glimpse:
    """Show broadcasts until `ended` says so (by default: nothing moves any more); return the last glimpse.

    `broadcasts` gives the ids, which may become more while it runs. `each` is awaited before every look, to
    raise what should end the watching. `sent` gives the requests of each sender so far, if counted.
    Raises `StoreError` and redis' errors.
    """
    meter = Meter()

    async def read() -> Glimpse:
        if each is not None:
            await each()
        return replace(await look(store, broadcasts()), sent=sent())

    if not console.is_terminal:
        return await _lines(console, meter, read, ended)
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        while True:
            glimpse = await read()
            live.update(picture(meter.frame(glimpse, time.monotonic()), console.width), refresh=True)
            if ended(glimpse):
                return glimpse
            await asyncio.sleep(REFRESH_SECONDS)


async def _lines(
    console: Console,
    meter: Meter,
    read: Callable[[], Awaitable[Glimpse]],
    ended: Callable[[Glimpse], bool],
) -> Glimpse:
    due = 0.0
    while True:
        glimpse = await read()
        now, over = time.monotonic(), ended(glimpse)
        frame = meter.frame(glimpse, now)
        if now >= due or over:
            due = now + PLAIN_SECONDS
            console.out(plain_line(frame), highlight=False)
        if over:
            return glimpse
        await asyncio.sleep(REFRESH_SECONDS)
