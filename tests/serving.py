"""A real API process for a test: started on a free port, with keys, spoken to over real HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
from deployment import Deployment, deployment

from broadcaster.domain.api_keys import Scope
from broadcaster.operations import keys
from broadcaster.operations.actor import Actor
from broadcaster.simulator.config import ACCOUNT_SID

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable
    from pathlib import Path

    from broadcaster.store.connection import Store

#: For BROADCASTER_PUBLIC_URL.
ITSELF = "itself"
TESTER = Actor("person:tester@here", "test")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Api:
    """A running API process and a client whose key may do everything."""

    process: subprocess.Popen[bytes]
    url: str
    client: httpx.AsyncClient
    environment: dict[str, str] = field(repr=False)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


async def key_for(store: Store, *scopes: Scope, rate: float = 100_000.0, **more: Any) -> str:
    """Make a key with these scopes, by default all; return its text."""
    _, text = await keys.create(
        store, TESTER, name="test", scopes=scopes or (Scope.ADMIN,), rate=rate, **more
    )
    return text


def bearer(key: str) -> dict[str, str]:
    """Return the header that shows a key."""
    return {"Authorization": f"Bearer {key}"}


@contextlib.asynccontextmanager
async def serving(
    store: Store,
    *,
    options: Iterable[str] = (),
    key: str = "",
    log: Any = subprocess.DEVNULL,
    port: Any = 0,
    **variables: str,
) -> AsyncIterator[Api]:
    """Run `python -m broadcaster.api` against the store until the block ends.

    `BROADCASTER_PUBLIC_URL=ITSELF`: Twilio calls it where it listens.
    """
    port = port or free_port()
    if variables.get("BROADCASTER_PUBLIC_URL") == ITSELF:
        variables["BROADCASTER_PUBLIC_URL"] = f"http://127.0.0.1:{port}"
    ours = ("TWILIO_", "BROADCASTER_")
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    environment = {
        **inherited,
        "REDIS_URL": store.url,
        "BROADCASTER_KEY_PREFIX": store.keys.prefix.rstrip(":"),
        "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
        "TWILIO_AUTH_TOKEN": "token-of-the-test",
        "TWILIO_PHONE_NUMBER": "+15550000001",
        "TWILIO_API_BASE_URL": "http://127.0.0.1:9",
        "BROADCASTER_CHECK_MEDIA": "off",
        **variables,
    }
    command = [sys.executable, "-m", "broadcaster.api", "--port", str(port), *options]
    process = _start(command, environment, log)
    url = f"http://127.0.0.1:{port}"
    headers = bearer(key or await key_for(store))
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30, trust_env=False) as client:
        try:
            await _ready(client, process)
            yield Api(process, url, client, environment)
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(30)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()


@contextlib.asynccontextmanager
async def whole(folder: Path, *, workers: int = 1, **config: Any) -> AsyncIterator[tuple[Deployment, Api]]:
    """A simulated Twilio, workers and an API, which know of each other."""
    async with deployment(folder, workers=workers, **config) as run:
        ours = {
            name: value
            for name, value in run.environment.items()
            if name.startswith(("TWILIO_", "BROADCASTER_"))
        }
        async with serving(run.store, **ours) as api:
            yield run, api


def _start(command: list[str], environment: dict[str, str], log: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


async def _ready(client: httpx.AsyncClient, process: subprocess.Popen[bytes]) -> None:
    async with asyncio.timeout(120):
        while True:
            if process.poll() is not None:
                raise AssertionError(f"the API ended with {process.returncode}")
            with contextlib.suppress(httpx.TransportError):
                if (await client.get("/readyz")).status_code == 200:
                    return
            await asyncio.sleep(0.02)
