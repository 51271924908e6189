"""Status callbacks: which are due when, in which order, and what becomes of each.

A message's statuses follow from its times alone (`statuses.steps`), so what a fetch shows and what callbacks
tell are one thing; nothing is told before it is true. Chance depends on the seed, the recipient and the
status only.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from broadcaster.simulator.faults import draw
from broadcaster.simulator.outgoing import Result
from broadcaster.simulator.statuses import Step, callback_form, steps
from broadcaster.simulator.webhook import webhook

if TYPE_CHECKING:
    from broadcaster.simulator.messages import Message
    from broadcaster.simulator.outgoing import Outgoing
    from broadcaster.simulator.world import World

AT_ONCE: Final = 200
"""Callbacks made in one turn, so that the API's requests come in between."""
LOOK_AGAIN_SECONDS: Final = 0.1
EARLY_MOST_SECONDS: Final = 5.0
_WAKE: Final = -1
"""In place of a step: a scheduled message's time has come."""


class _Telling:
    """A message's statuses while they are told: how many are left, whether each waits for the one before."""

    __slots__ = ("in_order", "left", "told")

    def __init__(self, told: list[Step], *, in_order: bool) -> None:
        self.told = told
        self.left = len(told)
        self.in_order = in_order


class Callbacks:
    """The callbacks of one world. `pending` counts those that are still to come, scheduled messages aside."""

    def __init__(self, world: World, outgoing: Outgoing) -> None:
        self._world = world
        self._outgoing = outgoing
        self._timer: asyncio.Handle | None = None
        self._wakes_at = 0.0
        self._early: dict[int, asyncio.Future[None]] = {}
        outgoing.room = self._more
        self.forget()

    def forget(self) -> None:
        """Begin anew: nothing is due."""
        self._generation = object()
        self._due: list[tuple[float, int, int, int]] = []  # when, message, step, which copy
        self._telling: dict[int, _Telling] = {}
        for waiting in self._early.values():
            if not waiting.done():
                waiting.set_result(None)
        self.pending = 0
        self.asleep = 0
        self.counts: Counter[str] = Counter()
        self.by_status: Counter[str] = Counter()

    def summary(self) -> dict[str, Any]:
        """Return the control API's `callbacks`."""
        names = ("answered", "failed", "lost", "duplicates", "early")
        return {
            "pending": self.pending,
            "scheduled": self.asleep,
            "retried": self._outgoing.retried,
            **{name: self.counts[name] for name in names},
            "by_status": dict(self.by_status),
        }

    # -- what is to come ----------------------------------------------------------------------------

    def follow(self, message: Message) -> None:
        """Tell what becomes of a message that was accepted just now."""
        if message.scheduled_at:
            self.asleep += 1
            self._push(message.scheduled_at, message.number, _WAKE)
        else:
            self._begin(message)

    async def told_early(self, message: Message) -> None:
        """Follow a message, and return when the callbacks of what it is already were answered."""
        waiting = self._early[message.number] = asyncio.get_running_loop().create_future()
        self.counts["early"] += 1
        self.follow(message)
        try:
            await asyncio.wait((waiting,), timeout=EARLY_MOST_SECONDS)
        finally:
            self._early.pop(message.number, None)

    def canceled(self, message: Message) -> None:
        """Tell that a scheduled message was canceled; nothing else will be told of it."""
        if message.callback:
            self.asleep -= 1
            self._begin(message)

    def _begin(self, message: Message) -> None:
        config = self._world.config
        told = steps(message, with_sending=config.callback_sending)
        self.pending += len(told)
        in_order = not config.callback_shuffle or message.early
        self._telling[message.number] = _Telling(told, in_order=in_order)
        if in_order:
            self._plan(message, told, 0)
            return
        # In any order, and none before all of it is true.
        last = told[-1].at
        spread = max(config.callback_jitter_ms, 1.0)
        for place, step in enumerate(told):
            late = config.callback_delay_ms + spread * draw(config.seed, message.to, step.status, "order")
            self._push(last + late / 1000, message.number, place)

    def _plan(self, message: Message, told: list[Step], place: int) -> None:
        """Set when the next callback of a message is due: not before its status, nor before the last one."""
        config, step = self._world.config, told[place]
        if message.early and step.at <= message.created:
            self._take(message, place, 0)  # past all that waits: somebody's 201 waits for it
            return
        late = config.callback_delay_ms
        if config.callback_jitter_ms:
            late += config.callback_jitter_ms * draw(config.seed, message.to, step.status, "late")
        self._push(step.at + late / 1000, message.number, place)

    def _push(self, at: float, number: int, place: int, copy: int = 0) -> None:
        heapq.heappush(self._due, (at, number, place, copy))
        if self._timer is not None and at < self._wakes_at:
            self._timer.cancel()
            self._timer = None
        self._more()

    def _more(self) -> None:
        """Look for what is due as soon as others had their turn."""
        if self._timer is None and self._due:
            self._wakes_at = 0.0
            self._timer = asyncio.get_running_loop().call_soon(self._work)

    # -- what is due --------------------------------------------------------------------------------

    def _work(self) -> None:
        """Send what is due, as far as connections are there for it; come again for the rest."""
        self._timer = None
        due, world = self._due, self._world
        room = 2 * world.config.callback_concurrency
        now = world.now()
        for _ in range(AT_ONCE):
            if not due or due[0][0] > now or self._outgoing.busy >= room:
                break
            _, number, place, copy = heapq.heappop(due)
            self._take(world.messages[number], place, copy)
        if due and not world.stopping and self._outgoing.busy < room:
            wait = min(max(due[0][0] - now, 0.0), LOOK_AGAIN_SECONDS)
            self._wakes_at = now + wait
            self._timer = asyncio.get_running_loop().call_later(wait, self._work)

    def _take(self, message: Message, place: int, copy: int) -> None:
        if place == _WAKE:
            if not message.canceled:
                self.asleep -= 1
                self._begin(message)
            return
        config, status = self._world.config, self._telling[message.number].told[place].status
        if config.callback_lost and draw(config.seed, message.to, status, "lost") < config.callback_lost:
            self.counts["lost"] += 1
            self._done(message, place, 1)
            return
        self._send(message, place, copy)

    def _send(self, message: Message, place: int, copy: int) -> None:
        generation, config = self._generation, self._world.config
        step = self._telling[message.number].told[place]

        def done(result: Result) -> None:
            if self._generation is generation:
                self.counts["answered" if result.good else "failed"] += 1
                self.by_status[step.status] += 1
                self._done(message, place, copy)

        form = callback_form(message, step, config)
        mark = _idempotency(message, place, copy)
        try:
            ready = webhook(message.callback, form, token=config.token, idempotency=mark)
        except ValueError:  # a URL that Twilio takes and then can't use, say with port 99999
            done(Result(0, b"", "ct", 1))
        else:
            self._outgoing.send(ready, done)

    def _done(self, message: Message, place: int, copy: int) -> None:
        """One callback is over: its copy comes, or the message's next one, or nothing."""
        telling, config = self._telling[message.number], self._world.config
        told, status = telling.told, telling.told[place].status
        share = config.callback_duplicates
        if not copy and share and draw(config.seed, message.to, status, "twice") < share:
            self.counts["duplicates"] += 1
            if message.early:
                self._take(message, place, 1)
                return
            late = config.callback_jitter_ms * draw(config.seed, message.to, status, "again") / 1000
            at = self._world.now() + (0.0 if telling.in_order else late)
            self._push(at, message.number, place, 1)
            return
        self.pending -= 1
        telling.left -= 1
        if not telling.left:
            del self._telling[message.number]
        elif telling.in_order:
            self._plan(message, told, place + 1)
        early = self._early.get(message.number)
        if early and not early.done() and (place + 1 == len(told) or told[place + 1].at > message.created):
            early.set_result(None)


def _idempotency(message: Message, place: int, copy: int) -> str:
    """Return the token that all tries of one callback carry, in a UUID's form."""
    text = f"{message.prefix}{message.number:06x}{place:x}{copy:x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
