"""What becomes of messages whose answer never came: found in Twilio's list, sent again, or laid down."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest
from deployment import Deployment, deployment, stop
from loading import counts, load, number, records
from serving import TESTER

from broadcaster.domain.broadcast import OnDoubt
from broadcaster.domain.record import Evidence, Reason, State
from broadcaster.operations import twilio_messages as acts
from broadcaster.operations.errors import Conflict
from broadcaster.reporting.broadcasts import read_broadcast
from broadcaster.reporting.messages import read_message
from broadcaster.simulator.config import ACCOUNT_SID
from broadcaster.twilio.rest import TwilioError, TwilioRest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

LANE = "+15550000001"
SHORT = {
    "BROADCASTER_SETTLE_SECONDS": "1",
    "BROADCASTER_SETTLE_ALONE_SECONDS": "2",
    "BROADCASTER_SETTLE_EVERY_SECONDS": "1",
}
SENDERS = {LANE: 1000.0}
ENDS = ("unavailable_after", "error_after", "drop_after", "close_after", "garbage_201", "cut_body")


@asynccontextmanager
async def short(
    folder: Path, *, environment: dict[str, str] | None = None, **config: Any
) -> AsyncIterator[Deployment]:
    """A deployment with one worker whose times of settling are seconds."""
    async with deployment(folder, workers=0, **({"senders": SENDERS} | config)) as run:
        run.start_worker(**SHORT | (environment or {}))
        yield run


async def end(run: Deployment, bid: str, seconds: float = 30) -> dict[State, int]:
    """Wait until nothing of a broadcast is open."""
    open_ = (State.QUEUED, State.SENDING, State.RETRY, State.IN_DOUBT)
    await run.until(lambda c: not any(c.get(s) for s in open_), bid, timeout=seconds)
    return await counts(run.store, bid)


async def test_what_twilio_took_is_found_in_its_list_however_its_answer_was_lost(tmp_path: Path) -> None:
    faults = {number(i): {"fault": fault, "tries": 1} for i, fault in enumerate(ENDS)}
    async with short(tmp_path, recipients=faults, list_lag_seconds=0.5) as run:
        bid = await load(run.store, {LANE: 10})
        assert await end(run, bid) == {State.ACCEPTED: 10}
        assert await run.simulator.accepted() == {number(i): 1 for i in range(10)}
        found = await records(run.store, bid)
        assert [found["0.0", i].evidence for i in range(6)] == [Evidence.LIST] * 6
        assert {found["0.0", i].attempt for i in range(10)} == {1}
        listed = await run.simulator.lines("accepted")
        assert {m["to"]: m["sid"] for m in listed} == {number(i): found["0.0", i].sid for i in range(10)}
        told = await read_message(run.store, f"{bid}.0.0.0")
        assert told is not None
        assert [a.evidence for a in told[1]] == ["", "list"]


@pytest.mark.parametrize("hold", [False, pytest.param(True, marks=pytest.mark.slow)])
async def test_what_twilio_does_not_have_is_sent_again_or_held(tmp_path: Path, hold: bool) -> None:  # noqa: FBT001
    faults = {number(i): {"fault": f, "tries": 1} for i, f in enumerate(("unavailable", "drop_before"))}
    # long enough to be read while it lasts, also on a busy machine
    patience = {"BROADCASTER_SETTLE_SECONDS": "5", "BROADCASTER_SETTLE_ALONE_SECONDS": "6"}
    async with short(tmp_path, recipients=faults, environment=patience) as run:
        began = time.time()
        bid = await load(run.store, {LANE: 4}, on_doubt=OnDoubt.HOLD if hold else OnDoubt.RESEND)
        await run.until(lambda c: c == {State.IN_DOUBT: 2, State.ACCEPTED: 2}, bid)
        deadline = time.monotonic() + 10
        while (view := await read_broadcast(run.store, bid)) is None or view.search is None:
            assert time.monotonic() < deadline, f"nobody looks for evidence: {view}"
        assert view.search.absent_after is not None
        assert "2 in doubt: looking for evidence since" in view.search.words(view.in_doubt)
        assert view.summary()["in_doubt"]["absent_after"] >= began
        told = await end(run, bid)
        assert time.time() >= view.search.absent_after, "not before its time"
        found = await records(run.store, bid)
        if hold:
            assert told == {State.ACCEPTED: 2, State.DEAD: 2}
            assert {found["0.0", i].code for i in (0, 1)} == {Reason.UNKNOWN}
            assert len(await run.simulator.accepted()) == 2
        else:
            assert told == {State.ACCEPTED: 4}
            assert [(found["0.0", i].attempt, found["0.0", i].spent) for i in range(4)] == [(2, 1)] * 2 + [
                (1, 0)
            ] * 2
            assert await run.simulator.accepted() == {number(i): 1 for i in range(4)}


@pytest.mark.slow
async def test_messages_deleted_by_hand_as_soon_as_they_are_there_are_not_sent_again(tmp_path: Path) -> None:
    """While their records are being sent, in doubt or settled, whichever it is by then."""
    faults = {number(i): {"fault": fault, "tries": 1} for i, fault in enumerate(ENDS)}
    async with short(tmp_path, recipients=faults, list_lag_seconds=0.5, delivery_seconds=0.0) as run:
        bid = await load(run.store, {LANE: 10})
        gone: set[str] = set()
        async with TwilioRest(ACCOUNT_SID, (ACCOUNT_SID, "simulator"), run.simulator.url) as twilio:
            while len(gone) < len(faults) + 4:
                for message in await run.simulator.lines("accepted"):
                    if message["sid"] not in gone:
                        with suppress(Conflict, TwilioError):  # not finished there, or not decided yet here
                            await acts.delete(run.store, twilio, TESTER, message["sid"])
                            gone.add(message["sid"])
                await asyncio.sleep(0.01)
        await end(run, bid)
        assert await run.simulator.accepted() == {number(i): 1 for i in range(10)}


@pytest.mark.slow
async def test_two_broadcasts_with_the_same_text_to_the_same_person_in_doubt_at_once(tmp_path: Path) -> None:
    """Person 0: both were taken. Person 1: one of the two was. Person 2: neither was."""
    faults = {
        number(0): ["drop_after", "drop_after"],
        number(1): ["drop_after", "drop_before"],
        number(2): ["drop_before", "drop_before"],
    }
    async with short(tmp_path, recipients=faults) as run:
        bids = [await load(run.store, {LANE: 3}) for _ in range(2)]
        for bid in bids:
            assert await end(run, bid) == {State.ACCEPTED: 3}
        assert await run.simulator.accepted() == dict.fromkeys(map(number, range(3)), 2)
        both = [await records(run.store, bid) for bid in bids]
        assert len({r.sid for found in both for r in found.values()}) == 6
        attempts = [sorted(found["0.0", i].attempt for found in both) for i in range(3)]
        assert attempts == [[1, 1], [1, 2], [2, 2]], "exactly the absent ones are sent again"


@pytest.mark.slow
async def test_a_list_that_is_not_whole_is_no_evidence_of_absence(tmp_path: Path) -> None:
    faults = {number(0): {"fault": "drop_before", "tries": 1}}
    async with short(tmp_path, recipients=faults, list_fail_from_page=-1) as run:
        bid = await load(run.store, {LANE: 2})
        await run.until(lambda c: c == {State.IN_DOUBT: 1, State.ACCEPTED: 1}, bid)
        began = time.monotonic()
        while time.monotonic() - began < 3.5:
            assert await counts(run.store, bid) == {State.IN_DOUBT: 1, State.ACCEPTED: 1}
        assert "list.unread" in run.logs()
        await run.simulator.configure(list_fail_from_page=0)
        assert await end(run, bid) == {State.ACCEPTED: 2}


@pytest.mark.slow
async def test_late_evidence_of_the_first_attempt_is_a_duplicate_that_is_counted(tmp_path: Path) -> None:
    faults = {number(0): ["drop_after", "drop_after"]}
    async with short(tmp_path, recipients=faults, list_lag_seconds=1000) as run:
        bid = await load(run.store, {LANE: 1})
        while (await records(run.store, bid))["0.0", 0].attempt < 2:
            assert "Traceback" not in run.logs()
        await run.until(lambda c: c == {State.IN_DOUBT: 1}, bid)
        await run.simulator.configure(list_lag_seconds=0)
        assert await end(run, bid) == {State.ACCEPTED: 1}
        assert (await run.simulator.accepted())[number(0)] == 2, "a lag longer than our patience"
        assert "duplicate.caused" in run.logs()
        (one,) = (await records(run.store, bid)).values()
        listed = await run.simulator.lines("accepted")
        assert one.attempt == 2
        assert one.sid in {m["sid"] for m in listed}


@pytest.mark.slow
async def test_a_killed_workers_doubts_are_settled_once_it_is_seen_to_be_gone(tmp_path: Path) -> None:
    async with short(tmp_path, latency_ms=1500) as run:
        bid = await load(run.store, {LANE: 80}, rates=SENDERS)
        await run.until(lambda c: c.get(State.SENDING, 0) >= 40, bid)
        stop(run.workers[0], signal.SIGKILL)
        await run.simulator.configure(latency_ms=1)
        run.start_worker(**SHORT)
        assert await end(run, bid, 40) == {State.ACCEPTED: 80}
        assert await run.simulator.accepted() == {number(i): 1 for i in range(80)}
        assert "owner.gone" in run.logs()


@pytest.mark.slow
async def test_a_stopped_workers_doubts_are_not_sent_again_while_it_may_still_send(tmp_path: Path) -> None:
    gone = {"BROADCASTER_OWNER_GONE_SECONDS": "900"}
    faults = {number(i): {"fault": "hang_before", "tries": 1} for i in range(5)}
    async with short(tmp_path, recipients=faults, environment=gone) as run:
        bid = await load(run.store, {LANE: 5})
        while (await run.simulator.counts())["in_flight"] < 5:  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.01)
        run.workers[0].send_signal(signal.SIGSTOP)
        run.start_worker(**SHORT | gone)
        await run.until(lambda c: c == {State.IN_DOUBT: 5}, bid)
        began = time.monotonic()
        while time.monotonic() - began < 3.5:
            assert await counts(run.store, bid) == {State.IN_DOUBT: 5}
        view = await read_broadcast(run.store, bid)
        assert view is not None
        assert view.search is not None
        assert view.search.owners == 5
        run.workers[0].kill()
        run.workers[0].wait()
        assert await end(run, bid) == {State.ACCEPTED: 5}
        assert await run.simulator.accepted() == {number(i): 1 for i in range(5)}


@pytest.mark.slow
async def test_what_is_in_doubt_past_its_time_is_not_sent_again(
    tmp_path: Path,
) -> None:
    faults = {number(0): {"fault": "drop_before", "tries": 1}}
    async with short(tmp_path, recipients=faults) as run:
        bid = await load(run.store, {LANE: 2}, expires_at=time.time() + 60)
        await run.until(lambda c: c == {State.IN_DOUBT: 1, State.ACCEPTED: 1}, bid)
        await run.store.redis.hset(run.store.keys.broadcast(bid), "expires", "1")
        assert await end(run, bid) == {State.ACCEPTED: 1, State.SKIPPED: 1}
        found = (await records(run.store, bid))["0.0", 0]
        assert (found.state, found.code, found.attempt) == (State.SKIPPED, Reason.EXPIRED, 1)


@pytest.mark.slow
@pytest.mark.timeout(150)
async def test_an_answer_that_never_comes_is_doubt_too(tmp_path: Path) -> None:
    """The shortest read timeout there is takes 30 seconds."""
    faults = {number(i): {"fault": f, "tries": 1} for i, f in enumerate(("hang_after", "hang_before"))}
    patience = {"BROADCASTER_READ_TIMEOUT_SECONDS": "30"}
    async with short(tmp_path, recipients=faults, environment=patience) as run:
        bid = await load(run.store, {LANE: 3})
        assert await end(run, bid, 90) == {State.ACCEPTED: 3}
        assert await run.simulator.accepted() == {number(i): 1 for i in range(3)}
