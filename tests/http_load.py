"""wrk against a server on the measured core, and servers that do nothing, to measure ours beside.

The server has core 0 to itself; wrk and Redis share core 1. `cpu_us` is the server's CPU time for a request.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, Final, NamedTuple

import httpx
from measured import Row
from pinning import MEASURED, OTHERS, cpu_seconds, on_core
from serving import free_port

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

#: A bare ASGI application, on the server that we use.
ASGI: Final = """
import uvicorn
async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    await receive()
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})
uvicorn.run(app, port=PORT, log_level="error", access_log=False, loop="uvloop", http="httptools")
"""
#: What one writes first: FastAPI with a model, which answers 202 and keeps nothing.
FASTAPI: Final = """
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
class Message(BaseModel):
    to: str
    body: str
app = FastAPI()
@app.post("/v1/messages", status_code=202)
async def post(message: Message) -> dict:
    return {"messages": [{"id": "0", "to": message.to, "state": "queued", "reference": None}]}
uvicorn.run(app, port=PORT, log_level="error", access_log=False, loop="uvloop", http="httptools")
"""
#: The floor: uvicorn's parser in a protocol that answers as soon as a request is whole.
PARSER: Final = """
import asyncio
import httptools
import uvloop
class Answers(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport, self.parser = transport, httptools.HttpRequestParser(self)
    def data_received(self, data):
        self.parser.feed_data(data)
    def on_message_begin(self):
        self.headers = []
    def on_header(self, name, value):
        self.headers.append((name.lower(), value))
    def on_message_complete(self):
        self.transport.write(b"HTTP/1.1 204 No Content\\r\\n\\r\\n")
async def main():
    server = await asyncio.get_running_loop().create_server(Answers, "127.0.0.1", PORT)
    await server.serve_forever()
uvloop.run(main())
"""


class Load(NamedTuple):
    """What a run of wrk saw, and what it cost the server, and its Redis if any, in CPU-µs a request."""

    requests: int
    seconds: float
    errors: int
    p50_ms: float
    p99_ms: float
    cpu_us: float
    redis_cpu_us: float

    @property
    def per_second(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


class Target(NamedTuple):
    """A server to load: its process, where it listens, and its Redis' process, 0 for none."""

    pid: int
    url: str
    redis_pid: int = 0


async def load(
    target: Target,
    script: Path,
    *,
    path: str = "",
    seconds: int,
    connections: int,
    variables: Mapping[str, str] | None = None,
) -> Load:
    """Load a server with what `script` makes of the environment's `variables`."""
    command = [*on_core(OTHERS), "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s"]
    command += ["-s", str(script), target.url + path]
    before = _spent(target)
    environment = {**os.environ, **(variables or {})}
    told = await asyncio.to_thread(
        subprocess.run, command, capture_output=True, text=True, check=True, env=environment
    )
    after = _spent(target)
    seen = json.loads(told.stdout.splitlines()[-1])
    count = seen["requests"]
    cpu_us, redis_cpu_us = ((b - a) / max(count, 1) * 1e6 for a, b in zip(before, after, strict=True))
    return Load(count, seen["seconds"], seen["errors"], seen["p50_ms"], seen["p99_ms"], cpu_us, redis_cpu_us)


def _spent(target: Target) -> tuple[float, float]:
    return cpu_seconds(target.pid), cpu_seconds(target.redis_pid) if target.redis_pid else 0.0


def pin_threads(pid: int, core: int) -> None:
    """Keep a process that runs already, with its threads, on one core."""
    if words := on_core(core):
        subprocess.run([words[0], "-acp", str(core), str(pid)], check=True, capture_output=True)


@contextlib.asynccontextmanager
async def bare_server(source: str) -> AsyncIterator[Target]:
    """Run one of the programs above until the block ends."""
    port = free_port()
    command = [*on_core(MEASURED), sys.executable, "-c", source.replace("PORT", str(port))]
    process = subprocess.Popen(command)  # noqa: ASYNC220
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            async with asyncio.timeout(30):
                while True:
                    try:
                        await client.post("/v1/messages", json={"to": "+1", "body": "x"})
                        break
                    except httpx.TransportError:
                        await asyncio.sleep(0.05)
        yield Target(process.pid, f"http://127.0.0.1:{port}")
    finally:
        process.kill()
        process.wait()


def command_of(program: str) -> str:
    """Return the command that runs a bench again as it was run, but for the file that it wrote."""
    words = sys.argv[1:]
    if "--json" in words:
        at = words.index("--json")
        words = words[:at] + words[at + 2 :]
    return f"python tests/bench/{program} {shlex.join(words)}".strip()


def rows_of(name: str, what: str, runs: Sequence[Load], command: str, note: str = "") -> list[Row]:
    """Return the rows of one server: requests a second, CPU of a request, Redis' too if it has one."""
    if wrong := sum(run.errors for run in runs):
        note = f"{note}; {wrong} requests failed or took more than ten seconds".removeprefix("; ")
    rows = [
        Row(name, what, "requests/s", tuple(run.per_second for run in runs), command, note),
        Row(f"{name}.cpu", f"{what}: CPU", "µs/request", tuple(run.cpu_us for run in runs), command, note),
    ]
    if any(run.redis_cpu_us for run in runs):
        spent = tuple(run.redis_cpu_us for run in runs)
        rows.append(Row(f"{name}.redis_cpu", f"{what}: Redis' CPU", "µs/request", spent, command, note))
    return rows
