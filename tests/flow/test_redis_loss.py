"""One server that loses its last second, everything, or all since a backup: nobody is told twice."""

# ruff: noqa: T201 - a run with -s shows what it measured

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from loading import load, number
from losing import (
    LANE,
    Plan,
    alone,
    command,
    crash,
    ended,
    kept,
    lose_the_tail,
    restore,
    standing,
    still,
    taken,
)
from servers import RDB

from broadcaster.cli.explaining import explain
from broadcaster.cli.waiting import wait_for_end
from broadcaster.domain.broadcast import OnDoubt
from broadcaster.domain.record import State
from broadcaster.lanes import control
from broadcaster.store.connection import open_store
from broadcaster.store.errors import EpochChanged

if TYPE_CHECKING:
    from pathlib import Path

OTHER = "+15550000002"


@pytest.mark.slow
@pytest.mark.parametrize(
    "worker_dies",
    [
        pytest.param(False, marks=pytest.mark.slow, id="worker lives"),
        pytest.param(True, id="worker dies too"),
    ],
)
async def test_a_power_cut_that_takes_the_last_second(tmp_path: Path, worker_dies: bool) -> None:  # noqa: FBT001
    loss = await lose_the_tail(tmp_path, Plan(worker_dies=worker_dies))
    print(f"\n{loss}")
    assert loss.size > 0
    assert loss.unknown >= 50, "the lost tail held messages that had left"
    assert loss.truth.states == {State.ACCEPTED: 600}


