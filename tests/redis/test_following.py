"""What follows from failed deliveries, and what becomes of callbacks that name no message of ours."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from driving import LANE, SID, ask, everything, join, result, take, tell
from loading import load, number, records

from broadcaster.domain.record import Evidence, State
from broadcaster.lanes.control import resume_account, resume_lane
from broadcaster.ledger import strays
from broadcaster.ledger.callbacks import Status, write_statuses
from broadcaster.ledger.strays import Stray, park
from broadcaster.telemetry.metrics import Metrics
from workers.following import Failed, Follower

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.store.connection import Store

SERVICE = "MG" + "0" * 32


async def out(store: Store, count: int = 1, lane: str = LANE) -> str:
    """A broadcast whose messages have all left."""
    bid = await load(store, {lane: count}, batch=64)
    await join(store)
    (held,) = await take(store)
    assert set((await ask(store, held)).yes) == {"1"}
    return bid


async def fail(store: Store, bid: str, *codes: int, word: str = "undelivered") -> None:
    """Let a row after the other fail with these codes."""
    said = [Status(bid, "0.0", row, 1, f"SM{row:032x}", word, code) for row, code in enumerate(codes)]
    await store.run(write_statuses(said))


async def hash_of(store: Store, name: str) -> dict[str, str]:
    redis: Any = store.redis
    found = await redis.hgetall(store.keys.plain(name))
    return {field.decode(): value.decode() for field, value in found.items()}


async def left(store: Store) -> int:
    redis: Any = store.redis
    return int(await redis.llen(store.keys.plain("failures")))


@pytest.mark.parametrize("lane", [LANE, SERVICE])
async def test_who_wants_nothing_more_is_remembered(store: Store, lane: str) -> None:
    bid = await out(store, 6, lane)
    await fail(store, bid, 30630, 63014, 63033, 63050, 30003, 30005)
    await Follower(store, Metrics()).round()
    assert set(await hash_of(store, "optouts")) == {
        f"{lane}|{number(0)}",
        f"{lane}|{number(1)}",
        f"{lane}#marketing|{number(2)}",
        f"{lane}#marketing|{number(3)}",
    }
    assert "twilio:30630" in (await hash_of(store, "optouts"))[f"{lane}|{number(0)}"]
    assert await left(store) == 0


@pytest.mark.parametrize(
    ("code", "lane_paused", "account_paused", "held"),
    [
        (30002, False, True, False),
        (30037, False, True, False),
        (30032, True, False, False),
        (63051, True, False, False),
        (30001, False, False, True),
        (63018, False, False, True),
        (30023, False, False, False),
        (30027, False, False, False),
        (30034, False, False, False),
        (30003, False, False, False),
        (30007, False, False, False),
        (30410, False, False, False),
        (99999, False, False, False),
    ],
)
async def test_what_stops_because_of_a_delivery(
    store: Store, code: int, *, lane_paused: bool, account_paused: bool, held: bool
) -> None:
    bid = await out(store, 2)
    await fail(store, bid, code, code)
    await Follower(store, Metrics()).round()
    lane, account = await hash_of(store, f"lane:{LANE}"), await hash_of(store, "account")
    assert lane.get("paused", "").startswith(f"{code}: ") == lane_paused
    assert account.get("paused", "").startswith(f"{code}: ") == account_paused
    assert (int(lane.get("hold", 0)) > time.time() * 1e6) == held
    assert await left(store) == 0


async def test_one_senders_fault_stops_no_service(store: Store) -> None:
    bid = await out(store, 1, SERVICE)
    await fail(store, bid, 30032)
    await Follower(store, Metrics()).round()
    assert not (await hash_of(store, f"lane:{SERVICE}")).get("paused")


async def test_what_left_before_somebody_resumed_stops_nothing_again(store: Store) -> None:
    bid = await out(store, 4)
    await fail(store, bid, 30032, 30002)
    await Follower(store, Metrics()).round()
    assert (await hash_of(store, f"lane:{LANE}"))["paused"]
    await store.run_all([resume_lane(LANE), resume_account()])
    more = [Status(bid, "0.0", row, 1, f"SM{row:032x}", "failed", c) for row, c in ((2, 30032), (3, 30002))]
    await store.run(write_statuses(more))
    await Follower(store, Metrics()).round()
    assert not (await hash_of(store, f"lane:{LANE}"))["paused"]
    assert not (await hash_of(store, "account"))["paused"]


async def test_a_worker_that_dies_on_the_way_leaves_it_to_the_next(store: Store) -> None:
    bid = await out(store, 3)
    await fail(store, bid, 30630, 30003, 0)
    seen: list[Failed] = []

    async def dying(failed: Sequence[Failed]) -> None:
        raise ConnectionError(str(len(failed)))

    async def resend(failed: Sequence[Failed]) -> None:
        seen.extend(failed)

    with pytest.raises(ConnectionError):
        await Follower(store, Metrics(), dying).round()
    assert await left(store) == 2
    follower = Follower(store, Metrics(), resend)
    await follower.round()
    assert [(one.row, one.attempt, one.state, one.code, one.lane) for one in seen] == [
        (0, 1, State.UNDELIVERED, 30630, LANE),
        (1, 1, State.UNDELIVERED, 30003, LANE),
    ]
    assert seen[1].sid == f"SM{1:032x}"
    assert abs(seen[1].began - time.time()) < 60
    before = await everything(store)
    await follower.round()
    assert (await everything(store), len(seen)) == (before, 2)


async def test_of_a_broadcast_that_is_gone_nothing_follows(store: Store) -> None:
    bid = await out(store, 2)
    await fail(store, bid, 30630, 30032)
    redis: Any = store.redis
    await redis.delete(*[key async for key in redis.scan_iter(f"*{bid}*")])
    await Follower(store, Metrics()).round()
    assert await left(store) == 0
    assert not await hash_of(store, "optouts")


# -- callbacks without a reference of ours


def stray(to: int = 0, word: str = "delivered", code: int = 0) -> Stray:
    return Stray(number(to), "SM" + SID.hex(), word, code)


async def parked(store: Store) -> int:
    redis: Any = store.redis
    return int(await redis.zcard(store.keys.plain(strays.KEY)))


async def its_turn(store: Store, ago_seconds: int = 10) -> None:
    """Let the turn of everything parked have come."""
    redis: Any = store.redis
    key = store.keys.plain(strays.KEY)
    for raw in await redis.zrange(key, 0, -1):
        await redis.zadd(key, {raw: time.time() - ago_seconds})


async def test_a_stray_is_found_by_whom_it_went_to(store: Store) -> None:
    bid = await out(store, 3)
    await load(store, {LANE: 3})  # the same people once more
    follower, metrics = Follower(store, Metrics()), Metrics()
    assert await park(store, [stray(1, "sent"), stray(1)]) == 0
    await follower.round()
    assert await parked(store) == 2, "not its turn yet"
    await its_turn(store)
    await follower.round()
    assert await parked(store) == 2, "our own answer is not written yet"
    call = [Status(bid, "0.0", 1, 1, "SM" + SID.hex(), "accepted")]
    await store.run(write_statuses(call))
    await its_turn(store)
    follower = Follower(store, metrics)
    await follower.round()
    assert await parked(store) == 0
    one = (await records(store, bid))["0.0", 1]
    assert (one.state, one.sid, one.evidence) == (State.DELIVERED, "SM" + SID.hex(), Evidence.CALLBACK)
    assert b'broadcaster_status_callbacks_total{result="found"} 2.0' in metrics.text()


async def test_a_stray_is_looked_for_ever_later_and_then_dropped(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await out(store)
    await park(store, [stray(7)])
    metrics = Metrics()
    follower, redis, key = Follower(store, metrics), store.redis, store.keys.plain(strays.KEY)
    await its_turn(store)
    await follower.round()
    ((_, at),) = await redis.zrange(key, 0, -1, withscores=True)
    assert at >= time.time()
    monkeypatch.setattr(strays, "PATIENCE_SECONDS", 0)
    await its_turn(store)
    await follower.round()
    assert await parked(store) == 0
    assert b'broadcaster_status_callbacks_total{result="dropped"} 1.0' in metrics.text()


async def test_only_so_many_are_parked(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strays, "MOST", 3)
    assert await park(store, [stray(i) for i in range(3)]) == 0
    assert await park(store, [stray(i) for i in range(3, 5)]) == 2
    assert await parked(store) == 3


async def test_a_sid_that_only_looks_so_is_not_found(store: Store) -> None:
    bid = await load(store, {LANE: 2}, batch=64)
    await join(store)
    (held,) = await take(store)
    await ask(store, held)
    # the same 16 bytes, but not where a record has its SID
    await tell(store, held, [result(0, 1, State.ACCEPTED, sid=bytes(15) + b"\x01")])
    raw = bytearray(await store.redis.get(store.keys.ledger(bid, "0.0")))
    raw[16:32], raw[32:40] = SID, bytes(8)
    found = await strays.find(store, [stray()])
    assert found == {}
    assert strays._row_of(bytes(raw), SID) is None


async def test_whatsapps_limit_holds_its_sender_for_a_minute_then_ten_then_a_day(store: Store) -> None:
    bid = await out(store, 5)
    follower, redis, key = Follower(store, Metrics()), store.redis, store.keys.lane(LANE)

    async def held(row: int, before: str = "") -> float:
        """Let a row's delivery fail; `before`: the last hold, as if it were long over."""
        if before:
            await redis.hset(key, mapping={"slowed": before, "hold": 0})
        await store.run(write_statuses([Status(bid, "0.0", row, 1, f"SM{row:032x}", "undelivered", 63018)]))
        await follower.round()
        return round(int((await hash_of(store, f"lane:{LANE}"))["hold"]) / 1e6 - time.time(), -1)

    assert (await held(0), await held(1)) == (60, 60), "the second left before the minute was over"
    over = int(time.time()) - 60
    assert await held(2, f"0:{over}") == 600
    assert await held(3, f"1:{over}") == 86_400
    assert "messaging limit is reached" in (await hash_of(store, f"lane:{LANE}"))["hold_reason"]
    await store.run(resume_lane(LANE))
    assert await held(4) == 60, "a person let it go on: it begins anew"
