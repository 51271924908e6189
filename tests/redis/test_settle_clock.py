from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest
from test_settle_rounds import AT_ONCE, doubtful, scene

from broadcaster.ledger.doubts import read_doubts
from workers.listing import Listing

if TYPE_CHECKING:
    from broadcaster.store.connection import Store


async def test_many_doubts_to_read_do_not_set_our_clock_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else Twilio's seems ahead of it, and an attempt's own message counts as an earlier one's."""
    behind: list[float] = []

    class Watched(Listing):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            behind.append(time.time() - self.now())

    async def slowly(*given: Any) -> Any:
        found = await read_doubts(*given)
        await asyncio.sleep(0.5)  # a slow Redis
        return found

    monkeypatch.setattr("workers.settling.Listing", Watched)
    monkeypatch.setattr("workers.settling.read_doubts", slowly)
    async with scene(store) as it:
        await doubtful(store)
        await it.round(AT_ONCE)
    assert behind[0] < 0.4


@pytest.mark.slow
async def test_a_stalled_question_for_the_time_does_not_set_our_clock_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind: list[float] = []

    class Watched(Listing):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            behind.append(time.time() - self.now())

    asked, stalls = store.redis.time, iter((0.6, 0.6))

    async def stalled() -> Any:
        found = await asked()
        await asyncio.sleep(next(stalls, 0))  # a slow network, on the way back
        return found

    monkeypatch.setattr("workers.settling.Listing", Watched)
    async with scene(store) as it:
        await doubtful(store)
        monkeypatch.setattr(store.redis, "time", stalled)
        await it.round(AT_ONCE)
    assert behind[0] < 0.2
