"""What a million opt-outs cost: a worker's and intake's CPU for a message and memory, with and without.

    python tests/bench/growth_opt_outs.py --opt-outs 1000000

In turns. The opt-outs are of numbers spread over half a country, none of which is in the broadcast or the
list: each message is looked for and not found. The worker reads them when it starts, before the messages that
are measured. `intake` is a process of its own that reads a CSV as `send` does. What a look, a change and a
forgotten person cost: `opt_outs.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from loading import load
from measured import Report, Row, told, write
from one_worker import Bed, Spent, bed
from pinning import resident_bytes

from broadcaster.domain.content import Content, compile_content
from broadcaster.intake.prepare import Preparation
from broadcaster.intake.reader import open_list
from broadcaster.ledger.optouts import OptOuts, opt_out
from broadcaster.store.connection import open_store

if TYPE_CHECKING:
    from collections.abc import Sequence

LANE: Final = "+14155550100"
FAST: Final = 100_000.0
MB: Final = 1_000_000.0
ADDED_AT_ONCE: Final = 5000
#: At most so many are sent before anything is measured.
WARM: Final = 20_000
#: No number is in both: a message to one that opted out would be waited for in vain. The broadcast's, too
#: (`loading.number`), are of the second.
OPTED_OUT: Final = range(5_000_000_000, 9_999_999_999)
WRITTEN_TO: Final = range(2_000_000_000, 5_000_000_000)


class Read(NamedTuple):
    """What intake spent for a row, in CPU microseconds, and what it held in the end, in bytes."""

    row_us: float
    held: float


class Seen(NamedTuple):
    """A worker's and an intake's run."""

    worker: Spent
    held: int
    intake: Read


def numbers(count: int, among: range) -> list[str]:
    """Return different numbers, spread over a country like those of a list are."""
    return [f"+1{n}" for n in random.Random(count).sample(among, count)]


async def add(place: Bed, count: int) -> None:
    """Add opt-outs of numbers that nobody sends to."""
    out = numbers(count, OPTED_OUT)
    for begun in range(0, count, ADDED_AT_ONCE):
        await place.store.run(opt_out(out[begun : begun + ADDED_AT_ONCE], "import"))


async def seen_with(place: Bed, count: int, messages: int, path: Path) -> Seen:
    """Send and read with so many opt-outs."""
    await place.fresh()
    if count:
        await add(place, count)
    warm = min(WARM, messages)
    bid = await load(place.store, {LANE: messages + warm}, rates={LANE: FAST}, batch=500)
    with place.worker() as pid:
        spent = await place.while_sending(pid, [bid], warm=warm, seconds=120.0, most=messages + warm)
        accepted = (await place.now(pid, [bid])).messages
        if accepted < messages + warm:
            raise RuntimeError(f"only {accepted:,} of {messages + warm:,} messages were sent")
        held = resident_bytes(pid)
    seen = Seen(spent, held, await asyncio.to_thread(intake_apart, place.url, path))
    print(
        f"{count:9,} opt-outs: worker {spent.worker_us:.1f}, Redis {spent.redis_us:.1f} CPU µs/message, "
        f"worker holds {held / MB:.0f} MB; intake {seen.intake.row_us:.2f} CPU µs/row, "
        f"{seen.intake.held / MB:.0f} MB",
        flush=True,
    )
    return seen


def intake_apart(url: str, path: Path) -> Read:
    """Have a process that does nothing else read a list."""
    command = [sys.executable, __file__, "--read", url, str(path)]
    told_by = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return Read(float(told_by[0]), float(told_by[1]))


async def read_list(url: str, path: Path) -> None:
    """Read the opt-outs, then the list twice; print the quicker round's CPU for a row, and the memory."""
    store, known, found = await open_store(url, "bench:"), OptOuts(), []
    await known.refresh(store)
    await store.close()
    for _ in range(2):
        began, rows = time.process_time(), 0
        reader, renderer = open_list(str(path)), compile_content(Content(body="Hello"))
        for batch in Preparation(reader, renderer=renderer, senders=[(LANE, 50.0)], opt_outs=known or None):
            rows += len(batch)
        reader.release()
        found.append((time.process_time() - began) / rows * 1e6)
    print(min(found), resident_bytes(_self()))


def _self() -> int:
    return int(Path("/proc/self").resolve().name)


async def measure(place: Bed, opt_outs: int, messages: int, repeats: int) -> Report:
    """Measure without and with, in turns."""
    without: list[Seen] = []
    with_them: list[Seen] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "list.csv"
        path.write_text("to\n" + "\n".join(numbers(messages, WRITTEN_TO)) + "\n", encoding="ascii")
        for _ in range(repeats):
            without.append(await seen_with(place, 0, messages, path))
            with_them.append(await seen_with(place, opt_outs, messages, path))
    return Report("growth_opt_outs", tuple(rows(opt_outs, with_them, without)))


def rows(opt_outs: int, with_them: Sequence[Seen], without: Sequence[Seen]) -> list[Row]:
    """Return what is told."""
    pairs, some = list(zip(with_them, without, strict=True)), f"{opt_outs:,} opt-outs"

    def row(name: str, what: str, unit: str, samples: list[float]) -> Row:
        command = f"python tests/bench/growth_opt_outs.py --opt-outs {opt_outs}"
        return Row(f"growth.{name}", what, unit, tuple(samples), command)

    cpu, memory = "CPU µs/message", "MB"
    held = [(a.held - b.held) / MB for a, b in pairs]
    redis = [seen.worker.redis_us for seen in with_them]
    return [
        row(
            "opt_outs",
            f"CPU for a message, {some} : none",
            "x",
            [a.worker.worker_us / b.worker.worker_us for a, b in pairs],
        ),
        row("opt_outs.cpu", f"CPU for a message, {some}", cpu, [s.worker.worker_us for s in with_them]),
        row("opt_outs.none.cpu", "CPU for a message, none", cpu, [s.worker.worker_us for s in without]),
        row("opt_outs.memory", f"worker's memory for {some}", memory, held),
        row(
            "opt_outs.intake",
            f"intake's CPU for a row, {some} : none",
            "x",
            [a.intake.row_us / b.intake.row_us for a, b in pairs],
        ),
        row(
            "opt_outs.intake.memory",
            f"intake's memory for {some}",
            memory,
            [(a.intake.held - b.intake.held) / MB for a, b in pairs],
        ),
        row(
            "redis_cpu.opt_outs",
            f"Redis' CPU for a message, {some}",
            cpu,
            redis,
        ),
        row(
            "redis_cpu.opt_outs.none",
            "Redis' CPU for a message, none",
            cpu,
            [s.worker.redis_us for s in without],
        ),
    ]


async def run(options: argparse.Namespace) -> Report:
    """Run it in a bed of its own."""
    async with bed() as place:
        return await measure(place, options.opt_outs, options.messages, options.repeats)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--opt-outs", type=int, default=1_000_000)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--read", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        asyncio.run(read_list(options.read[0], Path(options.read[1])))
        return
    if options.quick:
        options.opt_outs, options.messages, options.repeats = 5000, 1000, 1
    found = asyncio.run(run(options))
    write(found, options.json)
    print(told(found.rows))


if __name__ == "__main__":
    main()
