"""What a worker and the ledger do is counted as it was, whatever Twilio says; and urgent messages' wait."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import metering
import pytest
import structlog
from dispatching import dispatching
from driving import LANE, ask, join, overdue, result, take, tell
from loading import counts, load, number, records
from metering import families, faults
from posting import SENDER, no_pool, settings
from scraping import exporting, scrape

from broadcaster.domain.content import Content
from broadcaster.domain.failures import Kind, Outcome
from broadcaster.domain.record import Evidence, Reason, Record, State
from broadcaster.intake.singles import Person, SingleMessages, SingleRequest
from broadcaster.lanes import claims, control
from broadcaster.ledger.callbacks import Status, write_statuses
from broadcaster.ledger.optouts import OptOut, opt_out, opt_out_each, refused_by
from broadcaster.ledger.settling import Verdict, settle
from broadcaster.reporting.counting import counting
from broadcaster.telemetry.metrics import Metrics
from broadcaster.twilio.answers import outcome_of_refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from broadcaster.store.connection import Store

SID = "SM" + "0123456789abcdef" * 2
STRANGE = number(7)


@pytest.fixture
def metrics(store: Store) -> Metrics:
    """What hears the store's answers."""
    found = Metrics()
    store.tell(counting(found))
    return found


def counted(metrics: Metrics, name: str, label: str) -> dict[str, int]:
    """Return what was counted at all, by one label."""
    return metering.counted(metrics.text().decode(), f"broadcaster_{name}_total", label)


class Strange:
    """Twilio, with one answer after the other; then it accepts."""

    def __init__(self, outcomes: Iterable[Outcome]) -> None:
        self.outcomes = list(outcomes)
        self.sent = 0

    async def post(self, _form: bytes) -> Outcome:
        self.sent += 1
        if self.outcomes:
            return self.outcomes.pop()
        return Outcome(kind=Kind.ACCEPTED, sid=f"SM{self.sent:032x}")


def refusal(status: int, code: object) -> Outcome:
    body = f'{{"code": {code}, "message": "{STRANGE} {SID} <script>", "status": {status}}}'
    return outcome_of_refusal(status, body.encode())


async def test_no_answer_of_twilios_gets_into_a_label(
    store: Store, metrics: Metrics, wait_until: Callable[..., Any]
) -> None:
    outcomes = [
        *(refusal(400, code) for code in (21211, 98765, 2**24 - 1)),
        *(refusal(status, f'"{STRANGE}"') for status in (503, 408, 599)),
        refusal(429, STRANGE[1:]),
        Outcome(kind=Kind.UNKNOWN, detail=f"{STRANGE} {SID}"),
        Outcome(kind=Kind.NOT_SENT, detail=STRANGE),
    ]
    kinds = Counter(outcome.kind.value for outcome in outcomes)
    bid = await load(store, {LANE: len(outcomes) + 5}, body="hello")
    twilio = Strange(outcomes)
    async with dispatching(store, twilio, metrics):

        async def ended() -> bool:
            found = await counts(store, bid)
            return not any(found.get(s) for s in (State.QUEUED, State.SENDING, State.RETRY))

        await wait_until(ended)
    text = metrics.text().decode()
    assert faults(text, None, senders=[LANE]) == []
    assert not [
        line for line in text.splitlines() if STRANGE[1:] in line or SID in line or "<script>" in line
    ]
    found = counted(metrics, "messages", "outcome")
    assert found["accepted"] == (await counts(store, bid))[State.ACCEPTED]
    assert {kind: found.get(kind, 0) for kind in kinds} == kinds
    assert sum(found.values()) == twilio.sent
    assert sum(counted(metrics, "failures", "code").values()) == sum(kinds.values())
    assert counted(metrics, "segments", "sender") == {LANE: found["accepted"]}
    dead = (await counts(store, bid)).get(State.DEAD, 0)
    assert sum(counted(metrics, "dead_letters", "reason").values()) == dead
    assert counted(metrics, "doubts", "reason") == {"no_answer": kinds["unknown"]}
    assert counted(metrics, "redis_errors", "operation") == {}


async def test_what_is_written_twice_is_counted_once(store: Store, metrics: Metrics) -> None:
    bid = await load(store, {LANE: 6})
    await join(store)
    (held,) = await take(store)
    await ask(store, held)
    told = [
        result(0, 1, State.DEAD, code=21211),
        result(1, 1, State.DEAD, code=Reason.RENDERING),
        result(2, 1, State.SKIPPED, code=Reason.OPTED_OUT),
        result(3, 1, State.IN_DOUBT, code=Reason.NO_ANSWER),
    ]
    for _ in range(2):
        await tell(store, held, told)
    assert counted(metrics, "dead_letters", "reason") == {"rejected": 1, "other": 1}
    assert counted(metrics, "skipped", "reason") == {"opted_out": 1}
    assert counted(metrics, "doubts", "reason") == {"no_answer": 1}
    await overdue(store, "w1")
    for _ in range(3):
        await store.run(claims.sweep(0.0))
    assert counted(metrics, "doubts", "reason") == {"no_answer": 1, "lease_lost": 2}
    doubts = [(row, one) for (_, row), one in (await records(store, bid)).items() if row > 2]
    verdicts = [
        Verdict(LANE, bid, "0.0", row, 1, one.changed, absent=row == 4, hold=row == 4) for row, one in doubts
    ]
    for _ in range(2):
        await store.run(settle(verdicts, 5))
    assert counted(metrics, "dead_letters", "reason") == {"rejected": 1, "other": 1, "unknown": 3}
    assert counted(metrics, "doubts_settled", "how") == {"dead": 3}


