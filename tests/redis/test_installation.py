"""What the exporter shows of an installation is what its ledger says, whatever state that is in."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from driving import LANE, OTHER, ask, join, overdue, result, send_all, take, tell
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loading import counts, load
from scraping import exporting, scrape
from test_windows import CLOSED

from broadcaster.domain.broadcast import Priority
from broadcaster.domain.content import Content
from broadcaster.domain.record import State
from broadcaster.intake.singles import Person, SingleMessages, SingleRequest
from broadcaster.lanes import claims, control
from broadcaster.ledger.optouts import opt_out
from broadcaster.ledger.replaying import find_letters, replay
from broadcaster.reporting.broadcasts import read_broadcast
from broadcaster.settings import load_settings
from broadcaster.store.jobs import queue_name

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broadcaster.exporter.scraping import Exporter
    from broadcaster.store.connection import Store


@pytest.fixture
async def exporter(store: Store) -> AsyncIterator[Exporter]:
    async with exporting(store) as made:
        yield made


async def test_a_running_broadcast(store: Store, exporter: Exporter) -> None:
    before = time.time() - 1
    bid = await load(store, {LANE: 120}, segments=2, rates={LANE: 10.0})
    await join(store)
    found = await scrape(exporter)
    assert found.by("queue_messages", "state") == {"queued": 120, "sending": 0, "retry": 0, "in_doubt": 0}
    assert found("queue_claimable_messages") == 120
    assert before < (found("queue_oldest_due_timestamp_seconds") or 0) <= time.time()
    assert before < (found("queue_oldest_ready_timestamp_seconds", priority="normal") or 0)
    assert found("queue_oldest_ready_timestamp_seconds", priority="urgent") == 0
    assert found("queue_drain_seconds") == pytest.approx(24)
    assert found.by("broadcasts", "state")["running"] == 1
    assert found.by("lanes", "state") == {"sending": 1, "idle": 0, "paused": 0, "refused": 0, "held": 0}
    assert found.by("lane_queued_messages", "sender") == {LANE: 120}
    assert found.by("lane_rate_segments_per_second", "sender") == {LANE: 10}
    assert found.by("lane_permits_segments", "sender") == {LANE: 1}
    assert found.by("broadcast_messages", "state", broadcast=bid) == {
        state.label: 120 if state is State.QUEUED else 0 for state in State
    }
    assert found("broadcast_recipients", broadcast=bid) == 120
    assert found("broadcast_waiting", broadcast=bid, why="pace") == 1
    assert found("broadcast_info", broadcast=bid, name="test", priority="normal", state="running") == 1
    assert found.by("workers", "state") == {"live": 1, "draining": 0, "lost": 0}
    assert found("redis_recipients") == 120
    view = await read_broadcast(store, bid)
    assert view is not None
    assert view.eta_seconds is not None
    eta = found("broadcast_eta_timestamp_seconds", broadcast=bid) or 0
    assert eta == pytest.approx(time.time() + view.eta_seconds, abs=2)
    assert found("redis_up") == found("exporter_active") == found("redis_writable") == 1


async def test_a_lane_whose_permits_are_spent_waits_for_pace_only(store: Store, exporter: Exporter) -> None:
    await load(store, {LANE: 50}, rates={LANE: 0.1})
    await join(store)
    await take(store)
    found = await scrape(exporter)
    assert found("queue_oldest_due_timestamp_seconds") == 0
    assert found("queue_claimable_messages") == 50  # one of these is claimed: it is with its worker, unsent
    assert (found("lane_permits_segments", sender=LANE) or 0) < 0


async def test_what_is_paused_is_not_late(store: Store, exporter: Exporter) -> None:
    bid = await load(store, {LANE: 5})
    await join(store)
    await store.run(control.pause(bid, "by hand"))
    found = await scrape(exporter)
    assert found("queue_oldest_due_timestamp_seconds") == found("queue_claimable_messages") == 0
    assert found("queue_oldest_ready_timestamp_seconds", priority="normal") == 0
    assert found("broadcast_waiting", broadcast=bid, why="broadcast_paused") == 1
    assert found.by("broadcasts", "state")["paused"] == 1
    assert found.by("queue_messages", "state")["queued"] == 5
    await store.redis.zadd(store.keys.plain("due"), {LANE: 1})  # nobody came by since, for years
    await store.run(control.resume(bid))
    late = (await scrape(exporter))("queue_oldest_due_timestamp_seconds") or 0
    assert time.time() - 10 < late, "the pause explains all of it"


@pytest.mark.parametrize(
    ("stop", "why", "lane_state"),
    [
        (control.pause_lane(LANE, "x"), "sender_paused", "paused"),
        (control.pause_lane(LANE, "21606: x"), "sender_refused", "refused"),
        (control.hold_lane(LANE, 60, "x"), "sender_held", "held"),
        (control.pause_account("x"), "everything_paused", "paused"),
        (control.pause_account("20003: refused"), "account_stopped", "refused"),
    ],
)
async def test_what_stops_a_lane_keeps_nobody_waiting_too_long(
    store: Store, exporter: Exporter, stop: Any, why: str, lane_state: str
) -> None:
    bid = await load(store, {LANE: 5})
    await join(store)
    await store.run(stop)
    found = await scrape(exporter)
    assert found("queue_oldest_due_timestamp_seconds") == found("queue_claimable_messages") == 0
    assert found.by("broadcast_waiting", "why", broadcast=bid) == {why: 1}
    assert found.by("lanes", "state")[lane_state] == 1
    assert found("lane_stopped", sender=LANE) == int(why.startswith("sender"))
    stopped = found.by("account_stopped", "why")
    assert stopped == {
        "paused": why == "everything_paused",
        "refused": why == "account_stopped",
        "rewinding": 0,
    }


@pytest.mark.parametrize(
    ("reason", "why"),
    [
        ("by request", "broadcast_paused"),
        ("content: 30007 looks wrong", "broadcast_paused"),
        ("content:30007", "paused_by_failures"),
        ("failures:25:100:30007", "paused_by_failures"),
    ],
)
async def test_a_pause_of_our_own_is_told_from_a_persons(
    store: Store, exporter: Exporter, reason: str, why: str
) -> None:
    bid = await load(store, {LANE: 5})
    await join(store)
    await store.run(control.pause(bid, reason))
    found = await scrape(exporter)
    assert found.by("broadcast_waiting", "why", broadcast=bid) == {why: 1}
    assert found("broadcasts_stopped") == (why == "paused_by_failures")
    await store.run(control.cancel(bid, "x"))
    assert (await scrape(exporter))("broadcasts_stopped") == 0


async def test_a_scheduled_broadcast_is_told_of_until_it_starts(store: Store, exporter: Exporter) -> None:
    assert (await scrape(exporter))("scheduled_due_timestamp_seconds") == 0
    late = await load(store, {LANE: 5}, schedule_in=-100)
    await load(store, {LANE: 5}, schedule_in=3600)
    due = (await scrape(exporter))("scheduled_due_timestamp_seconds")
    assert due == pytest.approx(time.time() - 100, abs=5)
    await store.run(control.start(late, paused_for="its template is paused"))
    found = await scrape(exporter)
    assert found("scheduled_due_timestamp_seconds") == pytest.approx(time.time() + 3600, abs=5)
    assert found("broadcasts_stopped") == 1, "nobody paused it"


async def test_closed_hours(store: Store, exporter: Exporter) -> None:
    bid = await load(store, {LANE: 5}, send_window=CLOSED)
    await join(store)
    assert await take(store) == []
    found = await scrape(exporter)
    assert found("queue_oldest_due_timestamp_seconds") == found("queue_claimable_messages") == 0
    assert found.by("broadcast_waiting", "why", broadcast=bid) == {"quiet_hours": 1}


async def test_nobody_is_there_to_send(store: Store, exporter: Exporter) -> None:
    bid = await load(store, {LANE: 5})
    found = await scrape(exporter)
    assert found.by("broadcast_waiting", "why", broadcast=bid) == {"no_worker": 1}
    assert found("queue_oldest_due_timestamp_seconds")
    assert found("broadcast_eta_timestamp_seconds", broadcast=bid) == 0


async def test_doubt_retries_and_dead_letters(store: Store, exporter: Exporter) -> None:
    bid = await load(store, {LANE: 5})
    await join(store)
    (held,) = await take(store)
    await ask(store, held, held.items[:4])
    told = [
        result(0, 1, State.IN_DOUBT),
        result(1, 1, State.RETRY, code=30, delay_us=90_000_000),
        result(2, 1, State.DEAD, code=21211),
    ]
    await tell(store, held, told)
    found = await scrape(exporter)
    assert found.by("queue_messages", "state") == {"queued": 1, "sending": 1, "retry": 1, "in_doubt": 1}
    assert found("in_doubt_oldest_timestamp_seconds") == pytest.approx(time.time(), abs=3)
    assert found("retries_due_timestamp_seconds") == pytest.approx(time.time() + 90, abs=3)
    assert found("dead_letters") == 1
    shown = found.by("broadcast_messages", "state", broadcast=bid)
    assert {State[name.upper()]: n for name, n in shown.items() if n} == await counts(store, bid)
    await store.run(claims.release("w1", [held.claim], {}))
    async for letters in find_letters(store, bid):
        await store.run(replay(letters))
    assert (await scrape(exporter))("dead_letters") == 0


async def test_a_retry_that_is_due_later_is_nobodys_delay(store: Store, exporter: Exporter) -> None:
    bid = await load(store, {LANE: 1})
    await join(store)
    (held,) = await take(store)
    await ask(store, held)
    await tell(store, held, [result(0, 1, State.RETRY, code=30, delay_us=90_000_000)])
    await store.run(claims.release("w1", [held.claim], {}))
    await take(store)
    found = await scrape(exporter)
    assert found("queue_oldest_due_timestamp_seconds") == found("queue_claimable_messages") == 0
    assert found.by("broadcast_waiting", "why", broadcast=bid) == {"retry": 1}


async def test_its_series_are_gone_when_it_has_ended(store: Store, exporter: Exporter) -> None:
    done, canceled = await load(store, {LANE: 2}), await load(store, {OTHER: 2})
    await join(store)
    assert (await scrape(exporter)).by("broadcast_recipients", "broadcast") == {done: 2, canceled: 2}
    await store.run(control.cancel(canceled, "x"))
    await send_all(store)
    found = await scrape(exporter)
    for name in ("broadcast_recipients", "broadcast_waiting", "broadcast_info", "broadcast_messages"):
        assert found.samples.get(f"broadcaster_{name}") is None, name
    assert {k: v for k, v in found.by("broadcasts", "state").items() if v} == {"completed": 1, "canceled": 1}
    assert found.by("lanes", "state")["idle"] == 2


async def test_streams_are_queues_and_no_broadcasts(store: Store, exporter: Exporter) -> None:
    async def no_pool(service: str) -> list[str]:
        raise AssertionError(service)

    singles = SingleMessages(store, load_settings(None), no_pool)
    people = [Person(f"+1415555{i:04}", {}, "") for i in range(3)]
    await singles.post(SingleRequest("k", Content(body="Hi"), people, (LANE,), priority=Priority.URGENT))
    await singles.close()
    found = await scrape(exporter)
    assert found.by("queue_messages", "state")["queued"] == 3
    assert found("queue_claimable_messages") == 3
    assert found("queue_oldest_ready_timestamp_seconds", priority="urgent")
    assert sum(found.by("broadcasts", "state").values()) == 0
    assert found.by("broadcast_recipients", "broadcast") == {}
    assert found.by("lane_queued_messages", "sender") == {LANE: 3}
    assert found("redis_recipients") == 3


async def test_the_busiest_lanes_are_named_and_at_most_twenty_broadcasts(
    store: Store, exporter: Exporter
) -> None:
    lanes = {f"+1415{n:07}": 1 + n for n in range(120)}
    wide = await load(store, lanes)
    others = [await load(store, {LANE: 1}, priority=Priority.BULK) for _ in range(24)]
    found = await scrape(exporter)
    named = found.by("lane_queued_messages", "sender")
    assert len(named) == 101
    assert named["+14150000119"] == 120
    assert sum(named.values()) == pytest.approx(sum(lanes.values()) + 24, abs=101)  # each is rounded
    shown = found.by("broadcast_recipients", "broadcast")
    assert len(shown) == 20
    assert shown.keys() == set(sorted([wide, *others])[-20:])
    for bid in others:
        await store.run(control.pause(bid, "x"))
    shown = (await scrape(exporter)).by("broadcast_recipients", "broadcast")
    assert shown.keys() == {wide, *sorted(others)[-19:]}, "what runs is shown before what is paused"


async def test_workers_live_drain_and_are_lost(store: Store, exporter: Exporter) -> None:
    for name in ("w1", "w2", "w3", "w4"):
        await join(store, name)
    await store.redis.hset(store.keys.worker("w2"), "draining", "1")
    await overdue(store, "w3")
    found = await scrape(exporter)
    assert found.by("workers", "state") == {"live": 2, "draining": 1, "lost": 1}
    assert found.by("worker_last_heartbeat_timestamp_seconds", "worker").keys() == {"w1", "w2", "w3", "w4"}
    for _ in range(2):
        await store.run(claims.sweep(patience_seconds=0.0))
    assert (await scrape(exporter)).by("workers", "state")["lost"] == 1
    await store.run(claims.leave("w4"))
    assert (await scrape(exporter)).by("workers", "state") == {"live": 1, "draining": 1, "lost": 1}
    back = claims.join("w5", {"host": "h"}, lease_seconds=60, initial=100, before="w3")
    await store.run(back)
    assert (await scrape(exporter)).by("workers", "state") == {"live": 2, "draining": 1, "lost": 0}


async def test_sizes_of_what_waits_elsewhere(store: Store, exporter: Exporter) -> None:
    keys = store.keys
    await store.run(opt_out(["+14155550001", "+14155550002"], source="test"))
    await store.redis.zadd(queue_name(keys.prefix), {"job": 1})
    await store.redis.zadd(keys.plain("parked"), {"a": 1, "b": 2})
    await store.redis.rpush(keys.plain("failures"), "x")
    await store.redis.hset(keys.plain("endpoints"), "E1", "{}")
    await store.redis.zadd(keys.endpoint("E1", ":queue"), {"d": 1})
    await store.redis.zadd(keys.endpoint("E1", ":parked"), {"d": 1, "e": 2})
    await store.run(control.set_account_rate(12.5))
    await store.redis.hset(keys.plain("account"), "silent", "1700000000")
    found = await scrape(exporter)
    assert (found("opt_outs"), found("jobs_queued"), found("callbacks_parked")) == (2, 1, 2)
    assert found("followups_queued") == 1
    assert found("duplicates_found_total") == 0, "known before the first one"
    assert found.by("webhooks_queued", "state") == {"queued": 1, "parked": 2}
    assert found("account_rate_segments_per_second") == 12.5
    assert found("account_silent_timestamp_seconds") == 1_700_000_000


async def test_names_are_masked_and_short(store: Store, exporter: Exporter) -> None:
    bid = await load(store, {LANE: 1})
    name = 'To "+1 415 555 2671"\n' + "x" * 100
    await store.redis.hset(store.keys.broadcast(bid), "name", name)
    (shown,) = (await scrape(exporter)).by("broadcast_info", "name", broadcast=bid)
    assert len(shown) == 60
    assert "5552671" not in shown.replace(" ", "")


async def test_a_large_installation_is_gone_through_beside_scrapes(
    store: Store, monkeypatch: pytest.MonkeyPatch, wait_until: Any
) -> None:
    monkeypatch.setattr("broadcaster.reporting.installation.gathering.SMALL", 3)
    monkeypatch.setattr("broadcaster.reporting.installation.calls.FLOWS_AT_ONCE", 4)
    bids = [await load(store, {f"+1415{n:06}{k}": 3 for k in range(6)}) for n in range(3)]
    async with exporting(store) as exporter:
        seen: dict[str, Any] = {}

        async def complete() -> bool:
            seen["page"] = await scrape(exporter)
            return seen["page"]("queue_claimable_messages") is not None and seen["page"]("dead_letters") == 0

        await wait_until(complete)
        found = seen["page"]
        assert found("queue_claimable_messages") == 54
        assert found.by("lane_queued_messages", "sender") == {
            f"+1415{n:06}{k}": 3 for n in range(3) for k in range(6)
        }
        assert found.by("broadcasts", "state")["running"] == 3
        await store.run(control.cancel(bids[0], "x"))
        found = await scrape(exporter)
        assert found("queue_claimable_messages") == 36, "what is paused or over is known at once"
        assert found.by("broadcasts", "state")["canceled"] == 1


async def test_of_very_many_broadcasts_those_that_are_shown_are_read_at_once(
    store: Store, monkeypatch: pytest.MonkeyPatch, wait_until: Any
) -> None:
    monkeypatch.setattr("broadcaster.reporting.installation.gathering.SMALL_OPEN", 1)
    monkeypatch.setattr("broadcaster.reporting.installation.gathering.SURVEY_SECONDS", 0)
    monkeypatch.setattr("broadcaster.reporting.installation.sharing.SHOWN_MOST", 1)
    bids = [await load(store, {f"+1415000000{n}": 3}) for n in range(3)]
    async with exporting(store) as exporter:

        async def counts() -> dict[str, float]:
            return dict((await scrape(exporter)).by("queue_messages", "state"))

        assert (await counts())["queued"] == 9
        for bid in bids:  # of the two that are not shown it is seen beside scrapes
            await store.redis.hset(store.keys.broadcast(bid), mapping={"n0": 1, "n2": 2})

        async def seen() -> bool:
            found = await counts()
            return found["queued"] == 3 and found["retry"] == 6

        await wait_until(seen)
        for bid in bids:
            await store.run(control.cancel(bid, "x"))
        assert (await counts())["queued"] == 0, "what has ended is known at once"
        await load(store, {LANE: 5})
        assert (await counts())["queued"] == 5, "and what has begun"


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(1, 12), st.lists(st.sampled_from([3, 4, 6, 10, 2]), max_size=12)), max_size=24
    )
)
async def test_states_add_up_to_recipients(store: Store, plan: list[tuple[int, list[int]]]) -> None:
    await store.redis.delete(*[store.keys.plain(name) for name in ("active", "bcs", "due")])
    await join(store)
    for number, (size, states) in enumerate(plan):
        await load(store, {f"+1416{number:07}": size})
        for held in await take(store):
            await ask(store, held)
            told = [result(row, 1, State(s)) for row, s in enumerate(states[: len(held.items)])]
            await tell(store, held, told)
    async with exporting(store) as exporter:
        found = await scrape(exporter)
    shown = found.by("broadcast_recipients", "broadcast")
    assert len(shown) <= 20
    for bid, recipients in shown.items():
        by_state = found.by("broadcast_messages", "state", broadcast=bid)
        assert sum(by_state.values()) == recipients
        truth = await counts(store, bid)
        assert {State[name.upper()]: n for name, n in by_state.items() if n} == truth
