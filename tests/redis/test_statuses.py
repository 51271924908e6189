"""Statuses in the ledger: whatever comes in whatever order ends as the truth, and is counted once."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import msgpack
import pytest
from driving import LANE, OTHER, ask, everything, join, result, take, tell
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loading import counts, load, records

from broadcaster.domain.record import RANK, Evidence, Reason, State
from broadcaster.lanes import claims
from broadcaster.ledger.callbacks import STATES, Status, code_of, is_sid, write_statuses
from broadcaster.ledger.recording import Results, record

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.ledger.recording import Recorded
    from broadcaster.store.connection import Store

#: What becomes of a message: our own end of its POST, the statuses that Twilio tells, the code of its end.
LIVES: Final = [
    (own, statuses, code)
    for own in (State.ACCEPTED, State.IN_DOUBT, None)
    for statuses, code in [
        (("queued", "sent", "delivered", "read"), 0),
        (("accepted", "sending", "sent", "delivered"), 0),
        (("sent",), 0),
        (("sent", "undelivered"), 30003),
        (("failed",), 30008),
        (("failed",), 0),
        (("scheduled", "canceled"), 0),
        ((), 0),
    ]
]


def sid_of(row: int, attempt: int = 1) -> str:
    return f"SM{row * 100 + attempt:032x}"


def status(bid: str, row: int, word: str, *, attempt: int = 1, code: int = 0, sid: str = "") -> Status:
    return Status(bid, "0.0", row, attempt, sid or sid_of(row, attempt), word, code)


async def told(store: Store, *statuses: Status, twice: bool = True) -> Recorded:
    """Write statuses; again, too, which must change nothing."""
    call = write_statuses(statuses)
    first = await store.run(call)
    if twice:
        before = await everything(store)
        again = await store.run(call)
        assert (again.changed, again.caused, again.missing) == (0, 0, first.missing)
        assert await everything(store) == before
    return first


async def out(store: Store, count: int = 1) -> Any:
    """A broadcast whose first slice is `sending`."""
    bid = await load(store, {LANE: count}, batch=64)
    await join(store)
    (held,) = await take(store)
    assert set((await ask(store, held)).yes) == {"1"}
    return bid, held


async def failures(store: Store) -> list[Any]:
    redis: Any = store.redis
    raws = await redis.lrange(store.keys.plain("failures"), 0, -1)
    return [msgpack.unpackb(raw, raw=True) for raw in raws]


def the_truth(own: State | None, words: Sequence[str]) -> State:
    reached = [State.SENDING, *([] if own is None else [own]), *(STATES[word] for word in words)]
    return max(reached, key=RANK.__getitem__)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
async def test_any_order_of_anything_ends_as_the_truth(store: Store, data: st.DataObject) -> None:
    await store.redis.flushdb()
    await store.redis.set(store.keys.plain("epoch"), store.epoch)
    lives = data.draw(st.lists(st.sampled_from(LIVES), min_size=1, max_size=6))
    bid, _ = await out(store, len(lives))
    happens: list[tuple[int, str]] = []
    for row, (own, words, _) in enumerate(lives):
        happens += [(row, "own")] if own is not None else []
        happens += [(row, word) for word in words]
    again = data.draw(st.lists(st.sampled_from(happens), max_size=6)) if happens else []
    left = data.draw(st.permutations(happens + again))
    while left:
        size = data.draw(st.integers(1, 5))
        now, left = left[:size], left[size:]
        ours = [
            result(row, 1, own, sid=bytes.fromhex(sid_of(row)[2:]) if own is State.ACCEPTED else b"")
            for row, what in now
            if what == "own" and (own := lives[row][0]) is not None
        ]
        theirs = [status(bid, row, what, code=lives[row][2]) for row, what in now if what != "own"]
        if ours:
            await store.run(record("w1", [Results(LANE, bid, "0.0", ours)]))
        if theirs:
            await store.run(write_statuses(theirs))
    found = await records(store, bid)
    expected = Counter[State]()
    codes = Counter[str]()
    failed = []
    for row, (own, words, code) in enumerate(lives):
        one, state = found["0.0", row], the_truth(own, words)
        assert one.state is state, (row, lives[row])
        assert one.attempt == 1
        known = own is State.ACCEPTED or bool(words)
        assert one.sid == (sid_of(row) if known else None)
        expected[state] += 1
        told_code = {State.SKIPPED: int(Reason.SCHEDULED_CANCELED)}.get(state, code)
        if state >= State.UNDELIVERED:
            assert one.code == told_code
            codes[f"{int(state)}:{told_code}"] += 1
        if state in (State.UNDELIVERED, State.FAILED) and code:
            failed.append((row, int(state), code))
    assert await counts(store, bid) == expected
    redis: Any = store.redis
    counted = await redis.hgetall(store.keys.broadcast(bid, ":codes"))
    assert {name.decode(): int(n) for name, n in counted.items() if int(n)} == codes
    assert sorted((row, state, code) for _, _, row, _, state, code, *_ in await failures(store)) == failed


@pytest.mark.parametrize("word", STATES)
async def test_each_word_of_twilios_has_its_state(store: Store, word: str) -> None:
    bid, _ = await out(store)
    assert (await told(store, status(bid, 0, word, code=30003))).changed == 1
    one = (await records(store, bid))["0.0", 0]
    assert (one.state, one.evidence) == (STATES[word], Evidence.CALLBACK)
    failed = one.state in (State.UNDELIVERED, State.FAILED)
    assert one.code == (30003 if failed else Reason.SCHEDULED_CANCELED if word == "canceled" else 0)


async def test_other_words_change_nothing(store: Store) -> None:
    bid, _ = await out(store)
    before = await everything(store)
    assert (await told(store, status(bid, 0, "levitating"), status(bid, 0, ""))).changed == 0
    assert await everything(store) == before
    with pytest.raises(ValueError, match="SID"):
        write_statuses([status(bid, 0, "sent", sid="SMnonsense")])


async def test_an_older_attempt_that_arrived_is_a_duplicate_counted_once(store: Store) -> None:
    bid, held = await out(store)
    await tell(store, held, [result(0, 1, State.RETRY, code=20500, spend=1)])
    await store.run(claims.release("w1", [held.claim]))
    (next_,) = await take(store, horizon_seconds=60.0)
    assert (await ask(store, next_)).yes == "1"
    late = status(bid, 0, "sent", attempt=1)
    assert (await told(store, late)).caused == 1
    assert (await told(store, late._replace(status="delivered"))).caused == 0
    assert (await told(store, status(bid, 0, "delivered", attempt=2))).changed == 1
    one = (await records(store, bid))["0.0", 0]
    assert (one.state, one.attempt, one.sid) == (State.DELIVERED, 2, sid_of(0, 2))
    redis: Any = store.redis
    raws = await redis.lrange(store.keys.history(bid, "0.0", 0), 0, -1)
    assert [entry[7] for entry in (msgpack.unpackb(raw, raw=True) for raw in raws)].count(b"late") == 2


async def test_what_arrived_ends_the_wait_for_another_try(store: Store) -> None:
    bid = await load(store, {OTHER: 1, LANE: 1})
    await join(store)
    held = next(one for one in await take(store) if one.lane == LANE)
    await ask(store, held)
    await tell(store, held, [result(0, 1, State.RETRY, code=20500, spend=1, delay_us=60_000_000)])
    redis: Any = store.redis
    flow = store.keys.flow(bid, LANE, ":retry")
    assert await redis.zcard(flow) == 1
    one = status(bid, 0, "delivered")._replace(batch=held.batch)
    assert (await told(store, one)).changed == 1
    assert await redis.zcard(flow) == 0
    assert (await records(store, bid))[held.batch, 0].state is State.DELIVERED


async def test_doubt_ends_with_a_callback(store: Store) -> None:
    bid, held = await out(store)
    await tell(store, held, [result(0, 1, State.IN_DOUBT, code=Reason.NO_ANSWER, spend=1)])
    done = await told(store, status(bid, 0, "sent"))
    assert (done.changed, done.completed) == (1, [bid])
    redis: Any = store.redis
    (raw,) = await redis.lrange(store.keys.history(bid, "0.0", 0), -1, -1)
    assert msgpack.unpackb(raw, raw=True)[6:8] == [b"callback", b"callback"]
    assert not await redis.smembers(store.keys.plain("doubtful"))


async def test_what_was_canceled_at_twilio_stays_so(store: Store) -> None:
    bid, _ = await out(store)
    await told(store, status(bid, 0, "canceled"))
    assert (await told(store, status(bid, 0, "scheduled"), status(bid, 0, "accepted"))).changed == 0
    assert (await records(store, bid))["0.0", 0].code == Reason.SCHEDULED_CANCELED


async def test_of_what_is_gone_nothing_is_written(store: Store) -> None:
    bid, _ = await out(store)
    before = await everything(store)
    gone = await told(
        store,
        status("0123456789abcd", 0, "sent"),
        status(bid, 0, "sent")._replace(batch="0.7"),
        status(bid, 64, "sent"),
    )
    assert (gone.changed, gone.missing) == (0, 3)
    assert await everything(store) == before
    await store.redis.hset(store.keys.broadcast(bid), "state", "deleting")
    assert (await told(store, status(bid, 0, "sent"))).missing == 1


def test_sids_and_codes_are_read_with_care() -> None:
    assert is_sid("SM" + "0" * 32)
    assert is_sid("MM" + "aF" * 16)
    for wrong in ("", "SM", "SM" + "0" * 31, "SM" + "0" * 33, "AC" + "0" * 32, "SM" + "\u0660" * 32):
        assert not is_sid(wrong)
    texts = ["30003", "0", "16777215", "16777216", "9" * 400, "", "-1", "3e4", "\u0663"]
    assert [code_of(text) for text in texts] == [30003, 0, 16777215, 0, 0, 0, 0, 0, 0]
