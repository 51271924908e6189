"""At which moments a process is killed: named kinds, and points drawn from them by a seed."""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from tap import script_mark

if TYPE_CHECKING:
    from collections.abc import Mapping


class Victim(enum.StrEnum):
    """Who is killed."""

    WORKER = enum.auto()
    REDIS = enum.auto()


class Doing(enum.Enum):
    """What goes on at a point, other than a request or an answer that passes."""

    ANY = enum.auto()  # at any time while it sends
    STARTING = enum.auto()  # a worker begins (only workers are killed there)
    IMPORTING = enum.auto()  # a list is being imported; of the two it is the importing process that dies
    PAUSING = enum.auto()
    RESUMING = enum.auto()
    RETRYING = enum.auto()  # many messages wait for their next try


@dataclass(frozen=True, slots=True)
class Passing:
    """A request that passes between a worker and `side`, or its answer. See `tap.Strike`."""

    side: Literal["twilio", "redis"]
    what: str
    on: Literal["request", "answer"]
    at: Literal["before", "half", "after"]
    lose: bool = False

    @property
    def mark(self) -> bytes:
        """What the request is known by."""
        return self.what.encode() if self.side == "twilio" else script_mark(self.what)


@dataclass(frozen=True, slots=True)
class Held:
    """The simulator holds requests in this way while so many are in flight."""

    config: Mapping[str, Any]


_POST: Final = "POST /2010"
_LIST: Final = "GET /2010"
#: The simulator takes a held message this long after it was asked.
LATE_SECONDS: Final = 0.4

Kind = Passing | Held | Doing

KINDS: Final[dict[str, Kind]] = {
    # from the intent to the outcome
    "a request never arrives": Passing("twilio", _POST, "request", "before", lose=True),
    "a request arrives after the kill": Passing("twilio", _POST, "request", "before"),
    "half a request arrives": Passing("twilio", _POST, "request", "half", lose=True),
    "a request has just left": Passing("twilio", _POST, "request", "after"),
    "held before it is accepted": Held({"faults": {"late_accept": 1.0}}),
    "accepted, its answer held": Held({"latency_ms": 700}),
    "its answer comes byte by byte": Held({"faults": {"slow_body": 1.0}}),
    "its answer is lost": Passing("twilio", _POST, "answer", "before", lose=True),
    "half of its answer came": Passing("twilio", _POST, "answer", "half"),
    "its 201 was just written": Passing("twilio", _POST, "answer", "after"),
    "an intent is not heard": Passing("redis", "intent", "request", "before", lose=True),
    "an intent is under way": Passing("redis", "intent", "request", "after"),
    "an intent's yes is lost": Passing("redis", "intent", "answer", "before", lose=True),
    "half a yes came": Passing("redis", "intent", "answer", "half"),
    "an intent's yes just came": Passing("redis", "intent", "answer", "after"),
    "an outcome is not heard": Passing("redis", "record", "request", "before", lose=True),
    "half an outcome is heard": Passing("redis", "record", "request", "half", lose=True),
    "an outcome's answer is lost": Passing("redis", "record", "answer", "before", lose=True),
    "an outcome was just written": Passing("redis", "record", "answer", "after"),
    # around it
    "a claim is not heard": Passing("redis", "claim", "request", "before", lose=True),
    "a claim's answer is lost": Passing("redis", "claim", "answer", "before", lose=True),
    "a claim was just given": Passing("redis", "claim", "answer", "after"),
    "a claim is ended, unheard": Passing("redis", "release", "answer", "before", lose=True),
    "a lease is renewed": Passing("redis", "renew", "request", "after"),
    "leases are swept": Passing("redis", "sweep", "answer", "before", lose=True),
    "a worker starts": Doing.STARTING,
    "a list is imported": Doing.IMPORTING,
    "at any time": Doing.ANY,
    "while much waits to be retried": Doing.RETRYING,
    "while it pauses": Doing.PAUSING,
    "while it resumes": Doing.RESUMING,
    # settling
    "Twilio's list is asked": Passing("twilio", _LIST, "request", "before"),
    "half a page of the list came": Passing("twilio", _LIST, "answer", "half"),
    "a page of the list just came": Passing("twilio", _LIST, "answer", "after"),
    "a doubt's end is not heard": Passing("redis", "settle", "request", "before", lose=True),
    "a doubt's end is unheard of": Passing("redis", "settle", "answer", "before", lose=True),
    "a doubt was just ended": Passing("redis", "settle", "answer", "after"),
}


@dataclass(frozen=True, slots=True)
class Point:
    """One kill. `skip` such requests pass before; else it comes `after_seconds`, or with `many` in flight."""

    victim: Victim
    name: str
    worker: int
    skip: int
    many: int
    after_seconds: float
    down_seconds: float

    @property
    def kind(self) -> Kind:
        """What it waits for."""
        return KINDS[self.name]


def points(victim: Victim, count: int, seed: int, workers: int) -> list[Point]:
    """Draw so many points: every kind before one comes again, in an order that the seed decides."""
    chance = random.Random(f"{victim.value} {seed}")
    names: list[str] = []
    while len(names) < count:
        some = [n for n, k in KINDS.items() if victim is Victim.WORKER or k is not Doing.STARTING]
        chance.shuffle(some)
        names += some
    return [
        Point(
            victim,
            name,
            worker=chance.randrange(workers),
            skip=chance.randrange(_most(KINDS[name])),
            many=chance.randint(1, 30),
            after_seconds=chance.uniform(0, 0.4),
            down_seconds=chance.choice((0.0, 0.05, 0.3)),
        )
        for name in names[:count]
    ]


def _most(kind: Kind) -> int:
    """Return how many may pass first: what comes rarely is struck at once."""
    if isinstance(kind, Passing):
        return {_POST: 40, _LIST: 1, "release": 3, "renew": 2, "sweep": 2, "settle": 1}.get(kind.what, 20)
    return 1
