"""The memory of a worker over an hour of load: new broadcasts again and again, 200 messages a second.

    python tests/bench/memory_hour.py --minutes 60

Each broadcast is of its own (text, recipients, ten of 200 senders), takes 15 seconds, and somebody opts out
meanwhile. A worker that has just started fills its caches, which are bounded: so the slope is that of the
second half of the time, by least squares over looks ten seconds apart, and the first half's is told beside
it. Nobody is asked what became of messages, as the sink would never tell: all would wait for that, and a
round of asking holds up to 100,000 of them (25 MB, once). Takes a few percent of a core, so other benches may
run meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from loading import load
from measured import Report, Row, Series, told, write
from one_worker import Bed, bed
from pinning import resident_bytes

from broadcaster.ledger.optouts import opt_out

if TYPE_CHECKING:
    from collections.abc import Sequence

RATE: Final = 200.0
EACH_SECONDS: Final = 15.0
SENDERS: Final = 200
SENDERS_EACH: Final = 10
MB: Final = 1_000_000.0
UNASKED_SECONDS: Final = 86_400.0


def slope(looks: Sequence[tuple[float, float]]) -> float:
    """Return by how much a line through (seconds, bytes) rises in an hour."""
    return statistics.linear_regression(*zip(*looks, strict=True)).slope * 3600 if len(looks) > 1 else 0.0


async def feed(place: Bed, until: float, rate: float, each: float) -> list[str]:
    """Start a broadcast as the one before ends; return them."""
    serial = total = 0
    made: list[str] = []
    while time.monotonic() < until:
        began = time.monotonic()
        chosen = [f"+1555{(serial * SENDERS_EACH + i) % SENDERS:07d}" for i in range(SENDERS_EACH)]
        count = max(1, int(rate * each / SENDERS_EACH))
        bid = await load(
            place.store,
            dict.fromkeys(chosen, count),
            rates=dict.fromkeys(chosen, rate / SENDERS_EACH),
            batch=min(500, count),
            body=f"hello there, this is alert number {serial}",
            first=total,
        )
        total += count * SENDERS_EACH
        await place.store.run(opt_out([f"+4930{serial:08d}"], "reply"))
        serial += 1
        made.append(bid)
        await asyncio.sleep(max(0.0, began + each - time.monotonic()))
    return made


async def measure(options: argparse.Namespace) -> tuple[list[tuple[float, float]], int]:
    """Return what the worker held at (second, bytes), and how many messages Twilio accepted."""
    looks: list[tuple[float, float]] = []
    async with bed() as place:
        with place.worker(core=None, poll_after=UNASKED_SECONDS) as pid:
            began = time.monotonic()
            until = began + options.minutes * 60
            feeding = asyncio.create_task(feed(place, until, options.rate, options.each))
            while time.monotonic() < until:
                await asyncio.sleep(options.every)
                looks.append((time.monotonic() - began, resident_bytes(pid)))
                if options.json is not None:  # a run that is cut off has told what it saw
                    write(report(options, looks), options.json)
                if feeding.done():
                    break
            accepted = (await place.now(pid, await feeding)).messages
    return looks, accepted


def report(options: argparse.Namespace, looks: Sequence[tuple[float, float]]) -> Report:
    """Return what was seen so far."""
    half = len(looks) // 2
    command = f"python tests/bench/memory_hour.py --minutes {options.minutes:g} --rate {options.rate:g}"
    first, second = slope(looks[:half]) / MB, slope(looks[half:]) / MB
    held = f"{looks[half][1] / MB:.1f} MB at half time, {looks[-1][1] / MB:.1f} MB at the end"
    rows = (
        Row(
            "memory.worker_hour",
            "worker's memory, growth over the second half of the time",
            "MB/hour",
            (second,),
            command,
            f"{options.minutes:g} minutes at {options.rate:g}/s; {held}; first half {first:.1f} MB/hour",
        ),
        Row(
            "memory.worker_hour.end",
            "worker's memory at the end",
            "MB",
            tuple(size / MB for _, size in looks[-5:]),
            command,
        ),
    )
    x, y = tuple(at / 60 for at, _ in looks), tuple(size / MB for _, size in looks)
    line = Series("worker's memory over time", f"{options.rate:g} messages/s", "minutes", "MB", x, y)
    return Report("memory_hour", rows, (line,), {"looks": str(len(looks))})


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=RATE, help="messages a second in all")
    parser.add_argument("--each", type=float, default=EACH_SECONDS, help="seconds that a broadcast takes")
    parser.add_argument("--every", type=float, default=10.0, help="seconds between looks")
    parser.add_argument("--quick", action="store_true", help="under 20 seconds; says nothing about growth")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.quick:
        options.minutes, options.each, options.every = 0.2, 3.0, 1.0
    os.nice(15)
    looks, accepted = asyncio.run(measure(options))
    found = report(options, looks)
    write(found, options.json)
    print(told(found.rows))
    print(found.rows[0].note, f"({accepted:,} messages accepted)")


if __name__ == "__main__":
    main()
