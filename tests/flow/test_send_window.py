"""Send windows with a real worker: outside its hours nothing leaves, then it goes by itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from deployment import deployment
from faked_clock import clocked_servers, faketime_library
from loading import counts, load

from broadcaster.domain.record import State
from broadcaster.domain.send_window import SendWindow
from broadcaster.reporting.broadcasts import read_broadcast

if TYPE_CHECKING:
    from pathlib import Path

LANE, OTHER = "+15550000001", "+15550000002"
LEFT_SECONDS = 8
DAY_MINUTES = 1440


@pytest.mark.slow
@pytest.mark.skipif(faketime_library() is None, reason="libfaketime is not installed")
async def test_it_sends_between_its_hours_only_and_needs_nobody_for_that(tmp_path: Path) -> None:
    """Redis' clock is put just before the minute at which one opens and the other closes."""
    with clocked_servers(tmp_path) as clock:
        senders = {LANE: 1000.0, OTHER: 10.0}
        async with deployment(tmp_path, workers=0, senders=senders) as run:
            minute = int(time.time() // 60) + 1
            clock.step(int(minute * 60 - time.time()) - LEFT_SECONDS)
            run.start_worker()
            opening = SendWindow(minute % DAY_MINUTES, (minute + 60) % DAY_MINUTES, "UTC")
            closing = SendWindow((minute - 60) % DAY_MINUTES, minute % DAY_MINUTES, "UTC")
            waits = await load(run.store, {LANE: 50}, send_window=opening)
            stops = await load(run.store, {OTHER: 500}, rates={OTHER: 10.0}, send_window=closing, first=50)
            view = await read_broadcast(run.store, waits)
            assert view is not None
            assert view.state_reason.startswith(f"outside its send window {str(opening)[:5]}")
            await run.until(lambda c: c.get(State.ACCEPTED, 0) >= 1, stops)
            assert await counts(run.store, waits) == {State.QUEUED: 50}
            await run.until(lambda c: c == {State.ACCEPTED: 50}, waits)
            at = int(await run.store.redis.hget(run.store.keys.broadcast(waits), "finished"))
            assert at >= minute * 60
            # the other one has come to its end for today: no more than what was under way
            view = await read_broadcast(run.store, stops)
            assert view is not None
            assert view.state_reason.startswith("outside its send window")
            await run.until(lambda c: not c.get(State.SENDING), stops)
            sent = await counts(run.store, stops)
            assert 1 <= sent[State.ACCEPTED] <= 10 * (LEFT_SECONDS + 2)
