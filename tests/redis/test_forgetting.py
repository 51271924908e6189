"""A person is forgotten everywhere, down to the bytes of Redis' files; nothing is sent, counts add up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from driving import LANE, OTHER, SID, ask, everything, join, overdue, result, send_all, take, tell
from hosting import hosting
from knowing import NAME, ORDER, PERSON, SENDER, TEXT, WORDS, WRITTEN, know, other
from loading import counts, load, number, records
from traces import PLAIN, needles, seen_by_drafts, traces

from broadcaster.domain.content import Content, RenderError, compile_content
from broadcaster.domain.forgotten import FORGOTTEN, addresses_of
from broadcaster.domain.record import Reason, State
from broadcaster.intake import streams
from broadcaster.lanes import claims
from broadcaster.ledger.forgetting import forget_in_batches, tombstoned
from broadcaster.ledger.optouts import OptOuts, opt_out
from broadcaster.ledger.people import find_places
from broadcaster.ledger.replaying import carry_out, find_letters
from broadcaster.ledger.settling import Verdict, settle
from broadcaster.operations.actor import Actor
from broadcaster.operations.people import forget
from broadcaster.operations.person import show
from broadcaster.operations.retention import DAY_SECONDS, remove_old
from broadcaster.reporting.broadcasts import read_broadcast
from broadcaster.reporting.messages import find_number, list_messages, read_message
from broadcaster.store.batches import Recipients
from broadcaster.store.connection import Store, open_store
from broadcaster.store.embedded import EmbeddedServer
from broadcaster.store.rewriting import rewrite_files
from broadcaster.telemetry.metrics import Metrics
from broadcaster.twilio.forms import FormTemplate
from broadcaster.twilio.rest import TwilioRest
from workers.contents import Batch
from workers.routes import Route, Routes
from workers.settling import Settler, Settling

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from broadcaster.store.server_binary import ServerBinary

TESTER = Actor("person:tester@here", "test")


@pytest.fixture
async def on_disk(tmp_path: Path, server_binary: ServerBinary) -> AsyncIterator[Store]:
    """An installation of its own, whose files hide nothing, with an append-only file and snapshots."""
    with EmbeddedServer(tmp_path, binary=server_binary, options=PLAIN) as server:
        opened = await open_store(server.url)
        yield opened
        await opened.close()


async def add_up(store: Store) -> dict[str, dict[State, int]]:
    """Return all counts, which must be those of the records, and of the totals."""
    found = {}
    for name in ("bcs", "streams"):
        for raw in await store.redis.zrange(store.keys.plain(name), 0, -1):
            bid = raw.decode()
            told = await counts(store, bid)
            view = await read_broadcast(store, bid)
            assert view is not None
            assert sum(told.values()) == view.total
            if view.removed_at is None:
                states = [record.state for record in (await records(store, bid)).values()]
                assert {state: states.count(state) for state in set(states)} == told
            found[bid] = told
    return found


async def test_nothing_of_a_forgotten_person_is_left_in_the_files(on_disk: Store, tmp_path: Path) -> None:
    store, wanted = on_disk, needles(PERSON, WRITTEN, NAME, ORDER, WORDS)
    async with hosting(store) as api:
        made = await know(api, store)
    await store.redis.bgsave()
    before = await add_up(store)
    assert traces(tmp_path, [PERSON.encode()])
    assert traces(tmp_path, [NAME.encode()])
    assert await seen_by_drafts(store, PERSON)
    waiting = (await show(store, TESTER, addresses_of(PERSON)))["waiting"]
    done = await forget(store, TESTER, addresses_of(PERSON))
    assert waiting == {"callbacks": 1, "events": done.events}
    assert (await show(store, TESTER, addresses_of(PERSON)))["waiting"] == {"callbacks": 0, "events": 0}
    assert done.files.done == ("aof", "rdb")
    assert (done.again, done.batches.messages, done.replies, done.opt_outs) == ([], 5, 1, 1)
    assert done.lists == 2
    assert done.answers == 2
    assert done.events >= 2
    assert traces(tmp_path, wanted) == []
    assert not await seen_by_drafts(store, PERSON)
    after = await add_up(store)
    assert {bid: sum(told.values()) for bid, told in after.items()} == {
        bid: sum(told.values()) for bid, told in before.items()
    }
    assert after[made["sent"]][State.DEAD] == 1
    for name in ("waiting", "draft", "parts", "stream"):
        assert after[made[name]][State.SKIPPED] == 1
    assert [view async for view in find_number(store, None, PERSON)] == []
    views = [view async for view in list_messages(store, made["waiting"])]
    assert [view.to for view in views] == [FORGOTTEN, other(0), other(1), other(2)]
    assert views[0].variables == {"name": ""}
    assert views[0].record.code == Reason.FORGOTTEN
    known = OptOuts()
    await known.refresh(store)
    assert known.blocks(PERSON, known.scopes(SENDER, None, "utility"))
    assert not known.blocks(other(1), known.scopes(SENDER, None, "utility"))
    again = await forget(store, TESTER, addresses_of(f"whatsapp:{PERSON}"))
    assert (again.batches.messages, again.lists, again.answers, again.events, again.opt_outs) == (
        0,
        0,
        0,
        0,
        0,
    )
    assert await add_up(store) == after


async def test_nothing_is_left_in_the_files_when_time_is_up(on_disk: Store, tmp_path: Path) -> None:
    store, wanted = on_disk, needles(PERSON, WRITTEN, NAME, ORDER, WORDS, TEXT)
    async with hosting(store) as api:
        made = await know(api, store, opted_out=False)
    await send_all(store)
    await store.redis.bgsave()
    await rewrite_files(store)
    before = await add_up(store)
    assert traces(tmp_path, [NAME.encode()])
    assert traces(tmp_path, [TEXT.encode()])
    await store.redis.delete(store.keys.plain("parked"))  # ten minutes (strays.py)
    await streams._remove(store, made.pop("stream"))  # a day after its last change (test_append.py)
    for key in await store.redis.keys(store.keys.plain("once:*")):  # for a day
        assert 0 < await store.redis.ttl(key) <= DAY_SECONDS
        await store.redis.delete(key)
    now, _ = await store.redis.time()
    removed = await remove_old(store, 30, now + 31 * DAY_SECONDS)
    assert removed.broadcasts == len(made)
    assert removed.events >= 2
    assert removed.replies == 1
    await rewrite_files(store)
    assert traces(tmp_path, wanted) == []
    assert not await seen_by_drafts(store, PERSON)
    after = await add_up(store)
    for name in ("sent", "waiting"):
        assert after[made[name]] == before[made[name]]
    for name in ("draft", "parts"):
        assert after[made[name]] == {State.SKIPPED: 4}


# -- what is under way


async def test_a_claimed_message_of_a_forgotten_person_does_not_pass_the_gate(store: Store) -> None:
    await load(store, {LANE: 3})
    await join(store)
    (held,) = await take(store)
    done = await forget_in_batches(store, [number(1)])
    assert (done.messages, done.skipped) == (1, 1)
    assert (await ask(store, held)).yes == "101"


@pytest.mark.parametrize("waits", [False, True])
async def test_what_was_being_sent_is_not_tried_again(store: Store, waits: bool) -> None:  # noqa: FBT001
    bid = await load(store, {LANE: 2})
    await join(store)
    (held,) = await take(store)
    assert (await ask(store, held)).yes == "11"
    if waits:
        await tell(store, held, [result(0, 1, State.RETRY, code=500, delay_us=1)])
    done = await forget_in_batches(store, [number(0)])
    assert (done.skipped, done.sending) == ((1, 0) if waits else (0, 1))
    if not waits:
        await tell(store, held, [result(0, 1, State.RETRY, code=500, delay_us=1)], twice=True)
    await tell(store, held, [result(1, 1, State.ACCEPTED, sid=SID)])
    await store.run(claims.release("w1", [held.claim]))
    assert await send_all(store) == 0
    view = await read_broadcast(store, bid)
    assert view is not None
    assert (view.state, view.counts) == ("completed", {State.SKIPPED: 1, State.ACCEPTED: 1})
    assert [(c.state, c.code) for c in view.codes] == [(State.SKIPPED, Reason.FORGOTTEN)]


async def test_doubt_about_a_forgotten_person_ends_as_a_dead_letter_that_never_goes_again(
    store: Store,
) -> None:
    bid = await load(store, {LANE: 2})
    await join(store)
    (held,) = await take(store)
    await ask(store, held)
    await tell(store, held, [result(0, 1, State.IN_DOUBT, code=Reason.NO_ANSWER, spend=1)])
    done = await forget_in_batches(store, [number(0)])
    assert (done.dead, done.skipped) == (1, 0)
    found = await read_message(store, f"{bid}.0.0.0")
    assert found is not None
    view, history = found
    assert (view.to, view.record.state, view.record.code) == (FORGOTTEN, State.DEAD, Reason.UNKNOWN)
    assert [attempt.state for attempt in history][-1] is State.DEAD
    letters = [one async for one in find_letters(store, bid)]
    before = await everything(store)
    assert (await carry_out(store, letters, again=True)).changed == 0
    assert await everything(store) == before
    await tell(store, held, [result(0, 1, State.ACCEPTED, sid=SID)])  # late news of that attempt count
    assert (await records(store, bid))["0.0", 0].state is State.ACCEPTED


async def test_a_lost_worker_s_message_is_given_up(store: Store) -> None:
    bid = await load(store, {LANE: 1})
    await join(store, lease_seconds=60)
    (held,) = await take(store)
    await ask(store, held)
    await forget_in_batches(store, [number(0)])
    await overdue(store, "w1")
    await store.run(claims.sweep(0))
    await store.run(claims.sweep(0))
    (record,) = (await records(store, bid)).values()
    assert record.state is State.IN_DOUBT
    verdict = Verdict(LANE, bid, "0.0", 0, 1, record.changed, absent=True, hold=False)
    assert (await store.run(settle([verdict], 5))).skipped == 1
    assert (await records(store, bid))["0.0", 0].code == Reason.FORGOTTEN


async def test_no_list_is_asked_for_a_person_without_a_number(store: Store) -> None:
    bid = await load(store, {LANE: 2}, body="hello")
    await join(store)
    (held,) = await take(store)
    await ask(store, held)
    await forget_in_batches(store, [number(0)])
    await overdue(store, "w1")
    for _ in range(2):
        await store.run(claims.sweep(0.0))
    async with TwilioRest("AC0", ("AC0", "x"), "http://127.0.0.1:9") as rest:
        await Settler(store, rest, Settling(), Metrics()).round()
    states = [record.state for record in (await records(store, bid)).values()]
    assert states == [State.DEAD, State.IN_DOUBT]


def test_nothing_is_made_for_a_tombstone() -> None:
    recipients = tombstoned(Recipients(["+14155550100"], ["order-7"], ("name",), [["Ann"]]), [0])
    content = compile_content(Content(body="hello"))
    template, routes = FormTemplate([("From", LANE)]), Routes(Route(LANE, "sms"), Route(LANE, "whatsapp"))
    batch = Batch(recipients, content.over_rows(("name",)), template, routes=routes)
    with pytest.raises(RenderError):
        batch.form(0, 1)


async def test_forgetting_that_died_half_way_is_ended_by_the_next(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def state() -> dict[str, Any]:
        return {k: v for k, v in (await everything(store)).items() if ":audit" not in k and ":wake" not in k}

    bids = [await load(store, {LANE: 40, OTHER: 3}, batch=5) for _ in range(3)]
    await store.run(opt_out([number(7)], "test"))
    run, left = type(store).run, 0

    async def dying(self: Store, call: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return await run(self, call)

    for steps in (1, 2, 3, 5, 7):
        left = steps
        with monkeypatch.context() as patch:
            patch.setattr(type(store), "run", dying)
            try:
                await forget(store, TESTER, addresses_of(number(7)))
            except KeyboardInterrupt:
                continue
    await forget(store, TESTER, addresses_of(number(7)))
    before = await state()
    assert [view async for view in find_number(store, None, number(7))] == []
    assert (await find_places(store, [number(7)]))[number(7)] == []
    for bid in bids:
        assert (await counts(store, bid)) == {State.QUEUED: 42, State.SKIPPED: 1}
    await forget(store, TESTER, addresses_of(number(7)))
    assert await state() == before
    assert len([view async for view in find_number(store, None, number(8))]) == 3
