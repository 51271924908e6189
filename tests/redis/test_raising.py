"""The data format of an installation is raised once, while nobody older lives, and keeps older ones out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec
import pytest
from posting import no_pool, request, settings
from servers import Replicated, Server

from broadcaster.domain.broadcast import BroadcastSpec, OutsideWindow
from broadcaster.domain.content import Content
from broadcaster.domain.data_format import KNOWN
from broadcaster.intake.load import new_broadcast_id, reserve
from broadcaster.intake.refusals import UnderWayError
from broadcaster.intake.singles import SingleMessages
from broadcaster.intake.submit import reserved
from broadcaster.lanes import claims
from broadcaster.lanes.control import pause, resume
from broadcaster.store import epochs
from broadcaster.store.connection import open_store
from broadcaster.store.errors import EpochChanged, NewerData, OlderWorkers
from broadcaster.store.raising import need_format, raise_format
from broadcaster.store.scripts import CONFIRM

if TYPE_CHECKING:
    from pathlib import Path

    from broadcaster.store.connection import Store

SPEC = BroadcastSpec(
    name="n", senders=("+14155550100",), content=Content(body="x"), outside_window=OutsideWindow.SEND
)


async def of_format_1(store: Store) -> None:
    """Make it an installation that the version before has begun."""
    await store.redis.set(store.keys.plain("format"), 1)
    await store.redis.delete(store.keys.plain("raised"))


async def older_worker(store: Store, *, ago_us: int = 0) -> None:
    """Give a worker of the version before a lease, which ran out so long ago."""
    await store.run(claims.join("w-old", {"host": "h"}, lease_seconds=5, initial=100))
    await store.redis.hdel(store.keys.worker("w-old"), "version", "format")
    seconds, micro = await store.redis.time()
    if ago_us:
        await store.redis.zadd(store.keys.plain("workers"), {"w-old": seconds * 1_000_000 + micro - ago_us})


async def test_the_first_use_raises_it_and_everybody_who_knows_it_goes_on(store: Store) -> None:
    await of_format_1(store)
    beside = await open_store(store.url, store.keys.prefix)
    await store.run(claims.join("w-new", {"host": "h"}, lease_seconds=60, initial=100))
    before = store.epoch
    await need_format(store, 2, pause_seconds=0.01)
    assert await store.redis.get(store.keys.plain("format")) == b"2"
    assert await store.run_all([CONFIRM, CONFIRM])
    assert store.epoch != before == beside.epoch
    await beside.check_epoch()
    assert await beside.run(CONFIRM)
    assert beside.epoch == store.epoch
    await need_format(beside, 2)
    assert beside.fenced == 2
    await beside.close()


async def test_who_does_not_know_it_is_refused_whatever_it_asks(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await of_format_1(store)
    older = await open_store(store.url, store.keys.prefix)
    await need_format(store, 2, pause_seconds=0.01)
    monkeypatch.setattr(epochs, "KNOWN", 1)
    for asked in (older.run(CONFIRM), older.check_epoch()):
        with pytest.raises(NewerData, match="format 2; this program knows up to 1"):
            await asked
    with pytest.raises(NewerData):
        await open_store(store.url, store.keys.prefix)
    await older.close()


async def test_another_installation_is_not_followed(store: Store) -> None:
    await of_format_1(store)
    await need_format(store, 2, pause_seconds=0.01)
    await store.run(CONFIRM)
    await store.with_new_epoch()
    with pytest.raises(EpochChanged):
        await store.run(CONFIRM)


async def test_while_an_older_worker_lives_nothing_is_raised_and_nothing_queued(store: Store) -> None:
    await of_format_1(store)
    await older_worker(store)
    with pytest.raises(OlderWorkers, match=r"w-old \(unknown version\).*SIGTERM"):
        await reserved(store, SPEC, "")
    assert await store.redis.get(store.keys.plain("format")) == b"1"
    assert not await store.redis.exists(store.keys.plain("bcs"))
    plain = msgspec.structs.replace(SPEC, outside_window=OutsideWindow.REFUSE)
    assert (await reserved(store, plain, "")).verdict == "new"


async def test_a_lease_that_is_over_counts_only_for_a_while(store: Store) -> None:
    await of_format_1(store)
    await older_worker(store, ago_us=9_000_000)
    assert (await store.run(raise_format(2, "e"))).verdict == "older"
    await older_worker(store, ago_us=11_000_000)
    await need_format(store, 2, pause_seconds=0.01)


async def test_so_does_one_whose_claims_were_taken_back_meanwhile(store: Store) -> None:
    await of_format_1(store)
    await older_worker(store, ago_us=4_000_000)
    for _ in range(2):
        await store.run(claims.sweep(0.0))
    assert await store.redis.zcard(store.keys.plain("workers")) == 0
    assert (await store.run(raise_format(2, "e"))).verdict == "older"
    seconds, _ = await store.redis.time()
    await store.redis.zadd(store.keys.plain("lost"), {"w-old": (seconds - 11) * 1_000_000})
    await need_format(store, 2, pause_seconds=0.01)


async def test_whoever_died_between_the_steps_is_gone_on_from(store: Store) -> None:
    await of_format_1(store)
    assert (await store.run(raise_format(2, "a", pause_seconds=0.01))).verdict == "begun"
    await older_worker(store)  # had read the old format just before, and joins now
    with pytest.raises(OlderWorkers):
        await need_format(store, 2, pause_seconds=0.01)
    while await store.run(claims.leave("w-old")):
        pass
    await need_format(store, 2, pause_seconds=0.01)
    assert (await store.run(raise_format(2, "b"))).verdict == "ok"


async def test_what_this_version_begins_has_its_format(store: Store) -> None:
    assert int(await store.redis.get(store.keys.plain("format"))) == KNOWN
    before = store.epoch
    await need_format(store, KNOWN)
    await store.run(CONFIRM)
    assert store.epoch == before


async def test_what_was_queued_before_is_answered_though_an_older_worker_lives(store: Store) -> None:
    await of_format_1(store)
    first = new_broadcast_id()
    assert (await store.run(reserve(first, SPEC, "key"))).verdict == "new"  # as the version before did
    await older_worker(store)
    with pytest.raises(UnderWayError):
        await reserved(store, SPEC, "key")
    with pytest.raises(OlderWorkers):
        await reserved(store, SPEC, "other")


async def test_a_single_message_too(store: Store) -> None:
    await of_format_1(store)
    await older_worker(store)
    singles = SingleMessages(store, settings(), no_pool)
    asked = request(2)._replace(outside_window=OutsideWindow.SEND)
    await singles.post(request(1))
    with pytest.raises(OlderWorkers):
        await singles.post(asked)
    while await store.run(claims.leave("w-old")):
        pass
    await need_format(store, 2, pause_seconds=0.01)
    assert len(await singles.post(asked)) == 3
    assert await store.redis.get(store.keys.plain("format")) == b"2"
    await singles.close()


@pytest.mark.slow
async def test_with_replicas_it_counts_once_one_has_it_and_so_does_what_follows(tmp_path: Path) -> None:
    with (
        Server(tmp_path / "1") as first,
        Server(tmp_path / "2") as second,
    ):
        assert first.port
        await asyncio.to_thread(Replicated([]).follow, second, first.port)
        store = await open_store(first.url, replicas=1)
        beside = await open_store(first.url, replicas=1)
        await of_format_1(store)
        await need_format(store, 2, pause_seconds=0.01)
        # refused under the old epoch, done under the new one, and confirmed
        assert (await beside.run_all([pause("nothing", "x"), resume("nothing")])) == ["gone", "gone"]
        with second.ask() as replica:
            assert replica.get("bc:epoch") == beside.epoch.encode() == store.epoch.encode()
        await store.close()
        await beside.close()


async def test_a_raising_that_a_failover_undid_shuts_nobody_out(store: Store) -> None:
    await of_format_1(store)
    await store.guard.look()
    beside = await open_store(store.url, store.keys.prefix)
    before = {name: await store.redis.dump(store.keys.plain(name)) for name in ("epoch", "format")}
    await need_format(store, 2, pause_seconds=0.01)
    assert await beside.run(CONFIRM)
    raised = store.epoch
    await store.redis.delete(store.keys.plain("raised"))
    for name, raw in before.items():
        await store.redis.restore(store.keys.plain(name), 0, raw, replace=True)
    for each in (store, beside):
        await each.check_epoch()
        assert await each.run(CONFIRM)
        assert each.fenced == 1
    assert store.epoch == beside.epoch != raised
    await need_format(beside, 2, pause_seconds=0.01)
    await store.check_epoch()
    assert store.epoch == beside.epoch
    await beside.close()


async def test_older_data_under_a_former_epoch_is_looked_at_before_anything_else(store: Store) -> None:
    """A backup of before the raising was put back under a process that lives: not the truth."""
    await of_format_1(store)
    before, server = store.epoch, store.keys.plain("server")
    await store.guard.look()
    count = await store.redis.hget(server, "count")
    await need_format(store, 2, pause_seconds=0.01)
    await store.guard.look()
    await store.redis.delete(store.keys.plain("raised"))
    await store.redis.mset({store.keys.plain("epoch"): before, store.keys.plain("format"): 1})
    await store.redis.hset(server, "count", count)
    assert await store.run(CONFIRM)
    assert await store.redis.hexists(store.keys.plain("account"), "rewind")


async def test_what_epochs_an_installation_had_is_known_also_of_a_restored_backup(store: Store) -> None:
    await of_format_1(store)
    first = store.epoch
    await need_format(store, 2, pause_seconds=0.01)
    await store.run(CONFIRM)
    anew = await store.with_new_epoch()
    prefix = store.keys.prefix
    assert await epochs.epochs_before(store.redis, prefix, anew.epoch) == (store.epoch, first)
    assert await epochs.epochs_before(store.redis, prefix, first) == ()


@pytest.mark.parametrize("change", ["none", "raised", "restored"])
async def test_a_host_knows_that_the_data_is_older_whatever_epoch_it_had_since(
    store: Store, tmp_path: Path, change: str
) -> None:
    """A backup of before is put back, and nobody says `restore`."""
    seen, server = tmp_path / "seen", store.keys.plain("server")
    await of_format_1(store)
    await store.remember_in(seen)
    await store.guard.look()
    first, count = store.epoch, await store.redis.hget(server, "count")
    since = store
    if change == "raised":
        await need_format(store, 2, pause_seconds=0.01)
    elif change == "restored":
        await store.guard.look(rewind_to=1_700_000_000)
        since = await store.with_new_epoch()
        await since.remember_in(seen)
    await since.guard.look()
    await store.redis.delete(store.keys.plain("raised"), store.keys.plain("account"))
    await store.redis.mset({store.keys.plain("epoch"): first, store.keys.plain("format"): 1})
    await store.redis.hset(server, "count", count)
    again = await open_store(store.url, store.keys.prefix)
    await again.remember_in(seen)
    assert (await again.guard.look()).lost
    await again.close()
