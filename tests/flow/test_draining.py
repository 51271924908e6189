"""A worker asked to drain finishes what is in flight, gives back the rest and ends; others go on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from asgi_api import api_here
from dispatching import dispatching
from driving import LANE, join, take
from loading import counts, load
from test_review import Twilio

from broadcaster import __version__
from broadcaster.domain.data_format import KNOWN
from broadcaster.domain.record import State
from broadcaster.lanes import claims
from broadcaster.operations import audit
from broadcaster.operations import workers as acts
from broadcaster.operations.actor import at_the_shell
from broadcaster.operations.errors import Conflict, NotFound
from broadcaster.reporting.workers import list_workers
from workers.dispatcher import Dispatcher

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from broadcaster.store.connection import Store

    Wait = Callable[..., Awaitable[Any]]


async def test_what_is_in_flight_ends_and_the_rest_goes_back(
    store: Store, wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    bid = await load(store, {LANE: 40}, rates={LANE: 1000.0})
    twilio = Twilio()
    twilio.open.clear()
    heard, stop = asyncio.Event(), Dispatcher.stop

    def hearing(dispatcher: Dispatcher) -> None:
        heard.set()
        stop(dispatcher)

    monkeypatch.setattr(Dispatcher, "stop", hearing)
    async with dispatching(store, twilio, concurrency=3) as task:
        await wait_until(lambda: len(twilio.forms) >= 3)
        (view,) = await list_workers(store)
        assert (view.state, view.version, view.format, view.share) == ("live", __version__, KNOWN, 3)
        assert view.claims
        drained = await acts.drain(store, at_the_shell(), view.id)
        again = await acts.drain(store, at_the_shell(), view.id)
        assert drained.state == again.state == "draining"
        assert drained.draining_since == again.draining_since
        (entry,) = await audit.page(store, what="worker")
        assert (entry.what, entry.target, entry.old, entry.new) == (
            "worker.drain",
            view.id,
            "live",
            "draining",
        )
        await asyncio.wait_for(heard.wait(), 10)
        twilio.open.set()
        await asyncio.wait_for(task, 10)
    found = await counts(store, bid)
    assert set(found) == {State.ACCEPTED, State.QUEUED}
    assert found[State.ACCEPTED] == len(twilio.forms) < 40
    assert await list_workers(store) == []
    with pytest.raises(NotFound):
        await acts.drain(store, at_the_shell(), view.id)
    async with dispatching(store, twilio):
        await wait_until(lambda: len(twilio.forms) == 40)


async def test_one_that_loses_its_lease_is_asked_still(store: Store) -> None:
    await join(store, "w1")
    assert await store.run(claims.drain(["w1", "w2"])) == ["asked", "gone"]
    assert await store.run(claims.drain(["w1"])) == ["known"]
    renewed = await store.run(claims.renew("w1", lease_seconds=60, initial=100))
    anew = claims.join("w3", {"host": "h"}, lease_seconds=60, initial=100, before="w1")
    other = claims.join("w4", {"host": "h"}, lease_seconds=60, initial=100)
    assert (renewed.draining, (await store.run(anew)).draining) == (True, True)
    assert not (await store.run(other)).draining


async def test_over_http(store: Store) -> None:
    await join(store, "w1", lease_seconds=60.0)
    await join(store, "w2", lease_seconds=-1.0)
    await join(store, "w3")
    await store.redis.hdel(store.keys.worker("w3"), "version", "format")
    async with api_here(store) as (client, _):
        first = await client.get("/v1/workers?limit=2")
        rest = await client.get(first.links["next"]["url"])
        seen = [*first.json()["data"], *rest.json()["data"]]
        assert [(one["id"], one["state"], one["version"]) for one in seen] == [
            ("w1", "live", __version__), ("w2", "lost", __version__), ("w3", "live", None),
        ]  # fmt: skip
        assert seen[0]["share"] == 0  # its concurrency is not told here
        drained = (await client.post("/v1/workers/w1/drain")).json()
        assert (drained["id"], drained["state"]) == ("w1", "draining")
        assert (await client.post("/v1/workers/w3/drain")).status_code == 409
        assert (await client.post("/v1/workers/nobody/drain")).status_code == 404
    with pytest.raises(Conflict, match="SIGTERM"):
        await acts.drain(store, at_the_shell(), "w3")


async def test_a_lost_one_is_listed_for_a_day_and_left_out_of_all(store: Store) -> None:
    await join(store, "w1")
    await join(store, "w2", lease_seconds=-1.0)
    await store.run(claims.sweep(0.0))
    await store.run(claims.sweep(0.0))
    assert await store.redis.zscore(store.keys.plain("workers"), "w2") is None
    (alive, lost) = await list_workers(store)
    assert [(one.id, one.host, one.state) for one in (alive, lost)] == [
        ("w1", "h", "live"),
        ("w2", "h", "lost"),
    ]
    assert await acts.chosen(store, acts.ALL) == await acts.chosen(store, "h") == [alive]
    with pytest.raises(NotFound):
        await acts.drain(store, at_the_shell(), "w2")
    await store.redis.zadd(store.keys.plain("lost"), {"w2": 1.0})
    assert await list_workers(store) == [alive]


async def test_what_a_newer_version_has_written_waits_and_says_why(store: Store, wait_until: Wait) -> None:
    bid = await load(store, {LANE: 2}, rates={LANE: 100.0})
    other = await load(store, {LANE: 2}, rates={LANE: 100.0}, first=10)
    key = store.keys.broadcast(bid)
    spec = msgspec.msgpack.decode(await store.redis.hget(key, "spec"))
    spec["content"]["voice"] = "alice"
    await store.redis.hset(key, "spec", msgspec.msgpack.encode(spec))
    twilio = Twilio()
    async with dispatching(store, twilio):

        async def paused() -> bool:
            return bool(await store.redis.hget(key, "state") == b"paused")

        await wait_until(paused)
        await wait_until(lambda: len(twilio.forms) == 2)
    reason = (await store.redis.hget(key, "reason")).decode()
    assert "newer version" in reason
    assert "does not know voice" in reason
    assert await counts(store, bid) == {State.QUEUED: 2}
    assert await counts(store, other) == {State.ACCEPTED: 2}
    await join(store)
    assert await take(store) == []


async def test_a_workers_name_that_ends_in_digits_is_no_number_to_hide(store: Store) -> None:
    await audit.record(store, at_the_shell(), "worker.drain", "vm-5832-592874")
    (entry,) = await audit.page(store, what="worker")
    assert entry.target == "vm-5832-592874"
