"""Streams: single messages that come one batch after the other, and every script that meets them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from driving import LANE, OTHER, SID, ask, everything, join, result, send_all, take, tell
from loading import counts, load, number, records
from test_rewinding import lost, settled
from test_rewinding_beside import end, mark

from broadcaster.domain.broadcast import OnDoubt, Priority
from broadcaster.domain.content import Content
from broadcaster.domain.record import Reason, State
from broadcaster.intake.single_rows import Row, stream_batch
from broadcaster.intake.streams import Appended, Item, Stream, StreamKey, remove_streams, retire
from broadcaster.lanes import claims, control
from broadcaster.ledger.optouts import opt_out
from broadcaster.ledger.replaying import carry_out, find_letters
from broadcaster.ledger.rewinding import rewind
from broadcaster.reporting.broadcasts import list_broadcasts, read_broadcast
from broadcaster.reporting.dead_letters import broadcasts_with_dead_letters
from broadcaster.reporting.messages import find_number, read_message
from workers.jobs import end_expired, remove_old_streams, skip_unsent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.store.connection import Store

SHAPE = Content(body="{{ body }}")


def stream(*lanes: str, **changed: Any) -> Stream:
    named = tuple((lane, 1000.0) for lane in lanes or (LANE,))
    key = StreamKey("k", "shape", named, None, Priority.URGENT, OnDoubt.RESEND, None, None, 1)
    return Stream.of(key._replace(**changed), SHAPE)


_numbers = iter(range(1, 10**9))


async def post(
    store: Store, into: Stream, *to: str, lane: int = 0, code: int = 0, memo: str = "p:0", at: int = 0
) -> Appended:
    """Append one batch."""
    rows = [Row(lane, address, None, ("hello",), 1, code) for address in to]
    batch = stream_batch(lane, ("body",), rows, [code] * len(to), int(time.time()))
    (answer,) = await store.run(into.append([Item(memo, at or next(_numbers), 60, [batch])]))
    return answer


async def field(store: Store, bid: str, name: str) -> str:
    return (await store.redis.hget(store.keys.broadcast(bid), name) or b"").decode()


async def test_messages_go_out_and_the_stream_is_completed_each_time(store: Store) -> None:
    await join(store)
    into = stream()
    for i in range(3):
        answer = await post(store, into, number(2 * i), number(2 * i + 1))
        assert answer == Appended("ok", into.id, [f"0.{i}"], known=False)
        assert await field(store, into.id, "state") == "running"
        assert await send_all(store) == 2
        assert await field(store, into.id, "state") == "completed"
    assert await counts(store, into.id) == {State.ACCEPTED: 6}
    assert await field(store, into.id, "total") == "6"
    assert not await store.redis.smembers(store.keys.plain("active"))
    assert await list_broadcasts(store) == [], "it is no campaign"
    view = await read_broadcast(store, into.id)
    assert view is not None
    assert (view.state, view.total, view.senders) == ("completed", 6, (LANE,))
    assert [v.id async for v in find_number(store, None, number(3))] == [f"{into.id}.0.1.1"]


async def test_the_same_call_appends_once_and_a_late_one_not_at_all(store: Store) -> None:
    into = stream()
    await post(store, into, number(0), at=5)
    before = await everything(store)
    assert await post(store, into, number(0), at=5) == Appended("ok", into.id, ["0.0"], known=True)
    assert await everything(store) == before
    assert (await post(store, into, number(1), at=4)).verdict == "late"
    assert await everything(store) == before
    assert (await post(store, into, number(1), at=6)).batches == ["0.1"]
    assert (await post(store, into, number(1), memo="p:1", at=1)).batches == ["0.2"]


async def test_several_lanes_and_batches_in_one_step(store: Store) -> None:
    await join(store)
    into = stream(LANE, OTHER)
    parts = [
        stream_batch(lane, ("body",), [Row(lane, number(i), f"r{i}", ("x",), 1, 0)], [0], 1)
        for i, lane in enumerate((1, 0, 1))
    ]
    (answer,) = await store.run(into.append([Item("m", 1, 60, parts)]))
    assert answer.batches == ["1.0", "0.0", "1.1"]
    assert sorted(s.lane for s in await take(store)) == [LANE, OTHER]
    told = await read_message(store, f"{into.id}.1.1.0")
    assert told is not None
    assert (told[0].to, told[0].reference, told[0].sender) == (number(2), "r2", OTHER)
    assert (await find_ids(store, number(2))) == [f"{into.id}.1.1.0"]


async def test_several_items_of_which_some_are_known(store: Store) -> None:
    await join(store)
    into = stream()

    def item(memo: str, i: int) -> Item:
        return Item(
            memo, 1, 60, [stream_batch(0, ("body",), [Row(0, number(i), None, ("x",), 1, 0)], [0], 1)]
        )

    first = await store.run(into.append([item("a", 0), item("b", 1)]))
    assert [answer[2:] for answer in first] == [(["0.0"], False), (["0.1"], False)]
    again = await store.run(into.append([item("b", 1), item("c", 2), item("c", 2), item("a", 0)]))
    assert [answer[2:] for answer in again] == [
        (["0.1"], True), (["0.2"], False), (["0.2"], True), (["0.0"], True),
    ]  # fmt: skip
    await store.run(control.cancel(into.id, "by hand"))
    refused = await store.run(into.append([item("c", 2), item("d", 3)]))
    assert [answer.verdict for answer in refused] == ["ok", "canceled"]
    assert await field(store, into.id, "total") == "3"


async def find_ids(store: Store, to: str) -> list[str]:
    return [view.id async for view in find_number(store, None, to)]


async def test_who_is_skipped_keeps_no_stream_open(store: Store) -> None:
    into = stream()
    await post(store, into, number(0), code=Reason.OPTED_OUT)
    assert await field(store, into.id, "state") == "completed"
    await post(store, into, number(1), code=Reason.OPTED_OUT)
    assert await field(store, into.id, "state") == "completed"
    assert await counts(store, into.id) == {State.SKIPPED: 2}
    assert await store.redis.hgetall(store.keys.broadcast(into.id, ":codes")) == {b"11:1": b"2"}


async def test_two_processes_share_a_stream(store: Store) -> None:
    one, other = stream(), stream()
    assert one.id != other.id
    await post(store, one, number(0))
    answer = await post(store, other, number(1), memo="q:0")
    assert (answer.stream, answer.batches) == (one.id, ["0.1"])


async def test_a_paused_stream_takes_messages_which_wait(store: Store) -> None:
    await join(store)
    into = stream()
    await post(store, into, number(0))
    await store.run(control.pause(into.id, "by hand"))
    assert (await post(store, into, number(1))).verdict == "ok"
    assert await take(store) == []
    await store.run(control.resume(into.id))
    assert await send_all(store) == 2


@pytest.mark.parametrize("state", ["canceled", "removing"])
async def test_a_stream_that_takes_nothing_is_followed_by_another(store: Store, state: str) -> None:
    into = stream()
    await post(store, into, number(0))
    first = into.id
    if state == "canceled":
        await store.run(control.cancel(first, "by hand"))
        await skip_unsent({"store": store}, first)
    else:
        await store.redis.hset(store.keys.broadcast(first), "state", state)
    before = await everything(store)
    assert await post(store, into, number(1)) == Appended(state, first, [], known=False)
    assert await everything(store) == before
    into.begin_anew()
    assert (await post(store, into, number(1))).stream == into.id != first


async def test_an_expired_message_is_skipped(store: Store) -> None:
    into = stream(expires_at=time.time() - 1)
    await post(store, into, number(0))
    await join(store)
    (held,) = await take(store)
    assert (await ask(store, held)).refused == "expired"
    await end_expired({"store": store})
    assert (await records(store, into.id))["0.0", 0].code == Reason.EXPIRED
    assert await field(store, into.id, "state") == "completed"


async def test_failures_stop_no_stream(store: Store) -> None:
    await join(store)
    await store.run(control.set_stop_rule(0.2, after=10, window=20))
    into = stream()
    await post(store, into, *(number(i) for i in range(60)))
    dead = 0
    while slices := await take(store, horizon_seconds=1.0):
        for held in slices:
            assert "0" not in (await ask(store, held)).yes
            outcomes = [result(i.row, 1, State.DEAD, code=21617, content=1) for i in held.items]
            told = await tell(store, held, outcomes, twice=True)
            assert (told.paused, told.completed) == ([], [])
            dead += len(outcomes)
            await store.run(claims.release("w1", [held.claim]))
    assert dead == 60
    assert await counts(store, into.id) == {State.DEAD: 60}
    assert not await store.redis.exists(store.keys.broadcast(into.id, ":run"))
    assert await broadcasts_with_dead_letters(store) == [into.id]
    letters = [found async for found in find_letters(store, into.id)]
    assert (await carry_out(store, letters, again=True)).changed == 60
    assert await field(store, into.id, "state") == "running"
    assert await send_all(store) == 60
    assert await field(store, into.id, "state") == "completed"


async def test_who_does_not_know_the_last_opt_out_is_told(store: Store) -> None:
    into = stream()
    await store.run(opt_out([number(0)], "a test"))
    before = await everything(store)
    assert (await post(store, into, number(0))).verdict == "optouts"
    assert await everything(store) == before


async def test_a_worker_that_dies_gives_its_messages_back(store: Store) -> None:
    await join(store)
    into = stream()
    await post(store, into, number(0), number(1))
    (held,) = await take(store, records=1)
    await store.run(claims.release("w1", [held.claim]))
    await post(store, into, number(2))
    assert await send_all(store) == 3


async def test_one_message_is_canceled_before_it_leaves(store: Store) -> None:
    await join(store)
    into = stream()
    await post(store, into, number(0), number(1), number(2))
    call = control.cancel_message(into.id, LANE, "0.0", 1)
    assert await store.run(call) == (True, State.SKIPPED)
    before = await everything(store)
    assert await store.run(call) == (False, State.SKIPPED)
    assert await everything(store) == before
    assert (await records(store, into.id))["0.0", 1].code == Reason.CANCELED
    assert await send_all(store) == 2
    assert await field(store, into.id, "state") == "completed"
    assert await store.run(control.cancel_message(into.id, LANE, "0.0", 0)) == (False, State.ACCEPTED)
    assert await store.run(control.cancel_message(into.id, LANE, "0.0", 3)) == (False, None)


async def test_a_retry_is_canceled_and_completes_its_stream(store: Store) -> None:
    await join(store)
    into = stream()
    await post(store, into, number(0))
    (held,) = await take(store)
    await ask(store, held)
    assert await store.run(control.cancel_message(into.id, LANE, "0.0", 0)) == (False, State.SENDING)
    await tell(store, held, [result(0, 1, State.RETRY, code=30001, spend=1)])
    await store.run(claims.release("w1", [held.claim]))
    assert (await store.run(control.cancel_message(into.id, LANE, "0.0", 0))).changed
    assert await field(store, into.id, "state") == "completed"
    assert await take(store) == []


# -- a Redis that lost writes


async def test_after_a_loss_names_of_batches_are_never_given_again(store: Store) -> None:
    """What was lost may be a batch that a worker remembers; the next to come must not have its name."""
    await join(store)
    into = stream()
    await post(store, into, number(0))
    assert await send_all(store) == 1
    await lost(store)
    assert await rewind(store) is not None
    assert (await post(store, into, number(1))).verdict == "completed"
    into.begin_anew()
    assert (await post(store, into, number(1))).batches == ["0.0"]
    assert (await post(store, into, number(2))).batches == ["0.1"]
    assert await send_all(store) == 2


async def test_another_server_is_looked_at_before_it_takes_messages(store: Store) -> None:
    into = stream()
    await post(store, into, number(0))
    await store.redis.hset(store.keys.plain("server"), "run", "an earlier one")
    before = await everything(store)
    assert (await post(store, into, number(1))).verdict == "server"
    assert await everything(store) == before


async def test_a_batch_that_comes_while_others_are_put_in_doubt_is_sent(store: Store) -> None:
    """It comes between a doer's look at the flow and its last step, in a stream of after the loss."""
    await join(store)
    into = stream()
    await post(store, into, number(0), number(1))
    await lost(store)
    at = await store.redis.hget(store.keys.plain("rewound"), "at")
    await store.redis.hset(store.keys.broadcast(into.id), "after", at)
    assert (await post(store, into, number(2))).batches == ["0.1"]
    assert await mark(store, into.id, "0.0", last=True) == 2
    await end(store)
    assert await counts(store, into.id) == {State.IN_DOUBT: 2, State.QUEUED: 1}
    assert await send_all(store) == 1
    await settled(store, into.id)
    assert await send_all(store) == 2


