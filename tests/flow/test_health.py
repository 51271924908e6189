"""`broadcaster health` of real processes: a worker without Redis lives, one that hangs does not."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest
from serving import free_port, serving

from broadcaster.simulator.config import ACCOUNT_SID
from broadcaster.store.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import type_of_wait

    from broadcaster.store.connection import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

#: A worker that counts as hanging after two seconds in which a loop has not moved.
_IMPATIENT = """
import asyncio, runpy, sys, time
from broadcaster.telemetry import pulse
pulse.Pulse.__init__.__kwdefaults__["stale_seconds"] = 2.0
{more}
sys.argv = ["workers"]
runpy.run_module("workers", run_name="__main__")
"""
#: Once it is up, its exchange with Redis never ends, or never lets anything else run.
_HANGS = """
from workers.dispatcher import Dispatcher

async def hang(self):
    {how}

Dispatcher._exchange = hang
"""


def health(port: int, *role: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "broadcaster", "health", *role, "--url", f"http://127.0.0.1:{port}"]
    done = subprocess.run([*command, "--timeout", "1"], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


@contextmanager
def worker(
    redis_url: str, port: int, folder: Path, *command: str, **more: str
) -> Iterator[subprocess.Popen[bytes]]:
    environment = {
        **os.environ,
        "REDIS_URL": redis_url,
        "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
        "TWILIO_AUTH_TOKEN": "simulator",
        "TWILIO_API_BASE_URL": "http://127.0.0.1:9",
        "BROADCASTER_METRICS_PORT": str(port),
        "BROADCASTER_DATA_DIR": str(folder),
        **more,
    }
    with (folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *(command or ("-m", "workers"))], env=environment, stdout=log, stderr=log
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def test_a_worker_without_redis_is_alive(tmp_path: Path, wait_until: type_of_wait) -> None:
    port = free_port()
    with EmbeddedServer(tmp_path / "redis", port=0) as redis:
        url = redis.url
        with worker(url, port, tmp_path, "-c", _IMPATIENT.format(more="")):

            async def started() -> bool:
                return health(port, "worker")[0] == 0 and "started" in (tmp_path / "worker.log").read_text()

            await wait_until(started, 30)
            redis.stop()

            async def missed() -> bool:  # arq's part is built anew every second
                assert health(port, "worker")[0] == 0
                return (tmp_path / "worker.log").read_text().count("jobs.interrupted") >= 4

            await wait_until(missed, 60)
    with worker(url, port, tmp_path):  # and one that has never seen it

        async def awaits() -> bool:
            return "redis.awaited" in (tmp_path / "worker.log").read_text()

        await wait_until(awaits, 30)
        assert health(port, "worker")[0] == 0


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("await asyncio.Event().wait()", "the dispatcher has not moved for"),
        ("time.sleep(1000)", "has not moved for"),
    ],
)
async def test_a_worker_that_hangs_is_not_well(
    how: str, told: str, store: Store, tmp_path: Path, wait_until: type_of_wait
) -> None:
    port = free_port()
    with worker(store.url, port, tmp_path, "-c", _IMPATIENT.format(more=_HANGS.format(how=how))):

        async def said() -> bool:
            code, line = health(port, "worker")
            return code == 1 and told in line

        await wait_until(said, 40)


@pytest.mark.parametrize("module", ["workers", "broadcaster.api", "broadcaster.exporter"])
async def test_systemd_is_told(module: str, store: Store, tmp_path: Path, wait_until: type_of_wait) -> None:
    heard: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(place := str(tmp_path / "notify"))
        systemd.setblocking(False)

        def hears(word: str) -> bool:
            with suppress(BlockingIOError):
                while True:
                    heard.append(systemd.recv(1000).decode())
            return word in heard

        environment = {
            "NOTIFY_SOCKET": place,
            "WATCHDOG_USEC": "2000000",
            "BROADCASTER_API_PORT": str(free_port()),
            "BROADCASTER_EXPORTER_PORT": str(free_port()),
        }
        with worker(store.url, free_port(), tmp_path, "-m", module, **environment) as process:
            await wait_until(lambda: hears("READY=1"), 30)
            heard.clear()
            await wait_until(lambda: hears("WATCHDOG=1"), 30)
            heard.clear()
            await wait_until(lambda: hears("WATCHDOG=1"), 30)
            assert "STOPPING=1" not in heard
            process.terminate()
            assert process.wait(30) == 0
            assert hears("STOPPING=1")


async def test_a_stopped_api_is_not_well_and_readiness_wants_redis(store: Store) -> None:
    async with serving(store) as api:
        port = int(api.url.rpartition(":")[2])
        assert health(port, "api", "--ready") == (0, f"api: ok, 127.0.0.1:{port}/readyz answers\n")
        epoch = await store.redis.getdel(store.keys.plain("epoch"))
        code, line = health(port, "api", "--ready")
        assert (code, "answers 503: " in line) == (1, True)
        assert health(port, "api")[0] == 0
        await store.redis.set(store.keys.plain("epoch"), epoch)
        api.process.send_signal(signal.SIGSTOP)
        try:
            assert health(port, "api") == (1, f"api: 127.0.0.1:{port} does not answer within 1 s: it hangs\n")
        finally:
            api.process.send_signal(signal.SIGCONT)
