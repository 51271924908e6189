"""The scripts as a whole: their files, and what they do when the server is not as it should be."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import fakeredis
import pytest
from driving import LANE, SID, ask, everything, group, join, result, take, tell
from loading import counts, load
from redis.exceptions import ConnectionError as RedisConnectionError

from broadcaster.domain.broadcast import BroadcastSpec
from broadcaster.domain.content import Content
from broadcaster.domain.data_format import KNOWN
from broadcaster.domain.record import State
from broadcaster.intake.load import Loader, new_broadcast_id, reserve
from broadcaster.lanes import claims, control
from broadcaster.ledger.optouts import opt_out
from broadcaster.ledger.recording import Results, record
from broadcaster.store.connection import Store, _join, client, open_store
from broadcaster.store.errors import EpochChanged, LeaseLost, StoreError, Unreachable, WrongServer
from broadcaster.store.reading import READING
from broadcaster.store.scripts import Call, read_script, refusal, script_names

if TYPE_CHECKING:
    from broadcaster.store.embedded import EmbeddedServer

SPEC = BroadcastSpec(name="test", senders=(LANE,), content=Content(body="hello"))
#: Only intake may be refused when memory is full; an intent, an outcome or a stop never.
INTAKE = {"reserve", "lay", "seal", "append", "extend"}
#: These run on a Redis that takes no writes, too.
READING_ONLY = set(READING) - {"exporter"}


# -- the files


@pytest.mark.parametrize("name", script_names())
def test_every_script_says_what_it_is(name: str) -> None:
    lines = read_script(name).splitlines()
    flags = "" if name in INTAKE else " flags=no-writes" if name in READING_ONLY else " flags=allow-oom"
    assert lines[0] == f"#!lua{flags}"
    body = own_text("\n".join(lines), name)
    header = "\n".join(line for line in body.splitlines() if line.startswith("--"))
    assert header.startswith(f"-- {name}: ")
    assert "Returns" in header
    used = {int(n) for n in re.findall(r"ARGV\[(\d+)\]", body) if int(n) > 2}
    told = {int(n) for n in re.findall(r"ARGV\[(\d+)\]", header)}
    assert used == told, "every argument is named in the header, and no other"


def own_text(script: str, name: str) -> str:
    """A script's own text, behind the prelude and parts that it shares with others."""
    return script[script.index(f"\n-- {name}: ") + 1 :]


@pytest.mark.parametrize("name", script_names())
def test_no_script_makes_a_global_or_names_keys_of_others(name: str) -> None:
    for line in read_script(name).splitlines():
        assert not re.match(r"(function|[a-z_]+ =)", line), line


async def test_every_script_compiles_on_this_server(store: Store) -> None:
    for name in script_names():
        assert await store.redis.script_load(read_script(name))


# -- a server that does not know them


def renewal() -> Call[claims.Standing]:
    return claims.renew("w1", lease_seconds=60, initial=9)


async def test_a_forgotten_script_is_loaded_again(store: Store) -> None:
    await join(store)
    await store.redis.script_flush()
    await store.run(renewal())
    await store.redis.script_flush()
    assert len(await store.run_all([renewal(), renewal()])) == 2


async def test_a_round_trip_stays_in_order_although_a_script_was_forgotten(store: Store) -> None:
    bid = await load(store, {LANE: 3})
    await join(store)
    (held,) = await take(store)
    await ask(store, held)
    await store.redis.script_flush()
    await store.run(renewal())  # the server knows one script again, and with it all
    accepted = [result(row, 1, State.ACCEPTED, sid=SID) for row in range(3)]
    told, ended = await store.run_all(
        [
            record("w1", [Results(LANE, bid, held.batch, accepted)]),
            claims.release("w1", [held.claim]),
        ]
    )
    assert (told.changed, ended) == (3, 1)
    assert not await store.redis.exists(store.keys.worker("w1", ":claims"))


async def test_one_refused_call_stops_no_other(store: Store) -> None:
    await load(store, {LANE: 3})
    calls: list[Call[Any]] = [control.pause_lane(LANE, "a test"), renewal(), control.resume_lane(LANE)]
    answers = await store.run_each(calls)
    assert (answers[0], type(answers[1]), answers[2]) == ("ok", LeaseLost, "ok")
    with pytest.raises(LeaseLost):
        await store.run_all(calls)


# -- a server that lost everything


