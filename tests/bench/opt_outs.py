"""What a million opt-outs cost: `python tests/bench/opt_outs.py [opt-outs]`; exits 1 if a promise broke.

Time per message at the gate (`OptOuts.blocks`), per row at intake, with and without forgotten people; what a
worker holds and how long it takes to read everything, or one change. Times are CPU time of this process, the
least of several rounds; memory is what the process grew by.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from broadcaster.domain.content import Content, compile_content
from broadcaster.intake.prepare import Preparation
from broadcaster.intake.reader import open_list
from broadcaster.ledger.optouts import OptOuts, hash_opt_outs, opt_out
from broadcaster.ledger.people_key import people_key
from broadcaster.store.connection import open_store
from broadcaster.store.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broadcaster.store.connection import Store

LANE: Final = "+14155550100"
ROWS: Final = 200_000
ROUNDS: Final = 5
#: Promises, in microseconds, bytes and milliseconds. A message's whole way through a worker takes 53 µs.
GATE_MOST: Final = 2.0
ROW_MOST: Final = 1.5
FORGOTTEN_MOST: Final = 4.0
CHANGE_MOST_MS: Final = 5.0
BYTES_MOST: Final = 24.0


def numbers(count: int, seed: int) -> list[str]:
    """Return different numbers, spread over a country like those of a list are."""
    chance = random.Random(seed)
    return [f"+1{n}" for n in chance.sample(range(2_000_000_000, 9_999_999_999), count)]


def least(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Return the CPU seconds of the quickest round."""
    found = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        found.append(time.process_time() - began)
    return min(found)


def resident() -> int:
    """Return the bytes of memory that this process holds."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmRSS: this needs Linux")


def gate(known: OptOuts, people: Sequence[str]) -> float:
    """Return the microseconds that the gate's look takes for a message."""

    def look() -> None:
        for start in range(0, len(people), 64):  # what the gate is asked for at once
            scopes = known.scopes(LANE, None, "utility")
            if scopes:
                known.blocked(people[start : start + 64], scopes)

    return least(look) / len(people) * 1e6


def intake(path: Path, known: OptOuts | None) -> float:
    """Return the microseconds of a whole intake for a row."""

    def read() -> None:
        reader = open_list(str(path))
        renderer = compile_content(Content(body="Hello"))
        for _ in Preparation(reader, renderer=renderer, senders=[(LANE, 50.0)], opt_outs=known or None):
            pass
        reader.release()

    return least(read, 3) / ROWS * 1e6


async def main(count: int) -> int:
    """Run everything; return the exit code."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer(Path(folder), port=0) as server:
        store = await open_store(server.url)
        try:
            return await measure(store, Path(folder), count)
        finally:
            await store.close()


def read_apart(url: str) -> list[float]:
    """Have a process that holds nothing else read them; return what `read` prints."""
    command = [sys.executable, __file__, "--read", url]
    child = subprocess.run(command, capture_output=True, text=True, check=True)
    return [float(part) for part in child.stdout.split()]


async def read(url: str) -> int:
    """Read all opt-outs as a worker that starts does; print seconds, CPU seconds, and bytes it grew by."""
    store = await open_store(url)
    await store.redis.ping()
    gc.collect()
    before, cpu, began = resident(), time.process_time(), time.perf_counter()
    known = OptOuts()
    await known.refresh(store)
    load_cpu, load = time.process_time() - cpu, time.perf_counter() - began
    gc.collect()
    print(load, load_cpu, resident() - before)
    await store.close()
    return 0


async def measure(store: Store, folder: Path, count: int) -> int:
    """Fill, measure, print; return the exit code."""
    out = numbers(count, 1)
    empty, began = await store.redis.info("memory"), time.perf_counter()
    for start in range(0, count, 1000):
        await store.run(opt_out(out[start : start + 1000], "import"))
    held = await store.redis.info("memory")
    each = (held["used_memory"] - empty["used_memory"]) / count
    took = time.perf_counter() - began
    print(f"{count:,} opt-outs added in {took:.1f} s; Redis holds {each:.0f} bytes for each", flush=True)
    people = numbers(ROWS, 2)
    blocked = out[:: max(1, count // ROWS)][:ROWS]
    path = folder / "list.csv"
    path.write_text("to\n" + "\n".join(people) + "\n", encoding="ascii")

    load, load_cpu, grown = await asyncio.to_thread(read_apart, store.url)
    grown /= count
    print(f"read by a worker in {load:.2f} s ({load_cpu:.2f} s CPU); it grew by {grown:.1f} bytes for each")
    nobody, known = OptOuts(), OptOuts()
    await known.refresh(store)

    cpu = time.process_time()
    for i in range(200):
        await store.run(opt_out([f"+4930{i:08d}"], "reply"))
        await known.refresh(store)
    change_ms = (time.process_time() - cpu) / 200 * 1e3
    print(f"one change, written and read: {change_ms:.2f} ms CPU")

    free, hit = gate(known, people), gate(known, blocked)
    look = least(lambda: known.blocked(people, ("*",))) / ROWS * 1e6
    none = gate(nobody, people)
    print(f"gate: {none:.3f} µs a message with none, {free:.3f} with {count:,}, {hit:.3f} for one of them")
    without, with_them = intake(path, None), intake(path, known)
    print(f"intake: {without:.2f} µs a row with none, {with_them:.2f} with {count:,}; the look: {look:.3f}")

    await store.run(hash_opt_outs(await people_key(store), out[:1000]))
    await known.refresh(store)
    forgotten = gate(known, people)
    print(f"gate, with 1,000 forgotten people: {forgotten:.3f} µs a message")
    broken = [
        f"{name}: {value:.2f}, not at most {most}"
        for name, value, most in (
            ("µs at the gate", max(free, hit), GATE_MOST),
            ("µs for a row", look, ROW_MOST),
            ("µs with forgotten people", forgotten, FORGOTTEN_MOST),
            ("ms for a change", change_ms, CHANGE_MOST_MS),
            ("bytes for each", grown, BYTES_MOST),
        )
        if value > most
    ]
    print("\n".join(broken) or "every promise held")
    return int(bool(broken))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("opt_outs", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--read", metavar="URL", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    sys.exit(asyncio.run(read(asked.read) if asked.read else main(asked.opt_outs)))
