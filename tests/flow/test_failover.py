"""A primary that dies under Sentinel: what left is known to the replica that takes over."""

# ruff: noqa: T201 - a run with -s shows what it measured

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING

import pytest
from certificates import authority
from fault_proxy import FaultProxy
from loading import load
from losing import LANE, command, crash, ended, kept, operator, standing, still, taken, under_sentinel
from servers import replicated, wait_for
from tls_servers import program_with_tls, with_tls

from broadcaster.domain.record import State

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
@pytest.mark.parametrize(("replicas", "sentinels"), [(1, 1), (2, 3)])
async def test_a_primary_that_dies_while_its_workers_live(
    tmp_path: Path, replicas: int, sentinels: int
) -> None:
    """The one replica there was knows all that left; of two Sentinel may have chosen the other."""
    with replicated(tmp_path, replicas=replicas, sentinels=sentinels) as group:
        async with under_sentinel(tmp_path, group) as run:
            run.start_worker()
            bid = await load(run.store, {LANE: 900}, rates={LANE: 250})
            await taken(run, 200)
            primary = group.primary
            primary.kill()
            began, at = time.monotonic(), await taken(run)
            now = await asyncio.to_thread(group.failed_over, primary)
            named = time.monotonic() - began
            if replicas == 1:
                assert await taken(run) < at + 50, "nobody confirms any more"
                group.rejoin(primary, now)
            await taken(run, at + 100)
            again = time.monotonic() - began
            assert await ended(run, bid) == {State.ACCEPTED: 900}
            await kept(run, bid, 900)
            assert run.workers[0].poll() is None
            assert ("redis.lost_writes" in run.logs()) == (replicas > 1)
            print(f"\nanother primary after {named:.1f} s, 100 more messages after {again:.1f} s")


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.skipif(program_with_tls() is None, reason="no server with TLS on PATH: the bundled one has none")
async def test_servers_sentinels_and_workers_that_speak_tls_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = authority(tmp_path / "tls", "127.0.0.1")
    with replicated(tmp_path, sentinels=3, tls=with_tls(made)) as group:
        url, group_url = f"{group.url}?ssl_ca_certs={made.ca}", group.url
        monkeypatch.setattr(type(group), "url", url)
        async with under_sentinel(tmp_path, group) as run:
            # processes are given the file by a setting, not by the URL
            run.environment |= {"REDIS_URL": group_url, "REDIS_TLS_CA": str(made.ca)}
            run.start_worker()
            bid = await load(run.store, {LANE: 600}, rates={LANE: 250})
            await taken(run, 150, 120)
            primary = group.primary
            primary.kill()
            now = await asyncio.to_thread(group.failed_over, primary)
            group.rejoin(primary, now)
            assert await ended(run, bid, 120) == {State.ACCEPTED: 600}
            await kept(run, bid, 600)
            desk = operator(run, group_url)
            desk.more["REDIS_TLS_CA"] = str(made.ca)
            _, out, _ = await asyncio.to_thread(desk.run, "doctor")
            assert f"encrypted, its sentinels too; its certificate is checked against {made.ca}" in out
            del desk.more["REDIS_TLS_CA"]
            _, out, _ = await asyncio.to_thread(desk.run, "doctor")
            assert "name the file with its CA's certificate in REDIS_TLS_CA" in out
            assert "Traceback" not in out