@pytest.mark.slow
async def test_an_emptied_redis_stops_everything_and_a_backup_goes_on(tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    async with alone(tmp_path) as (run, server):
        worker = run.start_worker()
        bid = await load(run.store, {LANE: 800}, rates={LANE: 250})
        await taken(run, 100)
        taken_at = datetime.now(UTC)
        server.back_up_files(backup)
        await taken(run, 250)
        with server.ask() as redis:
            redis.flushall()
        stopped = await still(run, for_seconds=0.5, within_seconds=1)
        assert stopped < 800
        assert await asyncio.to_thread(worker.wait, 10) == 1
        assert "EPOCH: the installation that this process joined is no longer" in run.logs()
        with pytest.raises(EpochChanged) as watching:
            await wait_for_end(run.store, bid)
        assert explain(watching.value) == (1, f"Error: {watching.value}")

        # whoever looks after workers starts another: the empty installation has nothing to send
        run.start_worker()
        while run.logs().count('"worker.started"') < 2:  # noqa: ASYNC110 - it is another process
            await asyncio.sleep(0.01)
        code, out, err = await command(run, "broadcasts", "list")
        assert (code, err) == (0, "")
        assert bid not in out
        assert await taken(run) == stopped

        server.put_back(backup)
        assert await asyncio.to_thread(run.workers[-1].wait, 10) == 1, "it belongs to the empty installation"
        began = time.monotonic()
        assert await restore(run, taken_at) >= 800 - stopped
        run.start_worker()
        assert await ended(run, bid) == {State.ACCEPTED: 800}
        await kept(run, bid, 800)
        print(
            f"\nemptied at {stopped} of 800, restored from 100: whole after {time.monotonic() - began:.1f} s"
        )


@pytest.mark.parametrize(
    ("kind", "policy"),
    [
        pytest.param("snapshot", OnDoubt.RESEND, marks=pytest.mark.slow),
        pytest.param("files", OnDoubt.RESEND, marks=pytest.mark.slow),
        pytest.param("files", OnDoubt.HOLD, marks=pytest.mark.slow),
        pytest.param("command", OnDoubt.RESEND, marks=pytest.mark.slow),
    ],
)
async def test_an_older_backup_in_the_middle_of_it_all(tmp_path: Path, kind: str, policy: OnDoubt) -> None:
    """At the backup's time some were queued, in retry, sending; one broadcast was paused, one scheduled."""
    backup = tmp_path / "backup"
    faults = {number(i): {"fault": "14107", "tries": 1} for i in range(5, 100, 10)}
    patient = {"BROADCASTER_BACKOFF_BASE_SECONDS": "2", "BROADCASTER_BACKOFF_CAP_SECONDS": "2"}
    async with alone(tmp_path, recipients=faults, latency_ms=100) as (run, server):
        worker = run.start_worker(**patient)
        paused = await load(run.store, {LANE: 60}, rates={LANE: 200}, first=1000, on_doubt=policy)
        await run.until(lambda c: c.get(State.ACCEPTED, 0) > 10, paused)
        await run.store.run(control.pause(paused, "by request"))
        going = await load(run.store, {OTHER: 300}, rates={OTHER: 60}, on_doubt=policy)
        later = await load(run.store, {LANE: 40}, first=2000, on_doubt=policy, schedule_in=3)
        await run.until(lambda c: {State.QUEUED, State.SENDING, State.RETRY} <= c.keys(), going)
        taken_at: datetime | None = datetime.now(UTC)
        if kind == "command":
            backup.mkdir()
            taken_at = None  # it is in it
            code, _, err = await command(run, "backup", str(backup / RDB))
            assert code == 0, err
        else:
            (server.back_up_files if kind == "files" else server.back_up_snapshot)(backup)
        await run.store.run(control.resume(paused))
        await run.until(lambda c: set(c) == {State.ACCEPTED}, paused)
        await run.until(lambda c: c.get(State.ACCEPTED, 0) >= 20, later)
        crash(worker)
        before = await taken(run)
        assert 100 < before < 400

        server.put_back(backup)
        then = {state.label: n for state, n in (await standing(run, going)).items()}
        began = time.monotonic()
        await restore(run, taken_at, "--workers-gone")
        run.start_worker()
        all_told: dict[State, int] = {}
        for bid in (going, paused, later):
            if bid == paused:
                code, _, err = await command(run, "broadcasts", "resume", bid)
                assert code == 0, err
            for state, n in (await ended(run, bid)).items():
                all_told[state] = all_told.get(state, 0) + n
        whom = {paused: range(1000, 1060), going: range(300), later: range(2000, 2040)}
        for bid, rows in whom.items():
            others = {number(i) for other in whom.keys() - {bid} for i in whom[other]}
            await kept(run, bid, len(rows), others)
        shown = {state.label: n for state, n in all_told.items()}
        print(
            f"\n{kind}, {policy}: {then} at the backup's time, {before} taken before it was put back;",
            f"whole after {time.monotonic() - began:.1f} s: {shown}",
        )
        if policy is OnDoubt.HOLD:
            assert all_told == {State.ACCEPTED: before, State.DEAD: 400 - before}
            code, _, err = await command(run, "dead-letters", "replay", "--all", "--even-unknown", "--yes")
            assert code == 0, err
            assert await ended(run, going) == {State.ACCEPTED: 300}
            assert set((await run.simulator.accepted()).values()) == {1}
        else:
            assert all_told == {State.ACCEPTED: 400}


@pytest.mark.slow
async def test_an_older_backup_of_which_nobody_says_anything(tmp_path: Path) -> None:
    """The worker that lives knows more than the data it finds, also where another process was there first."""
    backup = tmp_path / "backup"
    async with alone(tmp_path) as (run, server):
        run.start_worker()
        bid = await load(run.store, {LANE: 400}, rates={LANE: 60})
        await taken(run, 30)
        server.back_up_files(backup)
        await taken(run, 330)
        server.put_back(backup)
        other = await open_store(server.url, run.store.keys.prefix)
        assert not (await other.guard.look()).lost
        await other.close()
        assert await ended(run, bid) == {State.ACCEPTED: 400}
        assert "redis.lost_writes" in run.logs()
        await kept(run, bid, 400)


@pytest.mark.slow
async def test_a_worker_that_starts_before_anybody_says_that_the_data_is_a_backups(tmp_path: Path) -> None:
    """What the worker before it had seen is written down on this host."""
    backup = tmp_path / "backup"
    async with alone(tmp_path) as (run, server):
        worker = run.start_worker()
        bid = await load(run.store, {LANE: 400}, rates={LANE: 100})
        await taken(run, 50)
        server.back_up_files(backup)
        seen = tmp_path / ".broadcaster" / "seen.bc"
        before = seen.read_text()
        while seen.read_text() == before:  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.01)
        await taken(run, 100)
        crash(worker)
        server.put_back(backup)
        run.start_worker()
        await ended(run, bid)
        await kept(run, bid, 400)
        assert "redis.lost_writes" in run.logs()
