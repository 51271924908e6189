"""WhatsApp's 24 hours between intake, a worker and a simulated Twilio, all in the test's own process.

Nobody waits for a day: the marks move, at Twilio and here.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from dispatching import dispatching
from loading import counts, records

from broadcaster.domain.broadcast import OutsideWindow
from broadcaster.domain.content import Content, Template
from broadcaster.domain.record import State
from broadcaster.domain.replies import digest_of
from broadcaster.domain.resending import Resending
from broadcaster.domain.senders import SenderKind
from broadcaster.intake.faults import ListRefusedError
from broadcaster.intake.read_json import ValuesReader
from broadcaster.intake.senders import Lane
from broadcaster.intake.submission import Submission
from broadcaster.intake.submit import Submitted, submit
from broadcaster.intake.windows import Windows
from broadcaster.lanes import control
from broadcaster.ledger.callbacks import Status, write_statuses
from broadcaster.ledger.resending import Resender
from broadcaster.simulator.config import TEMPLATE_SID, SimulatorConfig
from broadcaster.simulator.server import running_simulator
from broadcaster.telemetry.metrics import Metrics
from broadcaster.twilio.rest import TwilioRest
from broadcaster.twilio.send import MessageSender
from workers.following import Follower

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broadcaster.intake.faults import Fault
    from broadcaster.intake.rejects import StoredRejects
    from broadcaster.simulator.world import World
    from broadcaster.store.connection import Store

SENDER, OTHER = "whatsapp:+14155550199", "whatsapp:+14155550198"
PERSON = "whatsapp:+14155550100"
HOUR, DAY = 3600, 86_400
TEXT = Content(body="hello")
BOTH = Content(body="hello", fallback=Template(TEMPLATE_SID, {"1": "you"}))
MOVING = {State.QUEUED, State.SENDING, State.RETRY}


def person(i: int) -> str:
    """The i-th recipient."""
    return f"whatsapp:+1415556{i:04d}"


class Scene:
    """A simulated Twilio that keeps the window, and what talks to it."""

    def __init__(self, store: Store, world: World, http: httpx.AsyncClient, rest: TwilioRest) -> None:
        self.store = store
        self.world = world
        self.rest = rest
        self.windows = Windows(store, rest)
        self._http = http

    async def wrote(self, who: str, seconds_ago: float, to: str = SENDER) -> None:
        """Somebody wrote to us, of which Twilio told nobody."""
        before, self.world.now = self.world.now, lambda: time.time() - seconds_ago
        body = {"from": who, "to": to, "body": "hello"}
        (await self._http.post("/_simulator/inbound", json=body)).raise_for_status()
        self.world.now = before

    async def ages(self, who: str, seconds: int, sender: str = SENDER) -> None:
        """So much time passes for what somebody wrote, here and at Twilio."""
        await self.store.redis.zincrby(self.store.keys.plain(f"inbound:{sender}"), -seconds, digest_of(who))
        heard = self.world.chats._heard
        heard[sender, who] -= seconds

    async def take(
        self,
        people: list[Any],
        content: Content = TEXT,
        outside: OutsideWindow = OutsideWindow.REFUSE,
        lane: str = SENDER,
        *,
        pool: tuple[str, ...] = (),
        rejects: StoredRejects | None = None,
        **more: Any,
    ) -> Submitted:
        """Do as intake does."""
        kind = SenderKind.SERVICE if lane.startswith("MG") else SenderKind.WHATSAPP
        lanes = (Lane(lane, kind, 1000.0, "set", pool=pool, pool_read=int(time.time()) if pool else 0),)
        asked = Submission(name="test", content=content, lanes=lanes, outside_window=outside, **more)
        reader = ValuesReader(people)
        return await submit(self.store, reader, asked, windows=self.windows, rejects=rejects)

    async def start(self, *bids: str) -> None:
        """Start broadcasts."""
        assert await self.store.run_all([control.start(bid) for bid in bids]) == ["ok"] * len(bids)

    async def work(self, *bids: str) -> None:
        """Let a worker send all that is due of broadcasts."""
        config = self.world.config
        async with (
            MessageSender(config.account_sid, (config.account_sid, config.token), self.world.url) as twilio,
            dispatching(self.store, twilio),
            asyncio.timeout(20),
        ):
            for bid in bids:
                while MOVING & (await counts(self.store, bid)).keys():  # noqa: ASYNC110
                    await asyncio.sleep(0.005)

    async def hear(self, *bids: str) -> None:
        """Hear from Twilio what became of broadcasts' messages, and see to what follows."""
        now = self.world.now
        self.world.now = lambda: now() + 60
        told = []
        for bid in bids:
            for (batch, row), record in (await records(self.store, bid)).items():
                if record.state is State.ACCEPTED and record.sid:
                    found = await self.rest.fetch(record.sid)
                    code = found.error_code or 0
                    told.append(Status(bid, batch, row, record.attempt, record.sid, found.status, code))
        self.world.now = now
        await self.store.run(write_statuses(told))
        await Follower(self.store, Metrics(), Resender(self.store, Resending())).round()

    def sent(self, who: str = PERSON) -> list[str]:
        """What Twilio was asked to send to somebody: `text` or `template`."""
        wanted = who.removeprefix("whatsapp:")
        made = [m for m in self.world.messages if m.to.removeprefix("whatsapp:") == wanted]
        return ["template" if message.content_sid else "text" for message in made]


@asynccontextmanager
async def scene(store: Store, **config: Any) -> AsyncIterator[Scene]:
    """Run a simulator beside the test."""
    fields: dict[str, Any] = {"senders": {SENDER: 1000.0, OTHER: 1000.0}, "delivery_seconds": 0}
    made = SimulatorConfig(**(fields | {"whatsapp_window": True} | config))
    auth = (made.account_sid, made.token)
    async with (
        running_simulator(made) as simulator,
        httpx.AsyncClient(base_url=simulator.url, auth=auth, trust_env=False) as http,
        TwilioRest(made.account_sid, auth, simulator.url) as rest,
    ):
        yield Scene(store, simulator.world, http, rest)


async def refused(twilio: Scene, people: list[str], **more: Any) -> tuple[Fault, ...]:
    """Take a list that must be refused; return the faults of its rows."""
    with pytest.raises(ListRefusedError) as error:
        await twilio.take(people, **more)
    return tuple(error.value.shown)