@pytest.mark.slow
async def test_a_replica_that_lacks_the_last_writes_takes_over(tmp_path: Path) -> None:
    """What the primary alone knew is lost with it and the worker: of that nothing has left.

    The replica is put behind a proxy, which Sentinel would undo in eight seconds.
    """
    with replicated(tmp_path, sentinels=1) as group:
        primary = group.primary
        assert primary.port
        async with under_sentinel(tmp_path, group) as run, FaultProxy(primary.port) as proxy:
            worker = run.start_worker()
            bid = await load(run.store, {LANE: 900}, rates={LANE: 250})
            await taken(run, 50)
            (replica,) = (server for server in group.servers if server is not primary)
            await asyncio.to_thread(group.follow, replica, proxy.port)
            await taken(run, await taken(run) + 50)
            proxy.stall()
            stopped = await still(run, for_seconds=1, within_seconds=2)
            assert run.workers[0].poll() is None
            sending = (await standing(run, bid)).get(State.SENDING, 0)
            behind = (
                primary.info("replication")["master_repl_offset"]
                - replica.info("replication")["slave_repl_offset"]
            )
            assert behind > 0
            primary.kill()
            crash(worker)
            proxy.refuse()
            now = await asyncio.to_thread(group.failed_over, primary)
            group.rejoin(primary, now)
            run.start_worker()
            assert await ended(run, bid) == {State.ACCEPTED: 900}
            await kept(run, bid, 900)
            print(
                f"\n{behind} bytes behind: stopped at {stopped}, with {sending} sending; lost, and ended well"
            )


@pytest.mark.slow
async def test_the_replica_that_sentinel_prefers_is_not_the_one_that_confirmed(tmp_path: Path) -> None:
    with replicated(tmp_path, replicas=2, sentinels=1) as group:
        primary, _, preferred = group.servers
        assert primary.port
        with preferred.ask() as redis:
            redis.config_set("replica-priority", 10)
        async with under_sentinel(tmp_path, group) as run, FaultProxy(primary.port) as proxy:
            worker = run.start_worker()
            bid = await load(run.store, {LANE: 900}, rates={LANE: 250})
            await taken(run, 50)
            await asyncio.to_thread(group.follow, preferred, proxy.port)
            await taken(run, await taken(run) + 50)
            proxy.stall()
            await taken(run, await taken(run) + 100)
            primary.kill()
            crash(worker)
            proxy.refuse()
            assert await asyncio.to_thread(group.failed_over, primary) is preferred
            group.rejoin(primary, preferred)
            run.start_worker()
            assert await ended(run, bid) == {State.ACCEPTED: 900}
            assert "redis.lost_writes" in run.logs()
            await kept(run, bid, 900)


@pytest.mark.slow
async def test_a_stopped_replica_stops_the_sending_and_its_return_lets_it_go_on(tmp_path: Path) -> None:
    with replicated(tmp_path, sentinels=1) as group:
        async with under_sentinel(tmp_path, group) as run:
            run.start_worker()
            bid = await load(run.store, {LANE: 600}, rates={LANE: 250})
            await taken(run, 100)
            (replica,) = (server for server in group.servers if server is not group.primary)
            replica.pause()
            stopped = await still(run, for_seconds=1, within_seconds=2)
            assert stopped < 600
            wait_for(lambda: "replicas.missing" in run.logs(), 5, "it says why")
            replica.resume()
            assert await ended(run, bid) == {State.ACCEPTED: 600}
            await kept(run, bid, 600)


@pytest.mark.slow
async def test_commands_find_the_primary_through_sentinel(tmp_path: Path) -> None:
    with replicated(tmp_path, sentinels=1) as group:
        async with under_sentinel(tmp_path, group) as run:
            bid = await load(run.store, {LANE: 3}, begin=False)
            primary = group.primary
            primary.kill()
            now = await asyncio.to_thread(group.failed_over, primary)
            code, out, err = await command(run, "broadcasts", "list")
            assert code == 0, err
            assert bid in out
            code, _, err = await command(run, "broadcasts", "start", bid)
            assert code, err
            assert "confirmed" in err, "nothing is promised that one server alone knows"
            group.rejoin(primary, now)
            run.start_worker()
            code, _, err = await command(run, "broadcasts", "start", bid)
            assert code == 0, err
            assert await ended(run, bid) == {State.ACCEPTED: 3}
            run.workers[0].send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(run.workers[0].wait, 20) == 0