async def test_callbacks_are_counted_by_what_they_change(store: Store, metrics: Metrics) -> None:
    bid = await load(store, {LANE: 3})
    await join(store)
    (held,) = await take(store)
    await ask(store, held)
    at = [(bid, "0.0", row, 1, f"SM{row:032x}") for row in range(3)]
    for status in ("sent", "delivered", "delivered", "read"):
        await store.run(write_statuses([Status(*at[0], status)]))
    await store.run(write_statuses([Status(*at[1], "failed", 30003), Status(*at[2], "undelivered", 98765)]))
    await store.run(write_statuses([Status(*at[1], "delivered")], Evidence.LIST, "poll"))
    assert counted(metrics, "deliveries", "state") == {
        "delivered": 1, "read": 1, "failed": 1, "undelivered": 1,
    }  # fmt: skip
    assert counted(metrics, "failures", "code") == {"30003": 1, "other": 1}
    lag = families(metrics.text().decode())["broadcaster_callback_lag_seconds_count"]
    assert lag == [({}, 3.0)], "each message's first news"


async def test_a_duplicate_is_named_to_whoever_is_paged_for_it(store: Store, metrics: Metrics) -> None:
    bid = await load(store, {LANE: 2}, batch=64)
    await join(store)
    (held,) = await take(store)
    await ask(store, held)
    await tell(store, held, [result(row, 1, State.RETRY, code=Reason.NO_ANSWER, spend=1) for row in (0, 1)])
    await store.run(claims.release("w1", [held.claim]))
    (newer,) = await take(store, horizon_seconds=60.0)
    await ask(store, newer)
    await tell(store, newer, [result(1, 2, State.ACCEPTED, sid=bytes(range(16)), flags=1)])
    with structlog.testing.capture_logs() as lines:
        for _ in range(2):
            at = [Status(bid, "0.0", row, 1, f"SM{row + 1:032x}", "sent") for row in (0, 1)]
            await store.run(write_statuses(at))
    named = {
        "event": "duplicate.caused",
        "log_level": "error",
        "broadcast": bid,
        "batch": "0.0",
        "attempt": 1,
    }
    assert [line for line in lines if line["event"] == "duplicate.caused"] == [
        named | {"row": 0, "sid": f"SM{1:032x}", "other": 2, "other_sid": None},
        named | {"row": 1, "sid": f"SM{2:032x}", "other": 2, "other_sid": "MM" + bytes(range(16)).hex()},
    ]
    (total,) = families(metrics.text().decode())["broadcaster_duplicates_caused_total"]
    assert total == ({}, 2.0)
    async with exporting(store) as exporter:
        assert (await scrape(exporter))("duplicates_found_total") == 2


async def test_opt_outs_and_skips_are_counted_by_where_they_come_from(store: Store, metrics: Metrics) -> None:
    for _ in range(2):
        await store.run(opt_out([number(1)], "cli"))
        await store.run(opt_out_each([OptOut(number(2)), OptOut(number(3))], about="list"))
        await store.run(refused_by(LANE, number(4), 21610))
    assert counted(metrics, "opt_outs", "source") == {"hand": 1, "list": 2, "twilio": 1}
    bid = await load(store, {LANE: 3})
    for _ in range(2):
        await store.run(control.skip(bid, LANE, "0.0", Reason.EXPIRED))
    assert counted(metrics, "skipped", "reason") == {"expired": 3}


async def test_urgent_messages_say_how_long_they_waited(
    store: Store, metrics: Metrics, wait_until: Callable[..., Any]
) -> None:
    """The first time only; from the second in which they were taken."""
    await store.run(control.set_rate(SENDER, 1000))
    await load(store, {LANE: 5}, body="not single")
    singles = SingleMessages(store, settings(), no_pool, metrics=metrics)
    taken = [
        await singles.post(SingleRequest("k", Content(body="hello"), [Person(number(i))])) for i in range(3)
    ]
    (old,) = taken[1]
    key = store.keys.ledger(*old.id.removesuffix(".0").split(".", 1))
    one = Record.unpack(await store.redis.get(key))
    await store.redis.setrange(key, 0, replace(one, changed=one.changed - 7).pack())
    async with dispatching(store, Strange([Outcome(kind=Kind.NOT_SENT)]), metrics):

        async def sent() -> bool:
            return counted(metrics, "messages", "outcome").get("accepted") == 8

        await wait_until(sent)
    await singles.close()
    found = {
        labels["le"]: value
        for labels, value in families(metrics.text().decode())["broadcaster_accept_to_post_seconds_bucket"]
    }
    assert (found["7"], found["+Inf"]) == (2, 3)
    assert counted(metrics, "recipients_imported", "through") == {"message": 3}
