"""What a reviewer tried against callbacks, resending and retention; each failed once."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from driving import LANE, SID, ask, join, result, send_all, take, tell
from loading import counts, load, number, records
from test_rewinding import lost, settled

from broadcaster.domain.broadcast import OnDoubt, Priority
from broadcaster.domain.content import Content
from broadcaster.domain.record import State
from broadcaster.domain.resending import Resending
from broadcaster.intake.single_rows import Row, stream_batch
from broadcaster.intake.streams import Item, Stream, StreamKey, remove_streams
from broadcaster.lanes import claims
from broadcaster.ledger import strays
from broadcaster.ledger.callbacks import STATES, Status, write_statuses
from broadcaster.ledger.removing import mark
from broadcaster.ledger.resending import Resender
from broadcaster.ledger.rewinding import rewind
from broadcaster.ledger.strays import Stray
from broadcaster.operations.retention import remove_old
from broadcaster.reporting.broadcasts import read_broadcast
from broadcaster.telemetry.metrics import Metrics
from workers.following import Follower

if TYPE_CHECKING:
    from broadcaster.store.connection import Store


def status(bid: str, row: int, word: str, *, attempt: int = 1, code: int = 0) -> Status:
    return Status(bid, "0.0", row, attempt, "SM" + SID.hex(), word, code)


async def codes(store: Store, bid: str) -> dict[str, int]:
    found = await store.redis.hgetall(store.keys.broadcast(bid, ":codes"))
    return {field.decode(): int(n) for field, n in found.items() if int(n)}


async def test_codes_add_up_where_a_failed_message_was_read_after_all(store: Store) -> None:
    bid = await load(store, {LANE: 2})
    await join(store)
    await send_all(store)
    await store.run(write_statuses([status(bid, 0, "undelivered", code=63024)]))
    assert await codes(store, bid) == {"8:63024": 1}
    await store.run(write_statuses([status(bid, 0, "read")]))
    assert await counts(store, bid) == {State.ACCEPTED: 1, State.READ: 1}
    assert await codes(store, bid) == {}


class Failed(NamedTuple):
    """A delivery that failed, as the resender is told of it."""

    broadcast: str
    batch: str
    row: int
    attempt: int
    code: int


async def test_old_news_of_what_goes_again_ends_no_doubt_that_a_loss_has_made(store: Store) -> None:
    bid = await load(store, {LANE: 1})
    await join(store)
    await send_all(store)
    await store.run(write_statuses([status(bid, 0, "undelivered", code=30001)]))
    await Resender(store, Resending(frozenset({30001})))([Failed(bid, "0.0", 0, 1, 30001)])
    await lost(store)
    await rewind(store)
    assert await counts(store, bid) == {State.IN_DOUBT: 1}
    # Twilio tells them again, and in any order
    for word, code in (("sent", 0), ("undelivered", 30001)):
        assert (await store.run(write_statuses([status(bid, 0, word, code=code)]))).changed == 0


async def due_at_twilio(store: Store) -> str:
    """A broadcast that Twilio has taken for in ten days."""
    at = datetime.now(UTC) + timedelta(days=10)
    content = Content(body="hello", options={"ScheduleType": "fixed", "SendAt": at.isoformat()})
    bid = await load(store, {LANE: 2}, content=content)
    await join(store)
    await send_all(store)
    return bid


async def test_people_whose_messages_wait_at_twilio_are_known_until_they_are_sent(store: Store) -> None:
    """Else who opts out before that hour could not be recalled."""
    bid = await due_at_twilio(store)
    now, _ = await store.redis.time()
    assert (await remove_old(store, 2, now + 5 * 86_400)).broadcasts == 0
    view = await read_broadcast(store, bid)
    assert view is not None
    assert (await store.run(mark(bid, view.spec))).verdict == "handed", "nor by request"
    assert (await remove_old(store, 2, now + 11 * 86_400)).broadcasts == 0
    await store.redis.zrem(store.keys.plain("handed"), bid)  # as five minutes after its hour
    assert (await remove_old(store, 2, now + 11 * 86_400)).broadcasts == 0, "two days after they were sent"
    assert (await remove_old(store, 2, now + 13 * 86_400)).broadcasts == 1


async def test_a_stream_that_waits_at_twilio_stays_until_its_messages_are_sent(store: Store) -> None:
    at = datetime.now(UTC) + timedelta(days=10)
    options = {"ScheduleType": "fixed", "SendAt": at.isoformat()}
    key = StreamKey("k", "shape", ((LANE, 1e3),), None, Priority.URGENT, OnDoubt.RESEND, None, None, 1)
    into = Stream.of(key, Content(body="{{ body }}", options=options))
    batch = stream_batch(0, ("body",), [Row(0, number(1), None, ("hello",), 1, 0)], [0], int(time.time()))
    await store.run(into.append([Item("p:0", 1, 60, [batch])]))
    await join(store)
    assert await send_all(store) == 1
    await _aged(store, into.id, 2 * 86_400)
    assert await remove_streams(store, 86_400) == 0
    await store.redis.zrem(store.keys.plain("handed"), into.id)
    assert await remove_streams(store, 86_400) == 0


async def _aged(store: Store, stream: str, seconds: int) -> None:
    """Let a stream have been over for so long."""
    redis, keys = store.redis, store.keys
    now, _ = await redis.time()
    await redis.hset(keys.broadcast(stream), "finished", now - seconds)
    await redis.zadd(keys.plain("streams"), {stream: (now - seconds) * 1_000_000})
    led = keys.ledger(stream, "0.0")
    await redis.setrange(led, 28, (now - seconds).to_bytes(4, "big"))


async def test_strays_of_people_in_many_broadcasts_are_looked_for_a_few_ledgers_at_a_time(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person of two hundred batches each: what is read at once must not be all of that."""
    bids = [await load(store, {LANE: 1}, begin=False) for _ in range(40)]
    read: list[int] = []
    mget = store.redis.mget

    async def counted(keys: Any) -> Any:
        read.append(sum(":led:" in key or "led:" in key for key in keys))
        return await mget(keys)

    monkeypatch.setattr(store.redis, "mget", counted)
    monkeypatch.setattr(strays, "_LEDGERS_AT_ONCE", 8, raising=False)
    oldest = Stray(number(0), "SM" + SID.hex(), "delivered", 0)
    led = store.keys.ledger(bids[0], "0.0")
    await store.redis.setrange(led, 8, SID)
    found = await strays.find(store, [oldest, oldest._replace(sid="SM" + "f" * 32)])
    assert set(found) == {oldest}
    assert (found[oldest].broadcast, found[oldest].row) == (bids[0], 0)
    assert max(read) <= 8
    assert sum(read) == 40, "each once"


