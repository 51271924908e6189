"""doctor against a real server and a simulated account: what is found, how bad it is, what to do."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from redis import Redis

from broadcaster.reporting.health import Check, Level, as_json, healthy, skew
from broadcaster.reporting.health_redis import check_redis
from broadcaster.reporting.health_twilio import check_twilio
from broadcaster.simulator.config import ACCOUNT_SID, SERVICE_SID, ServiceConfig, SimulatorConfig
from broadcaster.simulator.server import Simulator, running_simulator
from broadcaster.store.embedded import EmbeddedServer
from broadcaster.twilio.rest import TwilioRest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from broadcaster.store.server_binary import ServerBinary

TOKEN = "0123456789abcdef0123456789abcdef"


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    config = SimulatorConfig(token=TOKEN, any_sender=False, senders={"+14155550100": 1.0})
    async with running_simulator(config) as running:
        yield running


async def twilio_checks(url: str, token: str = TOKEN, **senders: str) -> dict[str, Check]:
    async with TwilioRest(ACCOUNT_SID, (ACCOUNT_SID, token), url) as rest:
        return {check.name: check for check in await check_twilio(rest, senders, base_url=None)}


def doctor(folder: Path, *options: str, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("TWILIO_", "BROADCASTER_", "REDIS_"))}
    command = [sys.executable, "-m", "broadcaster", "doctor", *options]
    return subprocess.run(
        command, cwd=folder, env=clean | env, capture_output=True, text=True, timeout=30, check=False
    )


# ---- the command


async def test_a_good_account_and_server_are_ready(
    tmp_path: Path, simulator: Simulator, redis_url: str
) -> None:
    done = await asyncio.to_thread(  # the simulator goes on meanwhile
        doctor,
        tmp_path,
        "--json",
        REDIS_URL=redis_url,
        TWILIO_ACCOUNT_SID=ACCOUNT_SID,
        TWILIO_AUTH_TOKEN=TOKEN,
        TWILIO_API_BASE_URL=simulator.url,
        TWILIO_PHONE_NUMBER="+14155550100",
    )
    told = json.loads(done.stdout)
    levels = {check["name"]: check["level"] for check in told["checks"]}
    assert (done.returncode, told["ok"]) == (0, True), done.stdout + done.stderr
    assert levels.pop("redis write") in ("ok", "warn")  # whatever the disk is like
    warned = {name for name, level in levels.items() if level == "warn"}
    assert warned == {"twilio address", "public address", "workers"}
    assert {"twilio credentials", "twilio clock", "twilio account", "sender +14155550100"} <= set(levels)
    assert {"redis eviction", "redis append-only file", "redis appendfsync", "redis clock"} <= set(levels)
    assert TOKEN not in done.stdout + done.stderr


async def test_without_anything_it_says_what_to_set_and_looks_at_the_built_in_server(tmp_path: Path) -> None:
    done = doctor(tmp_path)
    assert done.returncode == 1
    assert "TWILIO_ACCOUNT_SID is not set" in done.stdout
    assert "→ Put the SID" in done.stdout
    assert "always: an intent is on disk" in done.stdout
    assert "workers" not in done.stdout
    assert "1 of " in done.stdout


# ---- the account


@pytest.mark.parametrize(("status", "level"), [("active", Level.OK), ("suspended", Level.FAIL)])
async def test_the_accounts_status(simulator: Simulator, status: Any, level: Level) -> None:
    simulator.configure(account_status=status)
    found = await twilio_checks(simulator.url, A="+14155550100")
    check = found.get("twilio account", found["twilio credentials"])
    assert check.level is level


async def test_refused_credentials_fail_and_end_the_questions(simulator: Simulator) -> None:
    found = await twilio_checks(simulator.url, "wrong", A="+14155550100")
    assert [check.level for check in found.values()] == [Level.FAIL]
    assert "TWILIO_AUTH_TOKEN" in found["twilio credentials"].advice


async def test_no_network_only_warns() -> None:
    found = await twilio_checks("http://127.0.0.1:9")
    assert [check.level for check in found.values()] == [Level.WARN]
    assert healthy(found.values())


async def test_a_trial_account_warns(simulator: Simulator) -> None:
    simulator.configure(account_type="Trial")
    found = await twilio_checks(simulator.url)
    assert found["twilio account"].level is Level.WARN
    assert found["senders"].level is Level.WARN


async def test_senders_are_the_accounts_own_or_fail(simulator: Simulator) -> None:
    simulator.configure(services={SERVICE_SID: ServiceConfig(senders=("+14155550100",))})
    found = await twilio_checks(
        simulator.url,
        A="+14155550100",
        B="+14155559999",
        C="whatsapp:+14155238886",
        D="whatsapp:+14155550101",
        E=SERVICE_SID,
        F="MG" + "9" * 32,
        G="no sender!",
    )
    levels = {name.removeprefix("sender "): check.level for name, check in found.items() if "sender" in name}
    assert levels == {
        "+14155550100": Level.OK,
        "+14155559999": Level.FAIL,
        "whatsapp:+14155238886": Level.WARN,
        "whatsapp:+14155550101": Level.OK,
        SERVICE_SID: Level.OK,
        "MG" + "9" * 32: Level.FAIL,
        "no sender!": Level.FAIL,
    }
    simulator.configure(services={SERVICE_SID: ServiceConfig()})
    empty = (await twilio_checks(simulator.url, E=SERVICE_SID))[f"sender {SERVICE_SID}"]
    assert (empty.level, "no sender" in empty.found) == (Level.FAIL, True)


@pytest.mark.parametrize(("seconds", "level"), [(0, Level.OK), (20, Level.WARN), (-3600, Level.FAIL)])
async def test_a_clock_that_is_off_is_told(simulator: Simulator, seconds: float, level: Level) -> None:
    simulator.configure(clock_skew_seconds=seconds)
    assert (await twilio_checks(simulator.url))["twilio clock"].level is level


def test_a_skew_says_which_way() -> None:
    assert "20.0 s ahead of ours" in skew("clock", 20.0, exact_to=0.1).found
    assert "20.0 s behind ours" in skew("clock", -20.0, exact_to=0.1).found


# ---- Redis


@pytest.fixture
def server(redis_url: str) -> Iterator[Any]:
    with Redis.from_url(redis_url) as client:
        yield client
        client.config_set("maxmemory", 0)
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("appendfsync", "always")


async def redis_checks(url: str) -> dict[str, Check]:
    return {check.name: check for check in await check_redis(url, "bc:")}


async def test_a_server_that_evicts_fails(server: Any, redis_url: str) -> None:
    server.config_set("maxmemory-policy", "allkeys-lru")
    assert (await redis_checks(redis_url))["redis eviction"].level is Level.WARN
    server.config_set("maxmemory", 500_000_000)
    found = (await redis_checks(redis_url))["redis eviction"]
    assert (found.level, "noeviction" in found.advice) == (Level.FAIL, True)


async def test_memory_that_is_nearly_used_up_warns(server: Any, redis_url: str) -> None:
    used = int(server.info("memory")["used_memory"])
    server.config_set("maxmemory", int(used * 1.1))
    assert (await redis_checks(redis_url))["redis memory"].level is Level.WARN


async def test_what_a_crash_would_lose_is_told(server: Any, redis_url: str) -> None:
    server.config_set("appendfsync", "everysec")
    found = await redis_checks(redis_url)
    assert (found["redis appendfsync"].level, "last second" in found["redis appendfsync"].found) == (
        Level.WARN,
        True,
    )
    assert "does not wait for the disk" in found["redis write"].found


async def test_a_server_that_forgets_fails(tmp_path: Path, server_binary: ServerBinary) -> None:
    with EmbeddedServer(tmp_path, binary=server_binary, options={"appendonly": "no"}) as forgetful:
        found = await redis_checks(forgetful.url)
    assert found["redis append-only file"].level is Level.FAIL
    assert found["redis appendfsync"].level is Level.WARN


@pytest.mark.parametrize(
    ("reason", "level"), [("looking into it", Level.WARN), ("20003: Authentication failed", Level.FAIL)]
)
async def test_a_stopped_account_is_told_with_its_reason(
    server: Any, redis_url: str, reason: str, level: Level
) -> None:
    """A person who paused knows why; a refusal keeps everything from being sent until somebody acts."""
    server.hset("bc:account", "paused", reason)
    found = (await redis_checks(redis_url))["sending"]
    assert (found.level, found.found) == (level, f"everything is stopped: {reason}")
    assert "broadcaster resume" in found.advice


async def test_a_check_leaves_nothing_in_the_database(server: Any, redis_url: str) -> None:
    await redis_checks(redis_url)
    assert server.dbsize() == 0


async def test_a_replica_and_no_server_fail(server: Any, redis_url: str) -> None:
    assert (await redis_checks("redis://127.0.0.1:9"))["redis"].level is Level.FAIL
    server.execute_command("REPLICAOF", "127.0.0.1", "9")
    try:
        assert (await redis_checks(redis_url))["redis role"].level is Level.FAIL
    finally:
        server.execute_command("REPLICAOF", "NO", "ONE")


def test_json_has_every_finding() -> None:
    told = as_json([Check("a", Level.OK, "fine"), Check("b", Level.FAIL, "bad", "mend it")])
    assert told == {
        "ok": False,
        "checks": [
            {"name": "a", "level": "ok", "found": "fine", "advice": None},
            {"name": "b", "level": "fail", "found": "bad", "advice": "mend it"},
        ],
    }
