"""What the poster takes in and gives out: messages on their way, signals for others, and a tally."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from broadcaster.twilio.codes import metric_label

if TYPE_CHECKING:
    from broadcaster.domain.failures import Outcome
    from broadcaster.lanes.claims import Item
    from broadcaster.ledger.outcomes import Decision
    from broadcaster.telemetry.metrics import Metrics
    from workers.contents import Batch
    from workers.plan import Held
    from workers.routes import Route


#: Twilio's codes for what it doesn't keep until its time: too near by its clock, which may be ahead of ours,
#: or too much is kept on the account already. It goes by itself then.
NOT_KEPT_BACK: Final = frozenset((35114, 35115, 35125))
#: A yes is good for so long, from before it was asked for: a pause, a cancel or a STOP may have come since.
YES_SECONDS: Final = 0.8


class Message(NamedTuple):
    """A record that says `sending`, on its way out; not after `good_until`, in monotonic seconds."""

    held: Held
    item: Item
    batch: Batch
    good_until: float = math.inf


class Sends(Protocol):
    """What posts one form: Twilio's client, or a recording one."""

    async def post(self, form: bytes) -> Outcome:
        """Post; never raises."""
        ...


class Signal(NamedTuple):
    """An outcome that concerns more than its own message."""

    lane: str
    address: str
    decision: Decision


@dataclass(slots=True)
class Line:
    """A moment, and how many of the requests that were in flight then have not ended."""

    left: int
    crossed: asyncio.Event = field(default_factory=asyncio.Event)


class Lines:
    """Lines that were drawn; `drawn` counts them."""

    def __init__(self) -> None:
        self.drawn = 0
        self._lines: dict[int, Line] = {}

    def draw(self, in_flight: int) -> asyncio.Event:
        """Draw one; return what is set once so many requests, those in flight now, have ended."""
        self.drawn += 1
        line = Line(in_flight)
        if line.left:
            self._lines[self.drawn] = line
        else:
            line.crossed.set()
        return line.crossed

    def cross(self, started_before: int) -> None:
        """Note the end of a request that began when so many lines were drawn."""
        for number, line in list(self._lines.items()):
            if number > started_before:
                line.left -= 1
                if not line.left:
                    line.crossed.set()
                    del self._lines[number]


@dataclass(slots=True)
class Sent:
    """What came of one route's POSTs. `others` counts the kinds of outcome but acceptance."""

    accepted: int = 0
    segments: int = 0
    others: dict[str, int] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)


@dataclass(slots=True)
class Tally:
    """What happened since somebody last looked. `codes` are Twilio's, HTTP statuses and our own reasons."""

    routes: dict[Route, Sent] = field(default_factory=dict)
    retries: Counter[str] = field(default_factory=Counter)
    codes: Counter[int] = field(default_factory=Counter)

    def of(self, message: Message) -> Sent:
        """Return where to note what came of this message's POST."""
        batch = message.batch
        route = batch.route or batch.route_of(message.item.row)
        sent = self.routes.get(route)
        if sent is None:
            sent = self.routes[route] = Sent()
        return sent

    def report(self, metrics: Metrics) -> None:
        """Add it to the metrics, and begin anew."""
        for route, sent in self.routes.items():
            outcomes = {**sent.others, "accepted": sent.accepted} if sent.accepted else sent.others
            metrics.sent(*route, outcomes, segments=sent.segments, durations=sent.latencies)
        for reason, count in self.retries.items():
            metrics.retried(reason, count)
        for code, count in self.codes.items():
            metrics.failed("send", metric_label(code), count)
        self.routes = {}
        self.retries.clear()
        self.codes.clear()