async def test_who_refuses_an_attempt_that_a_newer_one_has_followed_is_heard(store: Store) -> None:
    bid = await load(store, {LANE: 1})
    await join(store)
    (held,) = await take(store)
    await ask(store, held)
    await tell(store, held, [result(0, 1, State.IN_DOUBT, code=6, spend=1)])
    await settled(store, bid)
    await store.run(claims.release("w1", [held.claim]))
    (held,) = await take(store, horizon_seconds=5.0)
    assert (await ask(store, held)).yes == "1"
    for _ in range(2):
        await store.run(write_statuses([status(bid, 0, "undelivered", code=30630)]))
    assert await store.redis.llen(store.keys.plain("failures")) == 1
    await Follower(store, Metrics()).round()
    assert list(await store.redis.hgetall(store.keys.plain("optouts"))) == [f"{LANE}|{number(0)}".encode()]
    assert await counts(store, bid) == {State.SENDING: 1}


async def test_a_code_that_no_record_can_hold_is_none(store: Store) -> None:
    bid = await load(store, {LANE: 2})
    await join(store)
    await send_all(store)
    told = [status(bid, 0, "failed", code=1 << 24), status(bid, 1, "failed", code=-1)]
    assert (await store.run(write_statuses(told))).changed == 2
    assert await codes(store, bid) == {"9:0": 2}


@pytest.mark.parametrize("word", ["sent", "delivered", "undelivered"])
async def test_what_went_again_is_known_by_evidence_where_a_loss_has_undone_it(
    store: Store, word: str
) -> None:
    """A restored backup, say: the ledger has the first attempt's failure, and Twilio the second message."""
    bid = await load(store, {LANE: 1})
    await join(store)
    await send_all(store)
    await store.run(write_statuses([status(bid, 0, "undelivered", code=30001)]))
    second = Status(bid, "0.0", 0, 2, "SM" + "b" * 32, word, 30005 if word == "undelivered" else 0)
    assert (await store.run(write_statuses([second]))).changed == 1
    one = (await records(store, bid))["0.0", 0]
    assert (one.attempt, one.sid, one.state) == (2, second.sid, STATES[word])
    assert await codes(store, bid) == ({"8:30005": 1} if word == "undelivered" else {})
    assert (await store.run(write_statuses([second]))).changed == 0
    old = await store.run(write_statuses([status(bid, 0, "undelivered", code=30001)]))
    assert (old.changed, old.caused) == (0, 0), "old news is no duplicate"
    resender = Resender(store, Resending(frozenset({30001})))
    await resender([Failed(bid, "0.0", 0, 1, 30001)])
    assert resender.waiting == 0, "nobody sends it a third time for the first one's failure"
