"""Events as the scripts tell them: what happened, once, to those who asked; and where they wait."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from asking import URL, asking, told
from driving import LANE, OTHER, SID, ask, everything, join, overdue, result, take, tell
from loading import load, records
from msgspec.structs import replace

from broadcaster.domain.record import Evidence, Reason, State
from broadcaster.events import endpoints, payloads, queue, stream
from broadcaster.events.endpoints import KINDS, EndpointError, read_place
from broadcaster.events.stream import BroadcastChange, MessageChange, OptOutChange
from broadcaster.lanes import claims, control
from broadcaster.ledger.optouts import opt_in, opt_out
from broadcaster.ledger.replaying import carry_out, find_letters
from broadcaster.ledger.settling import Found, Verdict, accept, settle
from broadcaster.operations import event_endpoints
from broadcaster.operations.actor import Actor
from broadcaster.operations.errors import Conflict, NotFound
from broadcaster.store.scripts import Call, packed

if TYPE_CHECKING:
    from broadcaster.lanes.claims import Slice
    from broadcaster.store.connection import Store

SID_TEXT = "SM" + SID.hex()
TESTER = Actor("person:test", "here")


async def out(store: Store, count: int = 1, **more: Any) -> tuple[str, Slice]:
    """A broadcast whose first slice is `sending`."""
    bid = await load(store, {LANE: count}, batch=64, **more)
    await join(store)
    (held,) = await take(store)
    assert set((await ask(store, held)).yes) == {"1"}
    return bid, held


async def messages(store: Store) -> list[tuple[str, int, int, State, int]]:
    return [
        (c.kind, c.row, c.attempt, State(c.state), c.code)
        for c in await told(store)
        if isinstance(c, MessageChange)
    ]


async def steps(store: Store) -> list[tuple[str, str, str]]:
    return [(c.kind, c.before, c.state) for c in await told(store) if isinstance(c, BroadcastChange)]


async def twice(store: Store, call: Call[Any]) -> Any:
    """Run a call twice; the second time it changes nothing and tells nothing."""
    first = await store.run(call)
    before, heard = await everything(store), await told(store)
    await store.run(call)
    assert await everything(store) == before
    assert await told(store) == heard
    return first


# -- messages


async def test_nothing_is_told_when_nobody_asks(store: Store) -> None:
    _, held = await out(store, 3)
    await tell(store, held, [result(i, 1, State.ACCEPTED, sid=SID) for i in range(3)])
    await store.run(opt_out(["+14155550111"], "test"))
    assert not await store.redis.exists(store.keys.plain("events"))


async def test_only_what_is_asked_for_is_told(store: Store) -> None:
    await asking(store, "message.failed")
    _, held = await out(store, 2)
    outcomes = [result(0, 1, State.ACCEPTED, sid=SID), result(1, 1, State.DEAD, code=21211)]
    await tell(store, held, outcomes)
    assert await messages(store) == [("message.failed", 1, 1, State.DEAD, 21211)]
    assert await steps(store) == []


async def test_many_acceptances_are_one_entry_told_once(store: Store) -> None:
    await asking(store, "message.accepted")
    bid, held = await out(store, 40)
    outcomes = [result(i, 1, State.ACCEPTED, sid=bytes([i + 1]) * 16, flags=i % 2) for i in range(40)]
    await tell(store, held, outcomes)
    await tell(store, held, outcomes)
    assert await store.redis.xlen(store.keys.plain("events")) == 1
    heard = await told(store)
    assert [c.row for c in heard if isinstance(c, MessageChange)] == list(range(40))
    found = await records(store, bid)
    for c in heard:
        assert isinstance(c, MessageChange)
        assert (c.broadcast, c.batch, c.sid, c.flags & 1) == (bid, "0.0", bytes([c.row + 1]) * 16, c.row % 2)
        assert found["0.0", c.row].state is State.ACCEPTED


@pytest.mark.parametrize(
    ("state", "kinds"),
    [
        (State.ACCEPTED, ["accepted"]),
        (State.SENT, ["accepted"]),
        (State.DELIVERED, ["accepted", "delivered"]),
        (State.READ, ["accepted", "delivered"]),
        (State.UNDELIVERED, ["accepted", "failed"]),
        (State.FAILED, ["accepted", "failed"]),
        (State.DEAD, ["failed"]),
        (State.IN_DOUBT, ["in_doubt"]),
        (State.RETRY, []),
        (State.SKIPPED, []),
    ],
)
async def test_each_end_of_a_post_is_told_by_its_kinds(store: Store, state: State, kinds: list[str]) -> None:
    await asking(store, *(kind for kind in KINDS if kind.startswith("message.")))
    _, held = await out(store)
    outcome = result(0, 1, state, code=77, sid=SID if 4 <= state < 10 else b"", delay_us=10**9)
    await tell(store, held, [outcome])
    await tell(store, held, [outcome])
    assert await messages(store) == [(f"message.{kind}", 0, 1, state, 77) for kind in kinds]


async def test_what_follows_an_acceptance_is_told_as_it_comes(store: Store) -> None:
    await asking(store)
    _, held = await out(store)
    for state in (State.ACCEPTED, State.SENT, State.DELIVERED, State.READ, State.DELIVERED):
        await tell(store, held, [result(0, 1, state, sid=SID)])
    assert [kind for kind, *_ in await messages(store)] == ["message.accepted", "message.delivered"]


async def test_doubt_by_a_lost_lease_and_its_end_are_told(store: Store) -> None:
    await asking(store, "message.in_doubt", "message.accepted", "message.failed")
    bid, _ = await out(store, 3)
    await overdue(store, "w1")
    await store.run(claims.sweep(0.0))
    await store.run(claims.sweep(0.0))
    doubts = [("message.in_doubt", row, 1, State.IN_DOUBT, Reason.LEASE_LOST) for row in range(3)]
    assert await messages(store) == doubts
    changed = [(await records(store, bid))["0.0", row].changed for row in range(3)]
    await twice(store, accept([Found(LANE, bid, "0.0", 0, 1, SID_TEXT)], Evidence.LIST))
    verdicts = [
        Verdict(LANE, bid, "0.0", 1, 1, changed[1], absent=True, hold=False),
        Verdict(LANE, bid, "0.0", 2, 1, changed[2], absent=False, hold=True),
    ]
    await twice(store, settle(verdicts, 5))
    assert (await messages(store))[3:] == [
        ("message.accepted", 0, 1, State.ACCEPTED, 0),
        ("message.failed", 2, 1, State.DEAD, Reason.UNKNOWN),
    ]


async def test_a_worker_that_leaves_tells_what_it_left_in_doubt(store: Store) -> None:
    await asking(store, "message.in_doubt")
    await out(store, 2)
    await store.run(claims.leave("w1"))
    assert [row for _, row, *_ in await messages(store)] == [0, 1]


async def test_of_what_a_rewinding_doubts_only_what_was_under_way_is_told(store: Store) -> None:
    await asking(store, "message.in_doubt")
    bid, held = await out(store, 100)
    await store.redis.hset(store.keys.plain("account"), mapping={"rewind": 1, "rewind_at": 1})
    call = Call("rewind", (bid, LANE, packed(["0.0", "0.1"]), 1), int)
    assert await twice(store, call) == 100
    assert await messages(store) == [
        ("message.in_doubt", item.row, 1, State.IN_DOUBT, Reason.REWOUND) for item in held.items
    ]


# -- broadcasts


async def test_the_steps_of_a_broadcast_are_told_once(store: Store) -> None:
    await asking(store)
    bid = await load(store, {LANE: 2}, begin=False)
    await twice(store, control.start(bid))
    await twice(store, control.pause(bid, "lunch"))
    await twice(store, control.resume(bid))
    await join(store)
    (held,) = await take(store)
    await ask(store, held)
    await tell(store, held, [result(i, 1, State.DEAD, code=21211) for i in range(2)])
    letters = [group async for group in find_letters(store, bid)]
    await carry_out(store, letters, again=True)
    await twice(store, control.cancel(bid, "enough"))
    heard = [c for c in await told(store) if isinstance(c, BroadcastChange)]
    assert [(c.kind.removeprefix("broadcast."), c.before, c.state, c.reason) for c in heard] == [
        ("started", "draft", "running", ""),
        ("paused", "running", "paused", "lunch"),
        ("started", "paused", "running", ""),
        ("completed", "running", "completed", ""),
        ("started", "completed", "running", ""),
        ("completed", "running", "canceled", "enough"),
    ]
    ended = heard[3]
    assert ended.total == 2
    assert {State(i): n for i, n in enumerate(ended.counts) if n} == {State.DEAD: 2}


async def test_a_broadcast_that_stops_itself_is_told(store: Store) -> None:
    await asking(store, "broadcast.paused")
    _, held = await out(store, 40)
    outcomes = [result(i, 1, State.DEAD, code=21617, content=1) for i in range(20)]
    await tell(store, held, outcomes, twice=True)
    assert await steps(store) == [("broadcast.paused", "running", "paused")]


async def test_a_campaign_that_goes_wrong_is_told_of_its_stop(store: Store) -> None:
    await asking(store, "broadcast.paused")
    await store.run(control.set_stop_rule(0.2, after=10, window=50))
    _, held = await out(store, 100)
    await tell(store, held, [result(i, 1, State.DEAD, code=30003) for i in range(10)], twice=True)
    (heard,) = await told(store)
    assert isinstance(heard, BroadcastChange)
    assert heard.reason.startswith("failures:100:10:30003")


# -- opt-outs


async def test_opt_outs_are_told_once_each(store: Store) -> None:
    await asking(store, "opt_out.changed")
    await twice(store, opt_out(["+14155550111", "+14155550112"], "keyword: STOP"))
    await twice(store, opt_in(["+14155550111"]))
    await twice(store, opt_out(["+14155550113"], "x", OTHER))
    assert [
        (c.verb, c.scope, c.address, c.source) for c in await told(store) if isinstance(c, OptOutChange)
    ] == [
        ("add", "*", "+14155550111", "keyword: STOP"),
        ("add", "*", "+14155550112", "keyword: STOP"),
        ("remove", "*", "+14155550111", ""),
        ("add", OTHER, "+14155550113", "x"),
    ]


# -- what it costs


async def commands(store: Store) -> int:
    info = await store.redis.info("commandstats")
    return sum(int(stats["calls"]) for stats in info.values())


async def test_asking_costs_one_command_a_call_and_only_for_what_is_asked(store: Store) -> None:
    costs = []
    for kind in ("", "message.failed", "message.accepted"):
        if kind:
            await asking(store, kind)
        _, held = await out(store, 50)
        before = await commands(store)
        await tell(store, held, [result(i, 1, State.ACCEPTED, sid=SID) for i in range(50)])
        costs.append(await commands(store) - before)
        await store.run(claims.release("w1", [held.claim]))
    assert costs == [costs[0], costs[0], costs[0] + 1]


# -- endpoints, and their place in the stream


async def test_an_endpoint_is_told_from_its_making_on(store: Store) -> None:
    first, _ = await asking(store, "opt_out.changed")
    await store.run(opt_out(["+14155550111"], "a"))
    second, _ = await asking(store, "opt_out.changed", "message.failed")
    await store.run(opt_out(["+14155550112"], "b"))
    assert [(await read_place(store, name)).behind for name in (first, second)] == [2, 1]
    read = await stream.read_on(store, second, 10)
    assert read is not None
    assert [c.address for entry in read.entries for c in entry.changes if isinstance(c, OptOutChange)] == [
        "+14155550112"
    ]
    await event_endpoints.delete(store, TESTER, first)
    assert await store.redis.get(store.keys.plain("events:wanted")) == b",opt_out.changed,message.failed,"
    await event_endpoints.delete(store, TESTER, second)
    left = [key for key in await everything(store) if "event" in key or "endpoint" in key]
    assert left == []
    with pytest.raises(NotFound):
        await event_endpoints.show(store, second)


async def given(store: Store, name: str) -> list[payloads.Event]:
    """Make deliveries of everything new."""
    read = await stream.read_on(store, name, 100)
    assert read is not None
    known = await payloads.look_up(store, read.entries, KINDS)
    events = payloads.events_of(read.entries, known, KINDS)
    assert await twice(store, queue.take(name, read, events)) == len(events)
    return events


async def test_what_is_read_becomes_deliveries_in_one_step(store: Store) -> None:
    name, _ = await asking(store, "opt_out.changed")
    await store.run(opt_out(["+14155550111"], "a"))
    await store.run(opt_out(["+14155550112"], "b"))
    events = await given(store, name)
    assert await stream.read_on(store, name, 100) is None
    assert [d.id for d in await queue.read_due(store, name, 10)] == [e.id for e in events]
    assert (
        await queue.read_due(store, name, 10, {events[0].id}) == (await queue.read_due(store, name, 10))[1:]
    )
    await stream.trim(store, [name])


async def test_deliveries_end_go_again_or_are_parked(store: Store) -> None:
    name, _ = await asking(store, "opt_out.changed")
    await store.run(opt_out(["+14155550111", "+14155550112", "+14155550113"], "a"))
    await given(store, name)
    one, two, three = await queue.read_due(store, name, 10)
    ends = [
        queue.Ended(one.after("HTTP 200"), queue.How.DELIVERED),
        queue.Ended(two.after("HTTP 500"), queue.How.AGAIN, 100.0),
        queue.Ended(three.after("HTTP 400"), queue.How.PARKED),
    ]
    assert await twice(store, queue.done(name, [ends[0], ends[2]], {"last": "x"})) == (1, 0, 1, 0)
    assert await store.run(queue.done(name, [ends[1]], {"last": "y", "streak": "1"})) == (0, 1, 0, 0)
    assert await queue.read_due(store, name, 10) == []
    place = await read_place(store, name)
    assert (place.waiting, place.parked, place.delivered, place.last_answer) == (1, 1, 1, "y")
    (waiting,) = await event_endpoints.deliveries(store, name, parked=False)
    assert (waiting["id"], waiting["tries"], waiting["last_answer"]) == (two.id, 1, "HTTP 500")
    (parked,) = await event_endpoints.deliveries(store, name, parked=True)
    assert (parked["id"], parked["state"]) == (three.id, "parked")
    assert await event_endpoints.replay(store, TESTER, name, [one.id, two.id, three.id]) == 1
    assert await event_endpoints.replay(store, TESTER, name) == 0
    (again,) = await queue.read_due(store, name, 10)
    assert (again.id, again.tries, again.body) == (three.id, 0, three.body)


async def test_what_the_stream_dropped_unread_is_counted(store: Store) -> None:
    name, _ = await asking(store, "opt_out.changed")
    for i in range(5):
        await store.run(opt_out([f"+1415555011{i}"], "a"))
    await store.redis.xtrim(store.keys.plain("events"), maxlen=2, approximate=False)
    read = await stream.read_on(store, name, 1)
    assert read is not None
    assert (read.lost, read.ordinal, len(read.entries)) == (3, 4, 1)
    await store.run(queue.take(name, read, []))
    place = await read_place(store, name)
    assert (place.lost, place.behind) == (3, 1)


async def test_a_disabled_endpoint_asks_for_nothing_and_goes_on_from_now(store: Store) -> None:
    name, _ = await asking(store, "opt_out.changed")
    await endpoints.change(store, name, lambda e: replace(e, disabled="gone"))
    await store.run(opt_out(["+14155550111"], "a"))
    assert await told(store) == []
    with pytest.raises(Conflict):
        await event_endpoints.replay(store, TESTER, name)
    assert (await event_endpoints.enable(store, TESTER, name)).summary()["state"] == "enabled"
    await store.run(opt_out(["+14155550112"], "a"))
    assert (await read_place(store, name)).behind == 1


async def test_a_secret_that_is_rotated_stays_good_for_a_day(store: Store) -> None:
    name, secret = await asking(store, "opt_out.changed")
    view, new = await event_endpoints.rotate(store, TESTER, name)
    assert view.endpoint.secrets_at(view.endpoint.previous_until - 1) == (new, secret)
    assert view.endpoint.secrets_at(view.endpoint.previous_until) == (new,)
    assert secret not in repr(view)
    assert new not in str(view.summary())


async def test_there_is_an_end_to_how_many_endpoints_there_are(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "ENDPOINTS_MOST", 2)
    assert all([(await asking(store))[0], (await asking(store))[0]])
    assert (await asking(store))[0] == ""


@pytest.mark.parametrize(
    ("url", "types", "field"),
    [
        ("http://hooks.example.com", ["message.failed"], "url"),
        ("https://user:pw@hooks.example.com", ["message.failed"], "url"),
        ("https://", ["message.failed"], "url"),
        ("https://[::1", ["message.failed"], "url"),
        ("https://127.0.0.1/", ["message.failed"], "url"),
        ("https://[::ffff:8.8.8.8]/", ["message.failed"], "url"),
        ("https://a.example/ b", ["message.failed"], "url"),
        (URL, [], "types"),
        (URL, ["message.sent"], "types"),
    ],
)
def test_what_can_be_no_endpoint(url: str, types: list[str], field: str) -> None:
    with pytest.raises(EndpointError) as caught:
        endpoints.new_endpoint(url, types, 0)
    assert caught.value.field == field
