"""Redis' clock, by which everything waits: what becomes of that when somebody moves it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog
from redis.exceptions import RedisError

from broadcaster.store.errors import StoreError
from broadcaster.store.scripts import Call
from workers.clock import lease_clock

if TYPE_CHECKING:
    from broadcaster.domain.evidence import Question
    from broadcaster.ledger.doubts import Doubt
    from broadcaster.store.connection import Store
    from broadcaster.telemetry.metrics import Metrics
    from workers.clock import RedisClock

log = structlog.get_logger("clock")

AGAIN_SECONDS: Final = 0.5
#: A clock that is slewed moves less than this in a second, and needs no repair.
BACK_SECONDS: Final = 2.0
#: So much less than their patience may doubts be waited for, without anybody noticing.
AHEAD_SECONDS: Final = 10.0
#: Longest round trip whose answer tells the time, and how often it is asked for.
ROUND_TRIP_SECONDS: Final = 0.1
TRIES: Final = 5
_MICRO: Final = 1_000_000


def look_at_clock(expected: float = 0.0) -> Call[tuple[int, int]]:
    """Ask how far Redis' clock was moved since anybody asked, and what it shows: both in µs.

    `expected` is what it should show by our own clock, in seconds; 0 if that isn't known. Only who lived
    through it can tell a clock moved ahead from an hour in which no worker ran.
    """
    arguments = (int(expected * _MICRO), int(BACK_SECONDS * _MICRO), int(AHEAD_SECONDS * _MICRO))
    return Call("clock", arguments, lambda reply: (int(reply[0]), int(reply[1])))


class ClockWatch:
    """A worker's look at the clock every second, which lets `clock` know."""

    def __init__(self, clock: RedisClock, metrics: Metrics) -> None:
        self._clock = clock
        self._metrics = metrics
        #: By how much Redis' clock is ahead of ours.
        self._ahead: float | None = None

    async def question(self, worker: str) -> Call[tuple[int, int]]:  # noqa: ARG002 - as `lease.Asks` has it
        """Return what to ask."""
        return look_at_clock(0.0 if self._ahead is None else lease_clock() + self._ahead)

    def heard(self, found: tuple[int, int] | StoreError, began: float, answered: float) -> None:
        """Take the answer; a refused look is followed by the next."""
        if isinstance(found, StoreError):
            return
        moved, now = found
        # an answer that took long says too little about when it was made
        self._ahead = now / _MICRO - began if answered - began < ROUND_TRIP_SECONDS else None
        self._clock.hear(now / _MICRO - answered)
        if self._ahead is not None:
            # in between, as in `our_clock`; by the clock that people and logs go by
            halfway = time.time() - (lease_clock() - began) / 2
            self._metrics.clock_skewed("redis", now / _MICRO - halfway)
        if moved:
            log.warning("redis.clock_moved", seconds=round(moved / _MICRO, 1))


async def first_heard(store: Store, clock: RedisClock) -> None:
    """Wait until Redis has told its time: what waits for an hour must not leave by ours."""
    while True:
        try:
            seconds, micro = await store.redis.time()
        except (RedisError, OSError):
            await asyncio.sleep(AGAIN_SECONDS)
            continue
        clock.hear(seconds + micro / _MICRO - lease_clock())
        return


async def trusted_since(store: Store) -> int:
    """Return the Redis second since which stretches of time are what they seem. Raises redis' errors."""
    return int(await store.redis.hget(store.keys.plain("clock"), "moved") or 0)


async def our_clock(store: Store) -> float:
    """Return Redis' unix seconds, asked again while the answer took long: it may be as old as that.

    An old answer sets our clock back, and then an attempt's own message counts as an earlier one's.
    """
    for _ in range(TRIES):
        began = monotonic()
        seconds, micro = await store.redis.time()
        took = monotonic() - began
        if took < ROUND_TRIP_SECONDS:
            break
    # in between, so that no more than half of what the round trip took is wrong
    return float(seconds + micro / 1e6 + took / 2)


async def set_back(store: Store) -> tuple[int, int]:
    """Return how far Redis' clock was set back (s), and the second of that.

    It looks itself: within the second until somebody does, an attempt's own message would count as too old.
    Raises redis' errors and `StoreError`.
    """
    await store.run(look_at_clock())
    back, at = await store.redis.hmget(store.keys.plain("clock"), "back", "backed")
    return int(back or 0), int(at or 0)


def begun_before(doubts: list[Doubt], back: int, at: int) -> list[Doubt]:
    """Let the attempts that began before the clock was set back by `back` seconds be sought as much earlier.

    Those began by `at` + `back`, by the clock of then; a few that began since are sought as early, too.
    """
    if not back:
        return doubts

    def sought(question: Question) -> Question:
        return replace(question, set_back=back) if question.began <= at + back + BACK_SECONDS else question

    return [
        replace(d, question=sought(d.question), earlier=tuple(sought(each) for each in d.earlier))
        for d in doubts
    ]


def since_moved(doubts: list[Doubt], since: int, now: float, owner_gone: float) -> list[Doubt]:
    """Let what ended by a clock that was moved since (it lies before that, or yet to come) count from it."""
    moved = []
    for doubt in doubts:
        until = doubt.question.in_flight_until
        if until is not None and until == doubt.record.changed + owner_gone:
            until = max(doubt.record.changed, since) + owner_gone  # whose owner nobody knows any more
        elif until is not None and not since <= until <= now + 1:
            until = float(since)
        moved.append(replace(doubt, question=replace(doubt.question, in_flight_until=until)))
    return moved
