"""Redis' clock as a worker knows it: however far away Redis is, never ahead of it."""

from __future__ import annotations

import time
from itertools import count
from typing import TYPE_CHECKING, cast

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from broadcaster.telemetry.metrics import Metrics
from workers import clock as clocks
from workers import redis_clock
from workers.clock import RedisClock

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

#: Redis' clock when it is asked, and how long each answer takes.
REDIS, FAR_SECONDS = 5_000.0, 3.0


class Far:
    """A Redis whose answers take long; the first one is lost."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.own = 100.0
        self.lost = count()
        self.redis = self
        for module in (clocks, redis_clock):
            monkeypatch.setattr(module, "lease_clock", lambda: self.own)

    async def time(self) -> tuple[int, int]:
        if not next(self.lost):
            raise RedisConnectionError
        return self._answer(), 0

    def _answer(self) -> int:
        self.own += FAR_SECONDS
        return int(REDIS)


async def test_it_is_heard_before_anything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_clock, "AGAIN_SECONDS", 0.0)
    far, clock = Far(monkeypatch), RedisClock()
    assert clock.now() == pytest.approx(time.time(), abs=5), "until then our own"
    await redis_clock.first_heard(cast("Store", far), clock)
    assert clock.now() == REDIS
    far.own += 7
    assert clock.now() == REDIS + 7


async def test_it_is_heard_from_far_away_too(monkeypatch: pytest.MonkeyPatch) -> None:
    far, clock = Far(monkeypatch), RedisClock()
    watching = redis_clock.ClockWatch(clock, Metrics())
    assert (await watching.question("w1")).arguments[0] == 0, "it can't tell yet"
    began = far.own
    watching.heard((0, int(REDIS) * 1_000_000), began, began + FAR_SECONDS)
    far.own += FAR_SECONDS
    assert clock.now() == REDIS
    assert (await watching.question("w1")).arguments[0] == 0, "an answer that took so long tells too little"
    watching.heard((0, int(REDIS) * 1_000_000), far.own, far.own)
    far.own += 1
    assert (await watching.question("w1")).arguments[0] == int(REDIS + 1) * 1_000_000
