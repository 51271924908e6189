"""What each stage of sending one message costs the worker, in CPU microseconds, and the floor of each.

    python tests/bench/stages.py --repeats 5

The floor is the same work written barely: no checks, no types, nothing that a failure would need. Each
stage is our own code, called as the dispatcher calls it, in groups of a batch of 500; a round trip is
shared by as many as travel together when Twilio answers at once (`COMPANY`). POST and the client loop run
against the sink; their CPU is the process', the client's own thread included.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import uvloop
from bench.stage_list import GROUP, ending, making, posting, reading, running, talking
from measured import Report, Row, write
from pinning import MEASURED, OTHERS, pin
from sink import sink

from broadcaster.store.embedded import EmbeddedServer
from broadcaster.telemetry import logs
from broadcaster.twilio.engine import client_builder
from broadcaster.twilio.send import MessageSender

if TYPE_CHECKING:
    from collections.abc import Callable


async def microseconds(run: Callable[[], Any], messages: int, *, at_least: float) -> float:
    """Return the CPU time of this process for a message, run again until `at_least` seconds are spent."""
    began, times = time.process_time(), 0
    while time.process_time() - began < at_least:
        made = run()
        if asyncio.iscoroutine(made):
            await made
        times += 1
    return (time.process_time() - began) / times / messages * 1e6


def log_to_nowhere() -> None:
    """Let log lines cost what they do in a worker, and be read by nobody."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    logs.configure("info", "json")
    os.dup2(kept, 2)
    os.close(kept)
    os.close(nowhere)


async def measure(repeats: int, seconds: float) -> Report:
    """Measure every stage and its floor in turns."""
    log_to_nowhere()
    command = f"python tests/bench/stages.py --repeats {repeats}"
    rows: list[Row] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedServer(Path(folder), port=0) as server,
        sink() as answering,
    ):
        pin(server.process.pid if server.process else 0, OTHERS)
        pin(0, MEASURED)
        redis, close = await talking(server.url)
        url = f"{answering.plain}/2010-04-01/Accounts/AC0/Messages.json"
        async with (
            MessageSender("AC0", ("AC0", "secret"), answering.plain) as sender,
            client_builder(concurrency=GROUP).build() as client,
        ):
            for stage in [*reading(), *making(), *running(), *posting(url, sender, client), *ending(), redis]:
                mine, least = [], []
                for _ in range(repeats):
                    mine.append(await microseconds(stage.ours, stage.messages, at_least=seconds))
                    if stage.floor is not None:
                        least.append(await microseconds(stage.floor, stage.messages, at_least=seconds))
                rows.append(Row(f"stage.{stage.id}", stage.what, "CPU-µs/message", tuple(mine), command))
                if least:
                    rows.append(
                        Row(f"stage.{stage.id}.floor", "its floor", "CPU-µs/message", tuple(least), command)
                    )
                print(f"{stage.what:60} {min(mine):7.2f} floor {min(least, default=0):7.2f}", flush=True)
        await close()
    return Report("stages", tuple(rows))


def main() -> None:
    """Run and print the least of each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="once, a tenth as long")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3, help="CPU time for each figure")
    options = parser.parse_args()
    repeats, seconds = (1, 0.03) if options.quick else (options.repeats, options.seconds)
    write(uvloop.run(measure(repeats, seconds)), options.json)


if __name__ == "__main__":
    main()
