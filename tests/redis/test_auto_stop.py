"""A campaign that goes wrong stops itself: at its edges, in words, and anew after a resume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from driving import LANE, SID, ask, join, result, take, tell
from loading import counts, load

from broadcaster.domain.failures import Remedy
from broadcaster.domain.record import Reason, State
from broadcaster.lanes import claims, control
from broadcaster.ledger.callbacks import Status, write_statuses
from broadcaster.reporting.broadcasts import read_broadcast
from broadcaster.store.scripts import read_script, unpacked
from broadcaster.twilio.codes import CODES, explain_reason

if TYPE_CHECKING:
    from broadcaster.lanes.claims import Slice
    from broadcaster.ledger.recording import Recorded
    from broadcaster.store.connection import Store

OK = (State.ACCEPTED, 0)
BAD = (State.DEAD, 21211)
FAST = {LANE: 100_000.0}


class Campaign:
    """A broadcast whose next outcomes are told as a test wants them, each record one."""

    def __init__(self, store: Store, bid: str) -> None:
        self.store = store
        self.bid = bid
        self.held: list[tuple[Slice, list[int]]] = []

    async def next(self, *outcomes: tuple[State, int], apart: bool = False) -> list[tuple[str, str]]:
        """Tell outcomes, all in as few calls as there are batches, or each in a call of its own."""
        told: list[Recorded] = []
        left = list(outcomes)
        while left:
            if not self.held:
                await self._claim()
            held, rows = self.held[0]
            size = 1 if apart else min(len(left), len(rows))
            some, left = left[:size], left[size:]
            named = [
                result(row, 1, state, code=code, sid=SID if state is State.ACCEPTED else b"")
                for row, (state, code) in zip(rows, some, strict=False)
            ]
            told.append(await tell(self.store, held, named))
            del rows[: len(some)]
            if not rows:
                self.held.pop(0)
                await self.store.run(claims.release("w1", [held.claim]))
        return [pause for one in told for pause in one.paused]

    async def _claim(self) -> None:
        for held in await take(self.store, horizon_seconds=10.0):
            assert (await ask(self.store, held)).yes == "1" * len(held.items)
            self.held.append((held, [item.row for item in held.items]))

    async def state(self) -> tuple[str, str]:
        view = await read_broadcast(self.store, self.bid)
        assert view is not None
        return view.state, view.state_reason


async def campaign(store: Store, size: int = 1500) -> Campaign:
    await join(store)
    return Campaign(store, await load(store, {LANE: size}, rates=FAST, batch=500))


@pytest.mark.parametrize("apart", [False, True])
async def test_more_than_a_fifth_of_a_hundred_stops_it_and_a_fifth_does_not(
    store: Store,
    apart: bool,  # noqa: FBT001
) -> None:
    one = await campaign(store)
    assert await one.next(*[BAD] * 20, *[OK] * 79, apart=apart) == []
    assert await one.next(OK) == []  # 20 of 100: a fifth, not more
    assert await one.next(*[OK] * 4) == []
    assert await one.next(BAD) == []  # 21 of 105: a fifth again
    assert await one.next(BAD) == [(one.bid, "failures:20:106:21211")]
    assert (await one.state())[0] == "paused"


async def test_nothing_is_judged_before_a_hundred_outcomes(store: Store) -> None:
    one = await campaign(store)
    assert await one.next(*[BAD] * 99) == []
    assert await one.next(BAD) == [(one.bid, "failures:100:100:21211")]
    assert await one.state() == (
        "paused",
        f"100 % of the last 100 failed, most with 21211: {CODES[21211].meaning}",
    )


async def test_the_hundredth_outcome_may_be_a_success(store: Store) -> None:
    one = await campaign(store)
    assert await one.next(*[BAD] * 40, *[OK] * 30) == []
    assert await one.next(*[OK] * 29) == []
    assert await one.next(OK) == [(one.bid, "failures:40:100:21211")]


@pytest.mark.parametrize("successes", [449, 450, 451, 499, 500, 501, 1234])
async def test_successes_count_alike_however_they_are_told(store: Store, successes: int) -> None:
    """A call with successes only adds them up; told one by one among failures they fill the same buckets."""
    told, windows = [], []
    for failures_first in (False, True):
        one = await campaign(store, size=1500)
        if failures_first:
            await one.next((State.DEAD, 30003), *[OK] * (successes % 50))
            await one.next(*[OK] * (successes - successes % 50 - 1))
        else:
            await one.next(*[OK] * successes)
        told.append(await one.next(*[BAD] * 60))
        windows.append(await store.redis.hget(store.keys.broadcast(one.bid), "window"))
        await store.run(claims.leave("w1"))
        await store.run(control.cancel(one.bid, "a test"))
    assert told == [[], []]
    sums = [[bucket[:2] for bucket in unpacked(raw)] for raw in windows]
    if successes > 500:
        assert sums[0] == sums[1]
    assert [sum(n for n, _ in one) for one in sums] == [
        min(successes + 60, 450 + (successes + 59) % 50 + 1)
    ] * 2


async def test_what_lies_before_the_last_five_hundred_is_forgotten(store: Store) -> None:
    one = await campaign(store, size=3000)
    assert await one.next(*[OK] * 1000) == []
    for _ in range(2):
        assert await one.next(*[BAD] * 50) == []
    assert await one.next(BAD) == [(one.bid, "failures:22:451:21211")]
    window = await store.redis.hget(store.keys.broadcast(one.bid), "window")
    assert window is not None
    assert len(window) < 200


async def test_the_code_that_most_failed_with_is_named(store: Store) -> None:
    one = await campaign(store)
    told = await one.next(*[OK] * 77, *[(State.DEAD, 30003)] * 8, *[(State.DEAD, 21614)] * 15)
    assert told == [(one.bid, "failures:23:100:21614")]
    assert (await one.state())[1].startswith("23 % of the last 100 failed, most with 21614: not a mobile")


@pytest.mark.parametrize("code", [21610, int(Reason.UNKNOWN)])
async def test_opt_outs_and_unsettled_doubt_do_not_count(store: Store, code: int) -> None:
    one = await campaign(store)
    assert await one.next(*[(State.DEAD, code)] * 200) == []
    assert await one.next(*[BAD] * 99) == []
    assert len(await one.next(BAD)) == 1


def test_every_opt_out_code_is_known_to_the_script() -> None:
    known = {code.code for code in CODES.values() if code.remedy is Remedy.OPT_OUT}
    (line,) = [text for text in read_script("record").splitlines() if text.startswith("local UNCOUNTED")]
    assert all(f"[{code}] = true" in line for code in known)
    assert line.count("= true") == len(known) + 3


async def test_waiting_and_doubtful_messages_are_no_outcomes(store: Store) -> None:
    one = await campaign(store)
    assert await one.next(*[(State.RETRY, 429)] * 50, *[(State.IN_DOUBT, 6)] * 50) == []
    assert await one.next(*[BAD] * 99) == []
    assert len(await one.next(BAD)) == 1


async def test_resuming_counts_anew(store: Store) -> None:
    one = await campaign(store)
    assert len(await one.next(*[BAD] * 100)) == 1
    assert await one.next(*[OK] * 10) == []  # were in flight
    one.held.clear()
    assert await store.run(control.resume(one.bid)) == "ok"
    assert await store.redis.hget(store.keys.broadcast(one.bid), "window") is None
    assert await one.next(*[BAD] * 99) == []
    assert len(await one.next(BAD)) == 1


async def test_an_outcome_told_twice_counts_once(store: Store) -> None:
    one = await campaign(store)
    await one._claim()
    held, rows = one.held[0]
    assert len(rows) >= 60
    bad = [result(row, 1, State.DEAD, code=21211) for row in rows[:60]]
    assert (await tell(store, held, bad, twice=True)).paused == []


async def test_what_has_nothing_left_to_send_completes(store: Store) -> None:
    one = await campaign(store, size=150)
    assert await one.next(*[OK] * 99, *[BAD] * 51) == []
    assert await one.state() == ("completed", "")
    assert await counts(store, one.bid) == {State.ACCEPTED: 99, State.DEAD: 51}


async def test_what_became_of_what_twilio_took_is_judged_by_itself(store: Store) -> None:
    one = await campaign(store)
    await one._claim()
    held, rows = one.held[0]
    rows = rows[:100]
    accepted = [result(row, 1, State.ACCEPTED, sid=SID) for row in rows]
    await tell(store, held, accepted)
    failed = [result(row, 1, State.UNDELIVERED, code=30007, sid=SID) for row in rows]
    delivered = [result(row, 1, State.DELIVERED, sid=SID) for row in rows[21:]]
    assert (await tell(store, held, delivered)).paused == []
    assert (await tell(store, held, failed[:20], twice=True)).paused == []
    assert (await tell(store, held, failed[20:21])).paused == [(one.bid, "failures:21:100:30007")]


@pytest.mark.parametrize(("failures", "stops"), [(150, False), (300, True)])
async def test_what_is_told_late_is_judged_by_itself(store: Store, failures: int, stops: bool) -> None:  # noqa: FBT001
    """Callbacks that could not be taken for a while come all at once, beside few acceptances or none."""
    one = await campaign(store)
    await one.next(*[OK] * 1000)
    age = 600
    for batch in ("0.0", "0.1"):
        key = store.keys.ledger(one.bid, batch)
        raw = bytearray(await store.redis.get(key))
        for row in range(500):
            began = int.from_bytes(raw[row * 32 + 24 : row * 32 + 28], "big")
            raw[row * 32 + 24 : row * 32 + 28] = (began - age).to_bytes(4, "big")
        await store.redis.set(key, bytes(raw))
    ends = ["undelivered" if row % (1000 // failures) == 0 else "delivered" for row in range(1000)]
    told = await store.run(
        write_statuses(
            Status(one.bid, f"0.{row // 500}", row % 500, 1, "SM" + SID.hex(), end, 30005 * (end[0] == "u"))
            for row, end in enumerate(ends)
        )
    )
    assert [broadcast for broadcast, _ in told.paused] == [one.bid] * stops


async def test_the_rule_can_be_set(store: Store) -> None:
    one = await campaign(store)
    assert await store.run(control.set_stop_rule(0.5, after=10, window=20)) == 1
    assert await one.next(*[OK] * 5, *[BAD] * 5) == []
    assert await one.next(BAD) == [(one.bid, "failures:54:11:21211")]
    await store.run(control.set_stop_rule(1.0, after=10, window=20))
    await store.run(control.resume(one.bid))
    assert await one.next(*[BAD] * 100) == []


def test_reasons_in_words() -> None:
    assert explain_reason("lunch: 12:30") == "lunch: 12:30"
    assert explain_reason("content:21617").startswith("its content is refused, 21617: the body is longer")
    assert "12 % of the last 500 failed, most with 30003" in explain_reason("failures:12:500:30003")


async def test_a_content_run_stops_it_first(store: Store) -> None:
    one = await campaign(store)
    await one._claim()
    held, rows = one.held[0]
    await tell(store, held, [result(row, 1, State.DEAD, code=21211) for row in rows[:99]])
    told: Any = await tell(
        store, held, [result(r, 1, State.DEAD, code=21617, content=1) for r in rows[99:119]]
    )
    ((bid, reason),) = told.paused
    assert (bid, reason.split(":")[0]) == (one.bid, "content")