async def test_a_stream_is_rewound_with_the_rest(store: Store) -> None:
    await join(store)
    into = stream()
    await post(store, into, number(0))
    bid = await load(store, {LANE: 1}, first=7)
    await lost(store)
    done = await rewind(store)
    assert done is not None
    assert (done.broadcasts, done.messages) == (2, 2)
    for one in (into.id, bid):
        assert await counts(store, one) == {State.IN_DOUBT: 1}
        await settled(store, one)
    assert await send_all(store) == 2


# -- removing


async def aged(store: Store, bid: str, seconds: int) -> None:
    """Let a stream and its records be so much older."""
    now = int(time.time()) - seconds
    await store.redis.zadd(store.keys.plain("streams"), {bid: now * 1_000_000})
    if await store.redis.hexists(store.keys.broadcast(bid), "finished"):
        await store.redis.hset(store.keys.broadcast(bid), "finished", now)
    async for key in store.redis.scan_iter(store.keys.ledger(bid, "*")):
        raw = await store.redis.get(key)
        for at in range(0, len(raw), 32):
            await store.redis.setrange(key, at + 28, now.to_bytes(4, "big"))


async def test_a_stream_that_is_over_is_removed_whole(store: Store) -> None:
    await join(store)
    into = stream(LANE, OTHER)
    await post(store, into, number(0), number(1))
    await post(store, into, number(2), lane=1)
    held, other = await take(store, lanes=2)
    await store.run(claims.release("w1", [other.claim]))
    await ask(store, held)
    await tell(store, held, [result(i.row, 1, State.RETRY, code=30001, spend=1) for i in held.items])
    await store.run(claims.release("w1", [held.claim]))
    assert await remove_streams(store, 3600) == 0, "it is too young"
    await aged(store, into.id, 4000)
    assert await remove_streams(store, 3600) == 0, "not all is sent"
    assert await send_all(store) == 3
    await aged(store, into.id, 4000)
    assert await remove_streams(store, 5000) == 0, "too young still"
    now, _ = await store.redis.time()
    await store.redis.zadd(store.keys.plain("handed"), {into.id: now + 60})
    assert await remove_streams(store, 3600) == 0, "Twilio keeps it back: who opts out must be found"
    await store.redis.zrem(store.keys.plain("handed"), into.id)
    await remove_old_streams({"store": store, "messages_kept_seconds": 3600})
    passing = (store.keys.plain("append:"), store.keys.plain("stream:"))
    left = {key: held for key, held in (await everything(store)).items() if not key.startswith(passing)}
    assert into.id not in repr(left)
    assert ":who:" not in repr(left)
    assert (await post(store, into, number(3))).stream == into.id, "and nothing is in its way"


