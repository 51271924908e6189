"""Send windows in Redis: what is outside leaves nothing, says why, and goes on by itself."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from driving import LANE, OTHER, SID, ask, everything, join, result, send_all, take, tell
from loading import counts, load, records
from msgspec.structs import replace
from structlog.testing import CapturingLogger

from broadcaster.cli.waiting import settled, stop_reason
from broadcaster.domain.broadcast import BroadcastSpec
from broadcaster.domain.content import Content
from broadcaster.domain.openings import openings_text, opens_at
from broadcaster.domain.record import State
from broadcaster.domain.send_window import SendWindow
from broadcaster.intake.refusals import WindowMissedError
from broadcaster.intake.submit import check_hours
from broadcaster.lanes import claims, control
from broadcaster.lanes.windows import keep, keep_ahead
from broadcaster.ledger.replaying import find_letters, replay
from broadcaster.ledger.rewinding import rewind
from broadcaster.ledger.settling import Verdict, settle
from broadcaster.reporting.broadcasts import read_broadcast
from workers import jobs
from workers.jobs import end_expired, keep_windows, start_due
from workers.redis_clock import look_at_clock

if TYPE_CHECKING:
    from broadcaster.store.connection import Store


def hours(begin: float, end: float) -> SendWindow:
    """A window that opens and closes so many hours from now."""
    now = datetime.now(UTC)
    minute = now.hour * 60 + now.minute
    return SendWindow(int(minute + begin * 60) % 1440, int(minute + end * 60) % 1440, "UTC")


OPEN, CLOSED = hours(-5, 5), hours(5, 10)


async def windows(store: Store, bid: str, *openings: tuple[float, float]) -> str:
    """Let a broadcast have these openings, in seconds from now."""
    now = int(time.time())
    text = ",".join(f"{int(now + a)}:{int(now + b)}" for a, b in openings)
    return (await store.run(keep([(bid, text)])))[0]


async def test_outside_its_window_nothing_is_claimed_and_inside_all_goes(store: Store) -> None:
    bid = await load(store, {LANE: 3, OTHER: 1}, send_window=CLOSED)
    await join(store)
    assert await take(store, horizon_seconds=30.0) == []
    later = await store.redis.zscore(store.keys.lane(LANE, ":later"), bid)
    opens = int((await store.redis.hget(store.keys.broadcast(bid), "windows")).split(b":")[0])
    assert later == opens * 1e6
    assert await store.redis.zscore(store.keys.plain("due"), LANE) == later
    other = await load(store, {LANE: 2}, send_window=OPEN)
    assert await send_all(store) == 2
    assert await counts(store, other) == {State.ACCEPTED: 2}
    assert await windows(store, bid, (-10, 60), (90, 99)) == ""
    assert await send_all(store) == 4
    assert await store.redis.hget(store.keys.broadcast(bid), "state") == b"completed"


async def test_the_gate_lets_nothing_pass_after_closing_time(store: Store) -> None:
    bid = await load(store, {LANE: 3}, send_window=OPEN)
    await join(store)
    (held,) = await take(store, horizon_seconds=5.0)
    assert (await ask(store, held, held.items[:1])).yes == "1"
    assert await windows(store, bid, (-60, 0), (3600, 7200)) == "closed"
    assert await ask(store, held, held.items[1:]) == claims.Verdict("window", "")
    assert (await ask(store, held, held.items[:1])).refused == "window", "nobody may ask again, either"
    # what was under way counts
    assert (await tell(store, held, [result(0, 1, State.ACCEPTED, sid=SID)])).changed == 1
    await store.run(claims.release("w1", [held.claim]))
    assert await take(store, horizon_seconds=30.0) == []
    assert await windows(store, bid, (-1, 60)) == "open"
    assert await send_all(store) == 2


async def test_openings_that_are_used_up_let_nothing_leave(store: Store) -> None:
    bid = await load(store, {LANE: 1}, send_window=OPEN)
    await join(store)
    await windows(store, bid, (-60, -30))
    assert await take(store, horizon_seconds=30.0) == []
    later = await store.redis.zscore(store.keys.lane(LANE, ":later"), bid)
    assert 50 < later / 1e6 - time.time() <= 60, "it is looked at again before long"
    assert [one.opens for one in await keep_ahead(store)] == [None]
    assert await send_all(store) == 1


async def test_whoever_keeps_them_ahead_says_once_that_one_waits_or_goes_on(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged = CapturingLogger()
    monkeypatch.setattr(jobs, "log", logged)
    bid = await load(store, {LANE: 1}, send_window=CLOSED)
    await load(store, {OTHER: 1})
    for _ in range(2):
        await keep_windows({"store": store})
    (line,) = logged.calls
    assert line.args == ("broadcast.window_closed",)
    assert line.kwargs["reason"].startswith("outside its send window")
    await windows(store, bid, (-9, 9))
    (news,) = await keep_ahead(store)
    assert (news.broadcast, news.window) == (bid, CLOSED)
    assert news.opens is not None
    before = await everything(store)
    assert await keep_ahead(store) == []
    assert await everything(store) == before
    await windows(store, bid, (-9, 9))
    assert await windows(store, bid, (-9, 9)) == ""
    await store.run(control.cancel(bid, ""))
    await keep_ahead(store)
    assert not await store.redis.exists(store.keys.plain("windowed"))


async def test_a_draft_and_a_scheduled_one_have_theirs_kept_ahead(store: Store) -> None:
    for begin, schedule_in in ((False, None), (True, 3600.0)):
        bid = await load(store, {LANE: 1}, send_window=OPEN, begin=begin, schedule_in=schedule_in)
        await windows(store, bid, (-60, -30))
        assert await keep_ahead(store) == []
        kept = await store.redis.hget(store.keys.broadcast(bid), "windows")
        assert kept.decode() == openings_text(OPEN, time.time())


async def test_a_retry_waits_for_the_window_too(store: Store) -> None:
    bid = await load(store, {LANE: 1}, send_window=OPEN)
    await join(store)
    (held,) = await take(store)
    await ask(store, held)
    await windows(store, bid, (-60, 0), (3600, 7200))
    await tell(store, held, [result(0, 1, State.RETRY, code=429)])
    await store.run(claims.release("w1", [held.claim]))
    assert await take(store, horizon_seconds=30.0) == []
    await windows(store, bid, (-1, 60))
    assert await send_all(store) == 1


async def test_paused_and_resumed_it_keeps_to_its_window(store: Store) -> None:
    bid = await load(store, {LANE: 1}, send_window=CLOSED)
    await join(store)
    await store.run(control.pause(bid, "a test"))
    await keep_ahead(store)
    await store.run(control.resume(bid))
    assert await take(store, horizon_seconds=30.0) == []


async def test_a_replayed_one_has_its_window_kept_again(store: Store) -> None:
    bid = await load(store, {LANE: 1}, send_window=OPEN)
    await join(store)
    (held,) = await take(store)
    await ask(store, held)
    await tell(store, held, [result(0, 1, State.DEAD, code=30003)])
    await store.run(claims.release("w1", [held.claim]))
    await keep_ahead(store)
    assert not await store.redis.exists(store.keys.plain("windowed")), "it has ended"
    async for letters in find_letters(store, bid):
        assert (await store.run(replay(letters))).changed == 1
    assert await store.redis.smembers(store.keys.plain("windowed")) == {bid.encode()}
    assert await send_all(store) == 1


def test_what_would_surely_expire_before_it_opens_is_refused() -> None:
    now = time.time()
    spec = BroadcastSpec(
        name="x", senders=(LANE,), content=Content(body="x"), send_window=CLOSED, expires_at=now + 3600
    )
    with pytest.raises(WindowMissedError, match="all of it would expire unsent: outside its send window"):
        check_hours(spec, now)
    for fine in (
        replace(spec, expires_at=now + 6 * 3600),
        replace(spec, expires_at=None),
        replace(spec, schedule_at=now + 7 * 3600, expires_at=now + 8 * 3600),
        replace(spec, send_window=OPEN),
    ):
        check_hours(fine, now)


async def test_it_is_shown_why_it_waits_and_when_it_is_done(store: Store) -> None:
    bid = await load(store, {LANE: 10}, rates={LANE: 1.0}, send_window=CLOSED)
    await join(store)
    view = await read_broadcast(store, bid)
    assert view is not None
    now = view.summary()
    assert now["state_reason"].startswith("outside its send window ")
    assert now["waits_for"] == {LANE: now["state_reason"]}
    assert now["send_window"] == str(CLOSED)
    assert (stop_reason(now), settled(now)) == ("", False), "it goes on by itself: who waits for it stays"
    opens = opens_at(CLOSED, time.time())
    assert opens is not None
    assert abs(opens + 10 - time.time() - now["eta"]) < 5, "ten seconds after it opens"
    ended = await load(store, {OTHER: 1}, send_window=OPEN)
    assert (await read_broadcast(store, ended)).state_reason == ""  # type: ignore[union-attr]


async def test_what_expires_outside_its_window_is_skipped(store: Store) -> None:
    bid = await load(store, {LANE: 2}, send_window=CLOSED)
    await store.redis.hset(store.keys.broadcast(bid), "expires", "1")
    await end_expired({"store": store})
    assert await counts(store, bid) == {State.SKIPPED: 2}


async def test_a_scheduled_one_that_starts_outside_its_window_waits_for_it(store: Store) -> None:
    bid = await load(store, {LANE: 2}, send_window=CLOSED, schedule_in=-1.0)
    await join(store)
    await start_due({"store": store})
    assert await store.redis.hget(store.keys.broadcast(bid), "state") == b"running"
    assert await take(store, horizon_seconds=30.0) == []
    assert await windows(store, bid, (-1, 60)) == ""
    assert await send_all(store) == 2


async def test_a_clock_that_is_put_back_opens_no_window(store: Store) -> None:
    """What waits for a moment waits that much less then, but hours are the wall's."""
    bid = await load(store, {LANE: 2}, send_window=OPEN)
    await join(store)
    await windows(store, bid, (1800, 3600))
    assert await take(store) == []
    parked = await store.redis.zscore(store.keys.lane(LANE, ":later"), bid)
    await store.redis.hset(store.keys.plain("clock"), "last", str(int((time.time() + 3600) * 1e6)))
    await store.run(look_at_clock())
    assert await store.redis.zscore(store.keys.lane(LANE, ":later"), bid) < parked
    assert await take(store, horizon_seconds=30.0) == []
    assert await store.redis.zscore(store.keys.lane(LANE, ":later"), bid) == parked


async def test_what_a_loss_put_back_keeps_to_its_window(store: Store) -> None:
    bid = await load(store, {LANE: 2}, send_window=CLOSED)
    await join(store)
    now = int(time.time())
    await store.redis.hset(store.keys.plain("account"), mapping={"rewind": now - 5, "rewind_at": now})
    assert await rewind(store) is not None
    assert await counts(store, bid) == {State.IN_DOUBT: 2}
    found = await records(store, bid)
    absent = [
        Verdict(LANE, bid, "0.0", row, found["0.0", row].attempt, found["0.0", row].changed, True, False)
        for row in range(2)
    ]
    await store.run(settle(absent, 5))
    assert await counts(store, bid) == {State.QUEUED: 2}
    assert await take(store, horizon_seconds=30.0) == []
