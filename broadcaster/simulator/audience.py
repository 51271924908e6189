"""People who write back by themselves, so that a demo's campaign gets answers and some of them are STOP."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from broadcaster.simulator.faults import draw
from broadcaster.simulator.inbound import Written, receive

if TYPE_CHECKING:
    from broadcaster.simulator.messages import Message
    from broadcaster.simulator.world import World

REPLIES: Final = (
    "Thanks!",
    "OK",
    "Who is this?",
    "Thank you, got it",
    "When does it end?",
    "please stop",
    "👍",
    "HELP",
)
_log = logging.getLogger(__name__)


class Audience:
    """Everybody who got a message. Who writes what, and how fast, depends on the seed and the number."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._thinking: set[asyncio.TimerHandle] = set()
        self._writing: set[asyncio.Task[object]] = set()

    def forget(self) -> None:
        """Nobody writes any more."""
        for timer in self._thinking:
            timer.cancel()
        self._thinking.clear()
        for task in self._writing:
            task.cancel()

    def gets(self, message: Message) -> None:
        """Let the recipient answer once the message is there, if chance wants it."""
        config = self._world.config
        if message.outcome or message.scheduled_at:
            return
        chance = draw(config.seed, message.to, "answers")
        if chance >= config.stop_share + config.reply_share:
            return
        pick = int(draw(config.seed, message.to, "words") * len(REPLIES))
        body = "STOP" if chance < config.stop_share else REPLIES[pick]
        thinks = draw(config.seed, message.to, "thinks") * config.reply_seconds
        wait = message.ends_at - self._world.now() + thinks

        def write() -> None:
            self._thinking.discard(timer)
            task = loop.create_task(self._write(Written(sender=message.to, to=message.sender, body=body)))
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

        loop = asyncio.get_running_loop()
        timer = loop.call_later(max(wait, 0.0), write)
        self._thinking.add(timer)

    async def _write(self, written: Written) -> None:
        try:
            await receive(self._world, written)
        except ValueError as error:
            _log.warning("nobody can be asked what to answer: %s", error)
