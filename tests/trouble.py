"""What happens to a run of chaos, and when: decided by its seed alone."""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator


class Trouble(enum.StrEnum):
    """What can happen. The first four are signals, to a worker or to Redis; the others are a proxy's."""

    KILL = enum.auto()
    TERMINATE = enum.auto()
    STOP = enum.auto()
    KILL_REDIS = enum.auto()
    DELAY = enum.auto()  # every chunk comes some milliseconds later
    STALL = enum.auto()  # nothing passes for a while, then everything does
    BLACK_HOLE = enum.auto()  # what is sent meanwhile is lost; who lost something is reset at the end
    CUT = enum.auto()  # each connection ends after so many more bytes
    HALF_CLOSE = enum.auto()  # clients are told the end, what they send still arrives
    RESET = enum.auto()
    REFUSE = enum.auto()


WEIGHTS: Final = dict.fromkeys(Trouble, 1) | {Trouble.KILL: 4, Trouble.KILL_REDIS: 2}


@dataclass(frozen=True, slots=True)
class Plan:
    """One run. Trouble goes on for `troubled_seconds`, about as long as sending takes; then it must all end.

    `longest_seconds` bounds each network trouble, `stop_seconds` is a stopped worker's sleep (a lease and its
    sweep take about 4.5). `patience_seconds`: absence counts after it; a message is under way for less.
    `hangs` is the share of tries that never get an answer; each takes a read timeout, at least 30 s.
    """

    seed: int
    recipients: int
    workers: int = 2
    troubled_seconds: float = 6.0
    every_seconds: float = 0.3
    longest_seconds: float = 0.5
    stop_seconds: float = 6.0
    patience_seconds: float = 3.0
    end_seconds: float = 40.0
    hangs: float = 0.0


@dataclass(frozen=True, slots=True)
class Happening:
    """One trouble, `after` so many seconds; `side` names the proxy, `worker` which, `size` bytes or ms."""

    after: float
    trouble: Trouble
    side: str
    worker: int
    seconds: float
    size: int


def happenings(plan: Plan) -> Iterator[Happening]:
    """Yield what happens, without end; the same plan yields the same."""
    chance = random.Random(plan.seed)
    while True:
        trouble = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        yield Happening(
            chance.expovariate(1 / plan.every_seconds),
            trouble,
            chance.choice(("redis", "twilio")),
            chance.randrange(plan.workers),
            chance.uniform(0.05, plan.longest_seconds),
            chance.choice((1, 5, 20)) if trouble is Trouble.DELAY else int(10 ** chance.uniform(0, 4.5)),
        )
