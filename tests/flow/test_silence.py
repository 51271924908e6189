"""Twilio silent, seen by one worker in this process: what it holds back, what it tries, when it goes on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from dispatching import dispatching
from loading import counts, load, records
from test_review import Twilio

from broadcaster.domain.failures import Kind, Outcome
from broadcaster.domain.record import State
from workers import allowance

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from broadcaster.store.connection import Store

    Wait = Callable[..., Awaitable[Any]]

LANE = "+15550000001"
UNKNOWN = Outcome(Kind.UNKNOWN, code=20500, http_status=500)
THROTTLED = Outcome(Kind.THROTTLED, code=20429, http_status=429)
REFUSED = Outcome(Kind.REJECTED, code=21211, http_status=400)


class Answering(Twilio):
    """Answers each POST once `open` is set, as `says` is then; None: accepts."""

    def __init__(self, says: Outcome | None = None) -> None:
        super().__init__()
        self.says = says
        self.waiting = 0

    async def post(self, form: bytes) -> Outcome:
        self.waiting += 1
        accepted = await super().post(form)
        self.waiting -= 1
        return self.says or accepted


async def in_doubt(store: Store, bid: str) -> int:
    return (await counts(store, bid)).get(State.IN_DOUBT, 0)


async def is_silent(store: Store) -> bool:
    return bool(await store.redis.hget(store.keys.plain("account"), "silent"))


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(None, id="accepted"),
        pytest.param(THROTTLED, id="throttled", marks=pytest.mark.slow),
        pytest.param(REFUSED, id="refused", marks=pytest.mark.slow),
    ],
)
async def test_twenty_unknowns_stop_everything_but_a_probe_and_any_answer_goes_on(
    store: Store, wait_until: Wait, answer: Outcome | None
) -> None:
    twilio = Answering(UNKNOWN)
    bid = await load(store, {LANE: 1_000})
    async with dispatching(store, twilio, concurrency=8):
        await wait_until(lambda: is_silent(store))
        tried = len(twilio.forms)
        assert tried <= 20 + 8, "those in flight"
        await wait_until(lambda: len(twilio.forms) >= tried + 2, timeout=5)
        assert (await counts(store, bid)).get(State.SENDING, 0) <= 1
        burnt = len(twilio.forms)
        twilio.says = answer
        await wait_until(lambda: ended(store), timeout=5)
        twilio.says = None
        await wait_until(lambda: none_left(store, bid), timeout=20)
        assert await in_doubt(store, bid) <= burnt
        spent = [r.spent for r in (await records(store, bid)).values() if r.state is State.ACCEPTED]
        assert set(spent) == {0}, "who was turned back has spent nothing"


async def ended(store: Store) -> bool:
    return not await is_silent(store)


async def none_left(store: Store, bid: str) -> bool:
    found = await counts(store, bid)
    return not any(found.get(state) for state in (State.QUEUED, State.RETRY, State.SENDING))


async def test_silence_is_noticed_before_the_first_timeout(
    store: Store, wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No answer comes, though none has timed out: no more leave than what a while of waiting takes."""
    monkeypatch.setattr(allowance, "QUIET_SECONDS", 0.6)
    twilio = Answering()
    twilio.open.clear()
    bid = await load(store, {LANE: 300}, rates={LANE: 100.0})
    async with dispatching(store, twilio, concurrency=256):
        await wait_until(lambda: is_silent(store))
        waiting = twilio.waiting
        assert waiting <= 100
        await asyncio.sleep(1.2)  # probes, which hang as well
        assert twilio.waiting <= waiting + 3
        twilio.open.set()
        await wait_until(lambda: ended(store), timeout=5)
        await wait_until(lambda: none_left(store, bid), timeout=20)
        assert await counts(store, bid) == {State.ACCEPTED: 300}


@pytest.mark.slow
async def test_what_timed_out_of_before_opens_nothing_again(
    store: Store, wait_until: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests of the silence end as unknown long after a probe was answered: the sending goes on."""
    monkeypatch.setattr(allowance, "QUIET_SECONDS", 0.3)
    hung: list[asyncio.Event] = []

    class Hanging(Answering):
        silent = True

        async def post(self, form: bytes) -> Outcome:
            if not self.silent:
                return await super().post(form)
            hung.append(asyncio.Event())
            await hung[-1].wait()
            return UNKNOWN

    twilio = Hanging()
    bid = await load(store, {LANE: 400}, rates={LANE: 100.0})
    async with dispatching(store, twilio, concurrency=128):
        await wait_until(lambda: is_silent(store))
        twilio.silent = False
        await wait_until(lambda: ended(store), timeout=5)
        assert len(hung) >= 20
        for event in hung:
            event.set()
        await wait_until(lambda: in_doubt_are(store, bid, len(hung)), timeout=5)
        assert not await is_silent(store)
        await wait_until(lambda: none_left(store, bid), timeout=20)
        assert not await is_silent(store)


async def in_doubt_are(store: Store, bid: str, count: int) -> bool:
    return await in_doubt(store, bid) >= count


async def test_a_storm_of_429s_is_met_with_few_tries(store: Store, wait_until: Wait) -> None:
    """One at a time, with a rest after each that doubles up to a second."""
    twilio = Answering(THROTTLED)
    bid = await load(store, {LANE: 400})
    async with dispatching(store, twilio, concurrency=16):
        await wait_until(lambda: len(twilio.forms) >= 3)
        await asyncio.sleep(1.0)  # the storm
        assert len(twilio.forms) <= 16 + 5
        twilio.says = None
        await wait_until(lambda: none_left(store, bid), timeout=20)
        assert await counts(store, bid) == {State.ACCEPTED: 400}
