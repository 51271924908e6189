"""What else goes on while everything unsent is put in doubt, and what is heard of it later, loses nobody."""

from __future__ import annotations

import asyncio
from array import array
from typing import TYPE_CHECKING

import pytest
from driving import LANE, SID, ask, join, result, send_all, take, tell
from loading import counts, load
from test_rewinding import another, lost, settled

from broadcaster.domain.record import Reason, State
from broadcaster.lanes import claims, control
from broadcaster.ledger.doubts import read_doubts
from broadcaster.ledger.replaying import Letters, replay
from broadcaster.ledger.rewinding import rewind
from broadcaster.reporting.lanes import read_lane
from broadcaster.store.guard import Guard
from broadcaster.store.scripts import Call, packed, text
from workers import jobs

if TYPE_CHECKING:
    from broadcaster.store.connection import Store


async def mark(store: Store, bid: str, batch: str, *, last: bool) -> int:
    """Put one batch in doubt, as one of the steps of `rewind`."""
    seen = int(batch.partition(".")[2]) + 1 if last else 0
    return await store.run(Call("rewind", (bid, LANE, packed([batch]), seen), int))


async def end(store: Store) -> None:
    """Let the rest go on, whoever is still under way."""
    at = int(await store.redis.hget(store.keys.plain("account"), "rewind_at"))
    assert await store.run(Call("rewound", (at, 0), text)) == "ok"


async def test_a_doer_that_comes_late_leaves_to_its_flow_what_it_has_not_seen(store: Store) -> None:
    """Another has ended the rewinding before a second one got beyond the first batch of a new broadcast."""
    await join(store)
    await lost(store)
    bid = await load(store, {LANE: 40}, batch=20)
    assert await mark(store, bid, "0.0", last=False) == 20
    await end(store)
    assert await mark(store, bid, "0.1", last=True) == -1
    assert await send_all(store) == 20
    await settled(store, bid)
    assert await send_all(store) == 20


async def test_what_is_replayed_while_another_batch_is_put_in_doubt_is_in_doubt_with_it(store: Store) -> None:
    bid = await load(store, {LANE: 40}, batch=20)
    await join(store)
    (held,) = await take(store, records=1)
    assert (await ask(store, held)).yes == "1"
    await tell(store, held, [result(0, 1, State.DEAD, code=30003)])
    await store.run(claims.release("w1", [held.claim]))
    await lost(store)
    assert await mark(store, bid, "0.0", last=False) == 19
    letters = Letters(bid, LANE, "0.0", array("H", [0, 1]), (30003,))
    assert (await store.run(replay(letters))).changed == 1
    assert await mark(store, bid, "0.1", last=True) == 20
    await end(store)
    assert await send_all(store) == 0
    await settled(store, bid)
    assert await send_all(store) == 40


async def retried_and_lost(store: Store) -> tuple[str, claims.Slice]:
    """Let a message wait for its second attempt because the list did not show the first; then lose writes."""
    bid = await load(store, {LANE: 1})
    await join(store)
    (held,) = await take(store)
    assert (await ask(store, held)).yes == "1"
    await tell(store, held, [result(0, 1, State.IN_DOUBT, code=Reason.NO_ANSWER)])
    await store.run(claims.release("w1", [held.claim]))
    await settled(store, bid)
    await lost(store)
    await rewind(store)
    return bid, held


@pytest.mark.parametrize("put_back", [False, True], ids=["in doubt", "put back"])
async def test_an_earlier_attempt_that_was_accepted_ends_what_may_never_have_left(
    store: Store,
    put_back: bool,  # noqa: FBT001 - a table
) -> None:
    bid, held = await retried_and_lost(store)
    if put_back:
        await settled(store, bid)
        assert await counts(store, bid) == {State.QUEUED: 1}
    told = await tell(store, held, [result(0, 1, State.ACCEPTED, sid=SID)], twice=True)
    assert (told.changed, told.caused) == (1, 0)
    assert await counts(store, bid) == {State.ACCEPTED: 1}
    assert await send_all(store) == 0
    # only the second message is one too many
    second = await tell(store, held, [result(0, 2, State.ACCEPTED, sid=SID[::-1])], twice=True)
    assert second.caused == 1


