"""A worker's renewal, and what it asks with it in one round trip, which is heard whatever becomes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.ledger.outcomes import RetryPolicy
from broadcaster.store.errors import EpochChanged, LeaseLost
from broadcaster.twilio.send import MessageSender
from workers.lease import Lease, Limits
from workers.posting import Poster
from workers.redis_clock import look_at_clock
from workers.watch import Watch

if TYPE_CHECKING:
    from broadcaster.lanes.claims import Standing
    from broadcaster.store.connection import Store
    from broadcaster.store.scripts import Call


class Clock:
    """Asks what time it is, and keeps the answers."""

    def __init__(self) -> None:
        self.found: list[Any] = []

    async def question(self, worker: str) -> Call[tuple[int, int]]:
        assert worker
        return look_at_clock()

    def heard(self, found: Any, began: float, answered: float) -> None:
        assert began <= answered
        self.found.append(found)


class Rig:
    """A lease on a real Redis."""

    def __init__(self, store: Store) -> None:
        self.clock, self.standings = Clock(), list[Any]()
        sender = MessageSender("AC0", ("AC0", "secret"), "http://127.0.0.1:9")
        poster = Poster(sender, concurrency=1, policy=RetryPolicy(), ended=lambda _: None)
        self.watch = Watch(store, poster)
        self.lease = Lease(
            store,
            Limits(),
            poster,
            beside=(self.watch, self.clock),
            on_standing=self._standing,
            on_lost=lambda: None,
            moved=lambda: None,
        )

    async def _standing(self, standing: Standing) -> None:
        self.standings.append(standing)


async def test_all_is_asked_when_it_joins_and_when_it_renews(store: Store) -> None:
    rig = Rig(store)
    await rig.lease.join()
    await rig.lease._renew()
    assert [moved for moved, _ in rig.clock.found] == [0, 0]
    assert [standing.workers for standing in rig.standings] == [1, 1]
    assert store.guard.known >= 2
    assert not rig.watch.another_server()


async def test_who_lost_its_lease_hears_the_others_all_the_same(store: Store) -> None:
    """A Redis that has lost writes may have lost the lease, too; the guard's answer says which it is."""
    rig = Rig(store)
    await rig.lease.join()
    known = store.guard.known
    await store.redis.zrem(store.keys.plain("workers"), rig.lease.worker)
    with pytest.raises(LeaseLost):
        await rig.lease._renew()
    assert len(rig.clock.found) == 2
    assert store.guard.known > known


async def test_another_installation_ends_it(store: Store) -> None:
    rig = Rig(store)
    await rig.lease.join()
    await store.redis.set(store.keys.plain("epoch"), "another")
    with pytest.raises(EpochChanged):
        await rig.lease.renew_forever()
    with pytest.raises(EpochChanged):
        await rig.lease.join()


async def test_a_renewal_says_when_a_lane_is_due(store: Store) -> None:
    rig = Rig(store)
    await rig.lease.join()
    assert rig.standings[-1].due_seconds is None
    seconds, _ = await store.redis.time()
    await store.redis.zadd(store.keys.plain("due"), {"+15550000001": (seconds + 100) * 1e6})
    await rig.lease._renew()
    assert rig.standings[-1].due_seconds == pytest.approx(100, abs=2)
    await store.redis.zadd(store.keys.plain("due"), {"+15550000002": 1})
    await rig.lease._renew()
    assert rig.standings[-1].due_seconds == 0.0
