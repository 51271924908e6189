"""How many status callbacks a second the simulator plays from one core, to a bare ASGI receiver on another.

Run: `python tests/bench/callbacks_out.py [--messages 100000]`. Two callbacks a message. Prints its own CPU
time beside the receiver's (uvicorn with a bare ASGI application), since a shared machine has slow hours.
Exits 1 where not all were answered, or where one costs more than `MOST` times what receiving it costs.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import uvicorn
import uvloop

from broadcaster.simulator.config import SimulatorConfig
from broadcaster.simulator.create import accept
from broadcaster.simulator.forms import Form
from broadcaster.simulator.server import running_simulator

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, MutableMapping
    from typing import Any

MOST: Final = 2.0
SENDER: Final = "+14155550199"
_seen: list[None] = []


async def receiver(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Read the body and answer 204; a GET tells how many came and what that took."""
    while (await receive()).get("more_body"):
        pass
    body = b""
    if scope["method"] == "GET":
        body = json.dumps({"seen": len(_seen), "receiver_cpu_seconds": time.process_time()}).encode()
    else:
        _seen.append(None)
    status = 200 if body else 204
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": body})


def serve(core: int) -> None:
    """Be the receiver; print the port."""
    os.sched_setaffinity(0, {core})
    config = uvicorn.Config(receiver, port=0, log_level="error", access_log=False, lifespan="off")
    config.load()
    listening = config.bind_socket()
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    uvloop.run(uvicorn.Server(config).serve([listening]))


@contextmanager
def bare_receiver(core: int) -> Iterator[int]:
    """Run the receiver as a process; give its port."""
    command = [sys.executable, __file__, "--serve", str(core)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.terminate()
        process.wait()


async def play(url: str, messages: int) -> dict[str, float]:
    """Accept that many messages and tell all their statuses; returns seconds, CPU seconds and counts."""
    config = SimulatorConfig(senders={SENDER: 1e9}, delivery_seconds=0)
    async with running_simulator(config) as simulator:
        world = simulator.world
        for number in range(messages):
            fields = {
                "To": f"+1415{number:07d}",
                "From": SENDER,
                "Body": "hi",
                "StatusCallback": f"{url}?r=01JD9Z3V4T.12.{number}.3.1.AbCdEfGhIjK#rc=5&rp=all",
            }
            made = accept(
                world,
                Form(fields, []),
                account=config.account_sid,
                now=world.now(),
                received_ms=0.0,
                attempt=1,
                fault="",
            )
            assert not isinstance(made, int)
            world.callbacks.follow(made)
        gc.freeze()
        wall, cpu = time.perf_counter(), time.process_time()
        while world.callbacks.pending:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        summary = world.callbacks.summary()
        return {
            "answered": summary["answered"],
            "failed": summary["failed"],
            "seconds": time.perf_counter() - wall,
            "cpu_seconds": time.process_time() - cpu,
        }


def main() -> int:
    """Run it; the last line is JSON."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--serve", type=int)
    options = parser.parse_args()
    if options.serve is not None:
        serve(options.serve)
        return 0
    first, *others = sorted(os.sched_getaffinity(0))
    with bare_receiver(others[0] if others else first) as port:
        os.sched_setaffinity(0, {first})
        found = uvloop.run(play(f"http://127.0.0.1:{port}/status", options.messages))
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/") as answer:
            found |= json.load(answer)
    found["per_second"] = round(found["answered"] / found["seconds"])
    found["per_cpu_second"] = round(found["answered"] / found["cpu_seconds"])
    found["cpu_to_receivers"] = round(found["cpu_seconds"] / found["receiver_cpu_seconds"], 2)
    sys.stdout.write(json.dumps(found) + "\n")
    whole = found["answered"] == found["seen"] == 2 * options.messages
    return 0 if whole and found["cpu_to_receivers"] <= MOST else 1


if __name__ == "__main__":
    sys.exit(main())