async def test_a_removal_that_died_is_done_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await join(store)
    into = stream()
    for i in range(3):
        await post(store, into, number(i))
    await send_all(store)
    await aged(store, into.id, 4000)
    unlink = store.redis.unlink
    steps = -1
    removed = 0
    while not removed:
        steps += 1
        left = iter(range(steps))

        async def counted(*arguments: Any, left: Iterator[int] = left) -> Any:
            if next(left, None) is None:
                raise ConnectionError
            return await unlink(*arguments)

        monkeypatch.setattr(store.redis, "unlink", counted)
        try:
            removed = await remove_streams(store, 3600)
        except ConnectionError:
            assert await field(store, into.id, "state") == "removing"
            assert await find_ids(store, number(0)) == []
    assert steps == 2
    assert not [key for key in await everything(store) if into.id in key or ":who:" in key]


async def test_a_callback_keeps_its_stream(store: Store) -> None:
    """What was delivered an hour after it was accepted is kept from then."""
    await join(store)
    into = stream()
    await post(store, into, number(0))
    (held,) = await take(store)
    await ask(store, held)
    await tell(store, held, [result(0, 1, State.ACCEPTED, sid=SID)])
    await aged(store, into.id, 4000)
    await tell(store, held, [result(0, 1, State.DELIVERED, sid=SID)])
    assert await remove_streams(store, 3600) == 0
    assert await store.run(retire(into.id, 3600)) == "ok", "by its own time it would have gone"


async def test_only_streams_are_retired(store: Store) -> None:
    bid = await load(store, {LANE: 1})
    assert await store.run(retire(bid, 0)) == "no stream"
    assert await store.run(retire("unknown", 0)) == "gone"
    into = stream()
    await post(store, into, number(0))
    assert await store.run(retire(into.id, 0)) == "running"
    await store.run(control.cancel(into.id, "by hand"))
    assert await store.run(retire(into.id, 0)) == "open"
    await skip_unsent({"store": store}, into.id)
    assert await store.run(retire(into.id, 0)) == "ok"