async def test_who_was_skipped_by_a_redis_that_had_forgotten_the_attempt_counts_as_reached(
    store: Store,
) -> None:
    bid = await load(store, {LANE: 1})
    await store.run(control.skip(bid, LANE, "0.0", Reason.EXPIRED))
    held = claims.Slice("gone", LANE, bid, "0.0", 0.0, 0.0, [])
    await tell(store, held, [result(0, 1, State.ACCEPTED, sid=SID)], twice=True)
    assert await counts(store, bid) == {State.ACCEPTED: 1}


async def test_what_may_have_been_sent_in_time_is_not_called_expired_meanwhile(store: Store) -> None:
    bid = await load(store, {LANE: 2})
    await join(store)
    await lost(store)
    assert await store.run(control.skip(bid, LANE, "0.0", Reason.EXPIRED)) == 0
    await rewind(store)
    assert await counts(store, bid) == {State.IN_DOUBT: 2}


async def test_nothing_leaves_through_a_server_that_nobody_has_looked_at(store: Store) -> None:
    """It knows our scripts: another installation has loaded them, or it was the primary before."""
    await load(store, {LANE: 2})
    await join(store)
    (held,) = await take(store)
    await store.guard.look("w1")
    await another(store)
    assert (await ask(store, held)).refused == "server"
    assert not (await store.guard.look("w1")).lost
    assert (await ask(store, held)).yes == "11"


async def test_an_attempt_that_redis_lost_unnoticed_is_settled_in_the_end(store: Store) -> None:
    """A worker tells how it failed; no loss was found, so nobody will say that nothing is in flight."""
    bid = await load(store, {LANE: 1})
    held = claims.Slice("gone", LANE, bid, "0.0", 0.0, 0.0, [])
    await tell(store, held, [result(0, 1, State.RETRY)])
    (doubt,) = await read_doubts(store, 900.0)
    assert doubt.record.code == Reason.REWOUND
    assert doubt.owner_until == doubt.record.changed + 900.0
    (doubt,) = await read_doubts(store, 0.0)
    assert doubt.question.in_flight_until == doubt.record.changed


async def test_looks_that_a_failover_lost_are_found_once(store: Store) -> None:
    """Each of three workers knows a higher count than the last; whoever looks first speaks for all."""
    await store.guard.look()  # so that each of them knows more than the 1 which is left
    guards = [Guard(store.redis, store.run, replicas=0) for _ in range(3)]
    for guard in guards:
        await guard.look()
    await store.redis.hset(store.keys.plain("server"), "count", 1)
    first, third, second = guards
    found = [await guard.look() for guard in (first, second, third, *guards)]
    assert [look.lost for look in found] == [True, *[False] * 5]


async def test_a_process_puts_in_doubt_once_at_a_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is called every second, and takes longer where there is much."""
    begun, go_on = [], asyncio.Event()

    async def slow(store: Store) -> None:
        begun.append(store)
        await go_on.wait()

    monkeypatch.setattr(jobs, "rewind", slow)
    calls = [asyncio.create_task(jobs.rewind_lost({"store": store})) for _ in range(3)]
    await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    assert len(begun) == 1
    go_on.set()
    await asyncio.gather(*calls)
    await jobs.rewind_lost({"store": store})
    assert len(begun) == 2


async def test_what_is_not_written_through_while_the_file_is_written_anew_is_not_always_on_disk(
    store: Store,
) -> None:
    await store.guard.look()
    key = store.keys.plain("server")
    assert await store.redis.hget(key, "always") == b"1"
    await store.redis.config_set("no-appendfsync-on-rewrite", "yes")
    store.guard.forget_server()
    await store.guard.look()
    assert await store.redis.hget(key, "always") == b"0"
    await store.redis.config_set("no-appendfsync-on-rewrite", "no")


async def test_a_sender_says_what_stops_them_all(store: Store) -> None:
    await load(store, {LANE: 2})
    await store.run(control.pause_account("20005: the account is suspended"))
    view = await read_lane(store, LANE)
    assert view is not None
    assert (view.state, view.reason) == ("paused", "everything is stopped: 20005: the account is suspended")
    await store.guard.look(rewind_to=1_700_000_000)
    view = await read_lane(store, LANE)
    assert view is not None
    assert view.state == "held"
    assert "lost what was written from 2023-11-14 22:13:20 UTC on" in view.reason