async def test_after_a_flush_every_script_refuses_and_writes_nothing(store: Store) -> None:
    bid = await load(store, {LANE: 3})
    await join(store)
    (held,) = await take(store)
    await store.redis.flushall()
    calls: list[Call[Any]] = [
        claims.intend("w1", "0", [group(held)]),
        record("w1", [Results(LANE, bid, held.batch, [result(0, 1, State.ACCEPTED, sid=SID)])]),
        claims.claim("w1", "n", lanes=1, records=1, horizon_seconds=1),
        claims.join("w2", {}, lease_seconds=5, initial=1),
        reserve("new", SPEC),
        control.resume_account(),
    ]
    for call in calls:
        with pytest.raises(EpochChanged):
            await store.run(call)
    assert all(isinstance(answer, EpochChanged) for answer in await store.run_each(calls))
    assert await everything(store) == {}


async def test_another_installation_is_not_ours(store: Store) -> None:
    await store.redis.set(store.keys.plain("epoch"), "another")
    with pytest.raises(EpochChanged):
        await join(store)


async def test_prefixes_keep_installations_apart(store: Store) -> None:
    other = await open_store(store.url, "other:")
    try:
        await load(store, {LANE: 3})
        await join(other)
        assert await take(other) == []
        assert other.epoch != store.epoch
    finally:
        await other.close()


async def test_opening_twice_joins_the_same_installation(store: Store) -> None:
    again = await open_store(store.url)
    await again.close()
    assert again.epoch == store.epoch


# -- a server whose memory is full


async def test_with_memory_full_everything_sends_on_and_only_intake_is_refused(store: Store) -> None:
    bid = await load(store, {LANE: 4})
    half = new_broadcast_id()
    await store.run(reserve(half, SPEC))
    await join(store)
    await store.redis.config_set("maxmemory", 1)
    try:
        (held,) = await take(store)
        assert (await ask(store, held)).yes == "1111"
        told = await tell(
            store,
            held,
            [result(0, 1, State.ACCEPTED, sid=SID), result(1, 1, State.RETRY, code=429, delay_us=10**9)],
        )
        assert told.changed == 2
        await store.run(claims.release("w1", [held.claim]))
        assert await store.run(opt_out(["+14155550199"], "a test")) == 1
        assert await store.run(control.pause(bid, "a test")) == "ok"
        assert await store.run(control.resume(bid)) == "ok"
        assert await store.run(control.pause_lane(LANE, "a test")) == "ok"
        assert await store.run(control.pause_account("a test")) == 1
        await store.run(renewal())
        assert await store.run(claims.leave("w1")) == 0
        assert await counts(store, bid) == {State.ACCEPTED: 1, State.RETRY: 1, State.IN_DOUBT: 2}
        again = await open_store(store.url)  # a worker that starts, a command that is given
        await again.close()
        assert again.epoch == store.epoch
        with pytest.raises(StoreError, match=r"reserve: .*memory"):
            await store.run(reserve(new_broadcast_id(), SPEC))
        with pytest.raises(StoreError, match=r"seal: .*memory"):
            await Loader(store, half, SPEC, {LANE: 1.0}, _renewed=float("inf")).seal(fingerprint="", facts={})
    finally:
        await store.redis.config_set("maxmemory", 0)


# -- a server that does not answer, or is not for us


async def test_no_answer_is_unreachable(redis_server: EmbeddedServer) -> None:
    nowhere = redis_server.url.replace("redis.sock", "nobody.sock")
    with pytest.raises(Unreachable, match="Check REDIS_URL"):
        await open_store(nowhere)
    store = Store(client(nowhere), "bc:", "epoch", nowhere)
    with pytest.raises(Unreachable):
        await store.run(renewal())
    with pytest.raises(Unreachable):
        await store.run_all([renewal()])
    await store.close()


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("EPOCH the installation", EpochChanged),
        ("LEASE this worker", LeaseLost),
        ("LOADING Redis is loading", Unreachable),
        ("READONLY You can't write", Unreachable),
        ("OOM command not allowed", StoreError),
    ],
)
def test_a_refusal_is_named_for_what_to_do(message: str, expected: type[StoreError]) -> None:
    assert type(refusal(Exception(message), "claim")) is expected
    assert type(refusal(RedisConnectionError(message), "claim")) in {expected, Unreachable}


async def test_an_installation_begins_once_and_newer_data_is_refused() -> None:
    """No script runs here, so a fake server is as good as a real one."""
    async with fakeredis.FakeAsyncRedis() as redis:
        first = await _join(redis, "p:")
        assert await _join(redis, "p:") == first != await _join(redis, "q:")
        await redis.set("p:format", KNOWN + 1)
        with pytest.raises(WrongServer, match=rf"format {KNOWN + 1}.*Upgrade"):
            await _join(redis, "p:")
