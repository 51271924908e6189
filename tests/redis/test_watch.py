"""Nothing of before a loss is in flight: said when that is so, and of the silent when their time is over."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from driving import join
from test_rewinding import another

from workers import watch
from workers.owner import note_gone

if TYPE_CHECKING:
    import pytest

    from broadcaster.store.connection import Store


async def look(store: Store, watching: watch.Watch) -> None:
    watching.heard(await store.run(await watching.question("w1")), 0.0, 0.0)


async def test_a_yes_of_before_that_arrives_after_the_loss_was_heard_of_is_waited_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(watch, "monotonic", lambda: now)
    poster: Any = SimpleNamespace(in_flight=0, ready=[])
    watching = watch.Watch(store, poster)
    await join(store)
    await look(store, watching)
    await another(store, always="0")

    async def said() -> bool:
        await look(store, watching)
        return bool(await store.redis.hget(store.keys.plain("rewound"), "owner:w1"))

    assert not await said()
    poster.in_flight = 1  # its yes was on the way
    now += 1.1
    assert not await said()
    poster.in_flight = 0
    assert await said()


async def test_as_long_as_a_yes_of_before_could_be_used_nothing_is_said(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(watch, "monotonic", lambda: now)
    poster: Any = SimpleNamespace(in_flight=0, ready=[])
    watching = watch.Watch(store, poster)
    await join(store)
    await look(store, watching)
    await another(store, always="0")
    for seconds, said in ((0.0, b""), (0.2, b""), (0.7, b""), (0.2, None)):
        now += seconds
        await look(store, watching)
        found = await store.redis.hget(store.keys.plain("rewound"), "owner:w1")
        assert found == said if said is not None else found


async def test_who_was_seen_in_what_redis_has_lost_is_not_gone_before_its_time(store: Store) -> None:
    """A backup of hours ago says that a worker was seen hours ago; it may have been stopped just now."""
    await join(store)
    now, _ = await store.redis.time()
    await store.redis.hset(store.keys.worker("w1"), "seen", now - 10_000)
    await store.redis.hset(store.keys.plain("rewound"), mapping={"at": now - 5, "owner:w1": ""})
    await store.redis.sadd(store.keys.plain("owners"), "w1")
    await note_gone(store, 900)
    assert await store.redis.hget(store.keys.worker("w1"), "gone") is None
    await note_gone(store, 3)
    assert int(await store.redis.hget(store.keys.worker("w1"), "gone")) == now - 2
