"""Throughput with 1, 2, 4, 8 workers on one Redis, answers after 100 ms; then what 40 idle workers cost.

    python tests/bench/many_workers.py [--workers 1 2 4 8] [--idle 40] [--seconds 8] [--json FILE] [--quick]
    python tests/bench/many_workers.py --senders 1 --limit 1000 --width 64 --workers 1 2 3 --idle 0

Each worker may have `--width` requests in flight, so `--width` / 0.1 s is the most it sends, and the senders
together may send `--limit` a second: the first counts are bound by the workers, the last by the senders. The
second command has a sender that is faster than any worker: no permits may be lost with who took too many.
Cores bind nothing: all workers share one, Redis and the sink the other. The sink says who sent, how even that
is, how full each sender's fullest second was, and whether anybody got two messages.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fleet import Fleet, fleet
from loading import load
from measured import Report, Row, Series, told, write
from pacing import fullest, room
from pinning import resident_bytes

from broadcaster.domain.record import State
from broadcaster.lanes.control import cancel

LATENCY_MS: Final = 100.0
COMMAND: Final = "python tests/bench/many_workers.py"


@dataclass(frozen=True, slots=True)
class Seen:
    """What so many workers sent in each of several stretches of time."""

    workers: int
    rates: tuple[float, ...]
    least_share: float
    fullest_window: float
    worker_us: float
    redis_us: float


async def measure(run: Fleet, options: argparse.Namespace, workers: int) -> Seen:
    """Let so many work, and look at several stretches of `seconds`."""
    while len(run.workers) < workers:
        run.start_worker(BROADCASTER_CONCURRENCY=str(options.width))
    await run.joined(workers)
    await asyncio.sleep(options.warm_up)
    before = len(run.sink.arrivals().times)
    worker_cpu, redis_cpu = run.cpu_seconds(), run.redis_cpu_seconds()
    marks = [monotonic()]
    for _ in range(options.repeats):
        await asyncio.sleep(options.seconds)
        marks.append(monotonic())
    worker_cpu, redis_cpu = run.cpu_seconds() - worker_cpu, run.redis_cpu_seconds() - redis_cpu
    seen = run.sink.arrivals()
    times, who = seen.times[before:], Counter(seen.workers[before:])
    rates = [sum(begin <= at < end for at in times) / (end - begin) for begin, end in pairwise(marks)]
    each = options.limit / options.senders
    sent = {
        name: [at for at, by in zip(times, seen.senders[before:], strict=True) if by == name]
        for name in set(seen.senders)
    }
    return Seen(
        workers,
        tuple(rates),
        min(who[n] for n in range(workers)) / max(who.values()),
        max(fullest(times_of) for times_of in sent.values()) / room(each),
        worker_cpu / len(times) * 1e6,
        redis_cpu / len(times) * 1e6,
    )


async def idle(run: Fleet, options: argparse.Namespace) -> list[Row]:
    """Let many have nothing to do; say what Redis and each of them spends on that."""
    while len(run.workers) < options.idle:  # some at a time: starting costs each a second of CPU
        run.start_worker(core=None)
        if len(run.workers) % 8 == 0:
            await run.joined(len(run.workers))
    await run.joined(options.idle)
    await asyncio.sleep(options.warm_up)
    redis, workers, commands = [], [], []
    for _ in range(options.repeats):
        stats = await run.store.redis.info("stats")
        before = run.redis_cpu_seconds(), run.cpu_seconds(), monotonic()
        await asyncio.sleep(options.seconds)
        seconds = monotonic() - before[2]
        redis.append((run.redis_cpu_seconds() - before[0]) / seconds * 100)
        workers.append((run.cpu_seconds() - before[1]) / seconds / options.idle * 100)
        after = await run.store.redis.info("stats")
        commands.append((after["total_commands_processed"] - stats["total_commands_processed"]) / seconds)
    memory = tuple(resident_bytes(worker.pid) / 1e6 for worker in run.workers)
    what, command = f"{options.idle} idle workers", f"{COMMAND} --idle {options.idle}"
    return [
        Row("idle.redis_cpu", f"{what}: Redis' CPU", "% of a core", tuple(redis), command),
        Row("idle.commands", f"{what}: commands at Redis", "1/s", tuple(commands), command),
        Row("idle.worker_cpu", f"{what}: each one's CPU", "% of a core", tuple(workers), command),
        Row("idle.worker_memory", f"{what}: each one's RSS", "MB", memory, command),
    ]


def rows(seen: list[Seen], twice: int, limit: float) -> list[Row]:
    """Return what is to be said of a series of counts; the last is bound by the senders."""
    first, last = statistics.median(seen[0].rates) / seen[0].workers, seen[-1]
    bound = [s for s in seen if first * s.workers < limit]
    scaling = Row(
        "workers.scaling",
        "throughput of several workers over that of as many single ones, below the limit",
        "",
        tuple(rate / first / s.workers for s in bound for rate in s.rates),
        COMMAND,
    )
    note = f"{LATENCY_MS:.0f} ms answers, {limit:.0f}/s is the senders' limit"
    return [
        *(
            Row(f"workers.{s.workers}", f"{s.workers} workers", "messages/s", s.rates, COMMAND, note)
            for s in seen
        ),
        *([scaling] if len(bound) > 1 else []),
        Row(
            "workers.limit",
            f"{last.workers} workers: share of the senders' limit that is sent",
            "",
            tuple(rate / limit for rate in last.rates),
            COMMAND,
        ),
        Row(
            "workers.share",
            "the least busy worker's messages over the busiest one's",
            "",
            tuple(s.least_share for s in seen),
            COMMAND,
        ),
        Row(
            "workers.window",
            "a sender's fullest second over rate + 10 % + 1",
            "",
            tuple(s.fullest_window for s in seen),
            COMMAND,
        ),
        Row("workers.twice", "messages to somebody who had one", "", (float(twice),), COMMAND),
        Row(
            "workers.cpu",
            "CPU of a worker per message, by number of workers",
            "µs",
            tuple(s.worker_us for s in seen),
            COMMAND,
        ),
        Row(
            "workers.redis_cpu",
            "CPU of Redis per message, by number of workers",
            "µs",
            tuple(s.redis_us for s in seen),
            COMMAND,
        ),
    ]


async def bench(options: argparse.Namespace) -> Report:
    """Run all of it."""
    found: list[Seen] = []
    async with fleet(latency_ms=LATENCY_MS, BROADCASTER_ACCOUNT_CONCURRENCY="1000") as run:
        told_rows = await throughput(run, options, found) if options.workers else []
        if options.idle:
            told_rows += await idle(run, options)
    line = Series(
        "throughput against workers",
        "broadcaster",
        "workers",
        "messages/s",
        tuple(float(s.workers) for s in found),
        tuple(statistics.median(s.rates) for s in found),
    )
    return Report("many_workers", tuple(told_rows), (line,) if found else ())


async def throughput(run: Fleet, options: argparse.Namespace, found: list[Seen]) -> list[Row]:
    """Let ever more workers send one long broadcast; what is `found` of each is added."""
    each = options.limit / options.senders
    stretch = options.warm_up + options.repeats * options.seconds + 20
    senders = {f"+1555000{i:04d}": int(each * stretch * len(options.workers)) for i in range(options.senders)}
    broadcast = await load(run.store, senders, rates=dict.fromkeys(senders, each), batch=500)
    for workers in options.workers:
        found.append(await measure(run, options, workers))
        s = found[-1]
        print(
            f"{workers} workers: {statistics.median(s.rates):7.0f}/s  least/most {s.least_share:.2f}  "
            f"fullest window {s.fullest_window:.2f}  CPU {s.worker_us:.0f} + {s.redis_us:.0f} µs",
            flush=True,
        )
    twice = run.sink.arrivals().twice
    await run.store.run(cancel(broadcast, "measured"))
    await run.until(lambda c: not c.get(State.QUEUED) and not c.get(State.SENDING), broadcast)
    return rows(found, twice, options.limit)


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 4, 8])
    parser.add_argument("--idle", type=int, default=40)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--limit", type=float, default=960.0)
    parser.add_argument("--senders", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--warm-up", type=float, default=6.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="to see that it runs")
    options = parser.parse_args()
    if options.quick:
        options.workers, options.idle, options.limit = [1, 2], 3, 480.0
        options.seconds, options.repeats, options.warm_up = 1.0, 1, 2.0
    report = asyncio.run(bench(options))
    print(told(report.rows))
    write(report, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
