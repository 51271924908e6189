"""What people do to broadcasts, senders and everything has a line in the log, which says who did it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog
from driving import LANE
from loading import load

from broadcaster.operations import broadcasts, everything, lanes
from broadcaster.operations.actor import Actor

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

ME = Actor("key:k1 shop", "10.0.0.7")


async def test_acts_have_lines_once(store: Store) -> None:
    bid = await load(store, {LANE: 3}, begin=False)
    structlog.reset_defaults()
    with structlog.testing.capture_logs() as lines:
        await broadcasts.start(store, ME, bid)
        await broadcasts.pause(store, ME, bid, "typo")
        await broadcasts.pause(store, ME, bid, "again")
        await broadcasts.resume(store, ME, bid)
        await broadcasts.cancel(store, ME, bid)
        await everything.pause(store, ME, "all")
        await everything.resume(store, ME)
        await lanes.pause(store, ME, LANE)
        await lanes.resume(store, ME, LANE)
    assert [line["event"] for line in lines] == [
        "broadcast.started", "broadcast.paused", "broadcast.resumed", "broadcast.canceled",
        "everything.paused", "everything.resumed", "lane.paused", "lane.resumed",
    ]  # fmt: skip
    assert {line["actor"] for line in lines} == {ME.who}
    assert [line["broadcast"] for line in lines[:4]] == [bid] * 4
    assert (lines[1]["was"], lines[1]["reason"]) == ("running", "typo")
    assert {line["log_level"] for line in lines} == {"info"}
