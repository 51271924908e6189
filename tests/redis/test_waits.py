"""What each sender of a broadcast waits for, and what stops all of it, from its summary."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from driving import LANE, OTHER, join, take
from loading import load

from broadcaster.cli.waiting import settled, stop_reason, waits_for_worker
from broadcaster.lanes import control
from broadcaster.reporting.broadcasts import read_broadcast

if TYPE_CHECKING:
    from broadcaster.store.connection import Store


async def summary(store: Store, broadcast: str) -> dict[str, Any]:
    view = await read_broadcast(store, broadcast)
    assert view is not None
    return view.summary()


async def test_only_senders_with_something_left_wait(store: Store) -> None:
    bid = await load(store, {LANE: 2, OTHER: 2}, rates={LANE: 1e5, OTHER: 1e5})
    await store.run(control.pause_lane(OTHER, "quota"))
    now = await summary(store, bid)
    assert now["waits_for"][OTHER] == "paused: quota"
    assert now["waits_for"][LANE].startswith("no worker is running")
    assert (waits_for_worker(now), stop_reason(now), settled(now)) == (True, "", False)
    await join(store)
    assert (await summary(store, bid))["waits_for"] == {LANE: "its pace of 100000/s", OTHER: "paused: quota"}
    while await take(store, horizon_seconds=1.0):
        pass  # all of it is with the worker now
    now = await summary(store, bid)
    assert now["waits_for"] == {OTHER: "paused: quota"}
    assert stop_reason(now) == (
        f"sender {OTHER} is stopped: quota (go on with: broadcaster senders resume {OTHER})"
    )
    await store.run(control.pause_account("wrong list"))
    now = await summary(store, bid)
    assert now["waits_for"] == dict.fromkeys((LANE, OTHER), "everything is stopped: wrong list")
    assert stop_reason(now) == "everything is stopped: wrong list (go on with: broadcaster resume)"


async def test_drafts_and_ended_ones(store: Store) -> None:
    bid = await load(store, {LANE: 2}, begin=False)
    assert "a draft, not started" in stop_reason(await summary(store, bid))
    await store.run(control.start(bid))
    assert stop_reason(await summary(store, bid)) == ""
    await store.run(control.pause(bid, "typo"))
    now = await summary(store, bid)
    assert stop_reason(now) == f"paused: typo (go on with: broadcaster broadcasts resume {bid})"
    assert now["waits_for"] == {LANE: "the broadcast is paused: typo"}
    await store.run(control.cancel(bid, ""))
    now = await summary(store, bid)
    assert (stop_reason(now), settled(now)) == ("canceled: by request", True)
