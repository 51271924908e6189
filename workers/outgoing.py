"""What the poster takes in and gives out: messages on their way, signals for others, and a tally."""

from __future__ import annotations

import asyncio
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

if TYPE_CHECKING:
    from broadcaster.domain.failures import Outcome
    from broadcaster.lanes.claims import Item
    from broadcaster.ledger.outcomes import Decision
    from workers.contents import Batch
    from workers.plan import Held


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


@dataclass(slots=True)
class Tally:
    """What happened since somebody last looked."""

    outcomes: dict[str, int] = field(default_factory=dict)
    retries: dict[str, int] = field(default_factory=dict)
    latencies: list[float] = field(default_factory=list)
