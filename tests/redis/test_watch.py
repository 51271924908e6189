"""A worker says that nothing of before a loss is in flight when that is so, not when it once was."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from driving import join
from test_rewinding import another

from workers import watch

if TYPE_CHECKING:
    import pytest

    from broadcaster.store.connection import Store


async def test_a_yes_of_before_that_arrives_after_the_loss_was_heard_of_is_waited_for(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(watch, "monotonic", lambda: now)
    poster: Any = SimpleNamespace(in_flight=0, ready=[])
    watching = watch.Watch(store, poster)
    await join(store)
    await watching.another_server("w1")
    await another(store, always="0")

    async def said() -> bool:
        await watching.another_server("w1")
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
    await watching.another_server("w1")
    await another(store, always="0")
    for seconds, said in ((0.0, b""), (0.2, b""), (0.7, b""), (0.2, None)):
        now += seconds
        await watching.another_server("w1")
        found = await store.redis.hget(store.keys.plain("rewound"), "owner:w1")
        assert found == said if said is not None else found
