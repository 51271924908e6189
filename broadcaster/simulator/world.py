"""Everything the simulator knows: messages, tries, answers, queues. One event loop owns it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from array import array
from collections import Counter
from hashlib import blake2b
from typing import TYPE_CHECKING

import msgspec

from broadcaster.simulator.audience import Audience
from broadcaster.simulator.callbacks import Callbacks
from broadcaster.simulator.conversation import Conversation
from broadcaster.simulator.crowd import Crowd
from broadcaster.simulator.faults import FaultPlan, Shares
from broadcaster.simulator.messages import number_in
from broadcaster.simulator.optouts import OptOuts
from broadcaster.simulator.outgoing import Outgoing
from broadcaster.simulator.senders import SenderQueue, default_rate
from broadcaster.simulator.verifications import Verifications
from broadcaster.simulator.whatsapp import Chats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from broadcaster.simulator.config import SimulatorConfig
    from broadcaster.simulator.exchange import Exchange
    from broadcaster.simulator.messages import Message


class Decision(msgspec.Struct, gc=False, kw_only=True):
    """A try that did not simply end in 201: what was decided and what was answered.

    `status` is 0 where nothing was answered; `sid` is the message that exists nevertheless, if one does.
    """

    to: str
    attempt: int
    fault: str
    status: int
    code: int
    arrived_ms: float
    sid: str | None = None


class World:
    """The state behind one simulated account. Not thread-safe."""

    def __init__(self, config: SimulatorConfig) -> None:
        self.in_flight = 0
        self.crowd = Crowd()
        self.now: Callable[[], float] = time.time  # replaceable, so that a test need not wait
        self.closing = False  # the listener is closed: each answer ends its connection
        self._stopping = asyncio.Event()
        self._hanging: set[Exchange] = set()
        self.generation = 0
        self.url = ""
        """Where this world is served; known once its door is open."""
        self.outgoing = Outgoing(lambda: self.config.callback_concurrency)
        self.callbacks = Callbacks(self, self.outgoing)
        self.audience = Audience(self)
        self.configure(config)
        self.reset()

    def configure(self, config: SimulatorConfig) -> None:
        """Take another config; raises ValueError before anything changed when it makes no sense."""
        plan = FaultPlan(config)
        failures = Shares(config.delivery_failures)
        self.config = config
        self.plan = plan
        self.failures = failures
        if self.generation:
            now = self.now()
            for name, queue in self.queues.items():
                queue.change_rate(config.senders.get(name) or default_rate(name), now)

    def reset(self) -> None:
        """Forget every message, try and count; the config stays."""
        self.generation += 1
        seed = f"{self.config.seed}/{self.generation}/{time.time_ns()}"
        self.prefix = blake2b(seed.encode(), digest_size=12).hexdigest()
        self.messages: list[Message] = []
        self.by_to: dict[str, int | list[int]] = {}
        self.decisions: list[Decision] = []
        self.decisions_by_to: dict[str, list[int]] = {}
        self.unaccepted: dict[str, int] = {}
        self.queues: dict[str, SenderQueue] = {}
        self.arrivals: dict[str, array[float]] = {}
        self.arrived_segments: dict[str, array[int]] = {}
        self.answers: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.requests = 0
        self.accepted = 0
        self.copies = 0
        self.max_in_flight = self.in_flight
        self.crowd.forget()
        self.late = 0
        self.snapshots: dict[str, list[int]] = {}
        self.callbacks.forget()
        self.audience.forget()
        self.conversation = Conversation(self.prefix, self.config.account_sid)
        self.optouts = OptOuts()
        self.verifications = Verifications(self.prefix)
        self.chats = Chats()
        self.files: dict[int, tuple[tuple[str, str], ...]] = {}  # by message: URL and type of each
        self.actions: dict[int, tuple[str, ...]] = {}
        self.media_deleted: set[tuple[str, int]] = set()

    # -- messages ---------------------------------------------------------------------------------

    def find(self, sid: str) -> Message | None:
        """Return the message of that sid, deleted or not."""
        if sid[2:-8] != self.prefix:
            return self.conversation.find(sid)
        try:
            number = number_in(sid)
        except ValueError:
            return None
        if number >= len(self.messages):
            return None
        message = self.messages[number]
        return message if message.sid == sid else None

    def add(self, message: Message) -> None:
        """Keep an accepted message."""
        self.messages.append(message)
        self.accepted += 1
        earlier = self.by_to.get(message.to)
        if earlier is None:
            self.by_to[message.to] = message.number
            return
        self.copies += 1
        if isinstance(earlier, int):
            self.by_to[message.to] = [earlier, message.number]
        else:
            earlier.append(message.number)

    def messages_to(self, to: str) -> list[int]:
        """Return the numbers of all messages to that recipient, in order of acceptance."""
        found = self.by_to.get(to, [])
        return [found] if isinstance(found, int) else found

    # -- tries ------------------------------------------------------------------------------------

    def next_attempt(self, to: str) -> int:
        """Return the number, from 1, of the try that starts now."""
        found = self.by_to.get(to)
        accepted = 0 if found is None else 1 if isinstance(found, int) else len(found)
        return accepted + self.unaccepted.get(to, 0) + 1

    def record(self, decision: Decision) -> Decision:
        """Keep what was decided about a try that is not simply accepted."""
        self.decisions_by_to.setdefault(decision.to, []).append(len(self.decisions))
        self.decisions.append(decision)
        if decision.fault:
            self.faults[decision.fault] += 1
        if decision.sid is None:
            self.unaccepted[decision.to] = self.unaccepted.get(decision.to, 0) + 1
        return decision

    def accepted_late(self, decision: Decision, sid: str) -> None:
        """Complete a decision whose message exists only now."""
        decision.sid = sid
        self.unaccepted[decision.to] -= 1

    def arrived(self, lane: str, at_ms: float, segments: int) -> None:
        """Note a request's arrival for this `From`, or service, for checks of the pace."""
        times = self.arrivals.get(lane)
        if times is None:
            times = self.arrivals[lane] = array("d")
            self.arrived_segments[lane] = array("H")
        times.append(at_ms)
        self.arrived_segments[lane].append(min(segments, 65535))

    # -- waiting ----------------------------------------------------------------------------------

    async def pause(self, seconds: float) -> None:
        """Wait that long, less if the simulator stops."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)

    @contextlib.contextmanager
    def hanging(self, exchange: Exchange) -> Iterator[None]:
        """Remember an exchange that waits for its client to go, so that stopping can end it."""
        self._hanging.add(exchange)
        try:
            yield
        finally:
            self._hanging.discard(exchange)

    @property
    def stopping(self) -> bool:
        """Whether the simulator is being stopped."""
        return self._stopping.is_set()

    def release(self) -> None:
        """End every wait: the simulator stops."""
        self._stopping.set()
        self.callbacks.forget()
        self.audience.forget()
        for exchange in self._hanging:
            exchange.reset()

    # -- senders ----------------------------------------------------------------------------------

    def queue(self, sender: str) -> SenderQueue:
        """Return the sender's queue, at the configured rate or its kind's."""
        queue = self.queues.get(sender)
        if queue is None:
            rate = self.config.senders.get(sender) or default_rate(sender)
            queue = self.queues[sender] = SenderQueue(rate)
        return queue
