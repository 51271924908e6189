from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from driving import LANE
from loading import counts, load, number
from test_settle_rounds import AT_ONCE, Scene, doubtful, scene

from broadcaster.domain.record import State
from broadcaster.ledger.doubts import read_doubts
from broadcaster.ledger.rewinding import rewind
from broadcaster.store.dumping import CLOCKS_DIFFER_SECONDS, note_backup, unknown_since
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


#: By so much Redis' clock is ahead of Twilio's at first.
AHEAD = 30.0


def set_right(it: Scene) -> None:
    """Let it look as if ours had been set right: by Twilio's clock what was sent is of as long ago as before."""
    for message in it.world.messages:
        message.created -= AHEAD
    it.world.config = msgspec.structs.replace(it.world.config, clock_skew_seconds=0.0)


@pytest.mark.parametrize("then", ["as it was", "set right"])
async def test_a_message_is_found_though_the_clock_was_set_back_since(store: Store, then: str) -> None:
    async with scene(store, clock_skew_seconds=-AHEAD) as it:
        bid = await doubtful(store)
        await it.post(number(0))
        if then == "set right":
            set_right(it)
            seconds, _ = await store.redis.time()
            await store.redis.hset(store.keys.plain("clock"), "last", int((seconds + AHEAD) * 1e6))
        await it.round()
        assert await counts(store, bid) == {State.ACCEPTED: 1}


@pytest.mark.parametrize("then", ["as it was", "set right"])
async def test_what_was_sent_right_after_a_backup_by_a_clock_that_was_ahead_is_found(
    store: Store, then: str
) -> None:
    async with scene(store, clock_skew_seconds=-AHEAD) as it:
        bid = await load(store, {LANE: 1})
        taken = await note_backup(store)
        await it.post(number(0))
        await store.guard.look(rewind_to=await unknown_since(store, taken), workers_gone=True)
        assert await rewind(store) is not None
        assert await counts(store, bid) == {State.IN_DOUBT: 1}
        if then == "set right":
            set_right(it)
        await it.round()
        assert await counts(store, bid) == {State.ACCEPTED: 1}


async def test_a_backup_of_a_time_that_is_yet_to_come_was_taken_by_now(store: Store) -> None:
    now, _ = await store.redis.time()
    assert await unknown_since(store, now + 3600) in (
        now - CLOCKS_DIFFER_SECONDS,
        now + 1 - CLOCKS_DIFFER_SECONDS,
    )
