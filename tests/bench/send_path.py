"""The whole send path of one worker on one core, beside the bare HTTP client loop, in one run.

    python tests/bench/send_path.py                    # without TLS, 3 repeats
    python tests/bench/send_path.py --tls --slow       # with TLS, and with answers that take 100 ms
    python tests/bench/send_path.py --series --json f  # and the lines of the plots
    python tests/bench/send_path.py --quick            # under 20 s

The loop (bare_loop.py) and ours take turns against the same sink, each on core 0, Redis and the sink on
core 1, so that the ratio holds on any machine. Where others use core 0 too, `cpu_ratio` still does: CPU time
of the loop for a message, by ours. The worker is the real one: it logs to nowhere, shows metrics, runs its
jobs, verifies the sink's certificate (SSL_CERT_FILE; the bare loop takes any). The first tenth of a
broadcast is warm-up, or of a slow one ten seconds: from 100 in flight on the account's limit is found by
trying.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from bench.slow_sink import slow_sink
from loading import load
from measured import Report, Row, Series, told, write
from one_worker import Bed, bed
from pinning import on_core

from broadcaster.lanes.control import start

if TYPE_CHECKING:
    from one_worker import Spent

FAST: Final = 100_000.0
BODY: Final = "hello there, this is an alert"
IN_FLIGHT: Final = (16, 32, 64, 128, 256, 512)
LATENCIES_MS: Final = (0.0, 25.0, 50.0, 100.0, 200.0, 400.0)
RECIPIENTS: Final = (10_000, 100_000, 1_000_000)
#: With so many in flight, and so long until an answer.
SLOW_WIDTH: Final = 400
SLOW_MS: Final = 100.0
#: In so many seconds the account's limit grows from 100 to 400.
WARM_SECONDS: Final = 10.0
RATE, CPU, RATIO = "messages/s", "CPU-µs/message", "of the bare loop"


@dataclass(frozen=True, slots=True)
class Loop:
    """What the bare client did: messages a second, CPU microseconds a message."""

    rate: float
    cpu_us: float


def bare_loop(url: str, count: int, width: int) -> Loop:
    """Run the bare pyreqwest loop in a process of its own."""
    program = str(Path(__file__).with_name("bare_loop.py"))
    command = [*on_core(0), sys.executable, program, url, str(count), str(width)]
    rate, cpu = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return Loop(float(rate), float(cpu))


async def ours(at: Bed, recipients: int, *, width: int = 64, tls: bool = False) -> Spent:
    """Send one broadcast with a worker of its own; what was spent on all but the first tenth."""
    await at.fresh()
    lane = "+15550000000"
    broadcast = [await load(at.store, {lane: recipients}, rates={lane: FAST}, batch=500, body=BODY)]
    where = at.sink_with_tls if tls else at.sink
    trusted = at.certificate if tls else None
    with at.worker(sink_url=where, concurrency=width, trusted=trusted) as pid:
        begun = await at.until(pid, broadcast, recipients // 10)
        return (await at.until(pid, broadcast, recipients)).since(begun)


async def ours_from_the_first_on(at: Bed, recipients: int) -> Spent:
    """Start one broadcast when its worker waits for work; what was spent until the last was accepted."""
    await at.fresh()
    lane = "+15550000000"
    bid = await load(at.store, {lane: recipients}, rates={lane: FAST}, batch=500, body=BODY, begin=False)
    with at.worker(sink_url=at.sink) as pid:
        await at.ready()
        begun = await at.now(pid, [bid])
        await at.store.run(start(bid))
        return (await at.until(pid, [bid], recipients)).since(begun)


async def slowly(at: Bed, seconds: float, *, width: int = SLOW_WIDTH, latency_ms: float = SLOW_MS) -> Spent:
    """Send for so long to who answers late, after the warm-up."""
    await at.fresh()
    lane = "+15550000000"
    most = 1000 * width / max(latency_ms, 1000 * width / 20_000)
    recipients = int(most * (WARM_SECONDS + seconds + 2))
    broadcast = [await load(at.store, {lane: recipients}, rates={lane: FAST}, batch=500, body=BODY)]
    with slow_sink(latency_ms) as where, at.worker(sink_url=where, concurrency=width) as pid:
        await at.until(pid, broadcast, 1)
        await asyncio.sleep(WARM_SECONDS)
        return await at.while_sending(pid, broadcast, warm=0, seconds=seconds, most=recipients)


async def beside_the_loop(at: Bed, options: argparse.Namespace, *, tls: bool) -> list[Row]:
    """Measure the loop and ours in turn."""
    kind, url = ("tls", at.sink_with_tls) if tls else ("plain", at.sink)
    words, flag = (" with TLS", " --tls") if tls else ("", "")
    loops: list[Loop] = []
    mine: list[Spent] = []
    for _ in range(options.repeats):
        loops.append(bare_loop(url, options.recipients, options.width))
        print(f"loop{words} {loops[-1].rate:,.0f} {RATE}, {loops[-1].cpu_us:.1f} {CPU}", flush=True)
        mine.append(one := await ours(at, options.recipients, width=options.width, tls=tls))
        print(f"ours{words} {one.rate:,.0f} {RATE}, {one.worker_us:.1f} {CPU}", flush=True)
    ratios = tuple(one.rate / loop.rate for one, loop in zip(mine, loops, strict=True))
    spent = tuple(loop.cpu_us / one.worker_us for one, loop in zip(mine, loops, strict=True))
    sizes = f" --recipients {options.recipients} --width {options.width} --repeats {options.repeats}"
    command = f"python tests/bench/send_path.py{flag}{sizes}"
    found = [
        ("send", "whole send path", RATE, tuple(one.rate for one in mine)),
        ("send.cpu", "whole send path", CPU, tuple(one.worker_us for one in mine)),
        ("send.ratio", "whole send path", RATIO, ratios),
        ("send.cpu_ratio", "messages for the same CPU time", RATIO, spent),
        ("loop", "bare loop of the same client", RATE, tuple(loop.rate for loop in loops)),
        ("loop.cpu", "bare loop of the same client", CPU, tuple(loop.cpu_us for loop in loops)),
    ]
    rows = [
        Row(f"{name.partition('.')[0]}.{kind}{'.' * ('.' in name)}{name.partition('.')[2]}",
            what + words, unit, samples, command)
        for name, what, unit, samples in found
    ]  # fmt: skip
    if not tls:
        commands = tuple(one.commands / one.messages for one in mine)
        redis = tuple(one.redis_us for one in mine)
        rows.append(
            Row("redis.commands_per_message", "commands in Redis, scripts' own too", "", commands, command)
        )
        rows.append(Row("redis.cpu_per_message", "Redis", CPU, redis, command))
    return rows


async def slow_rows(at: Bed, options: argparse.Namespace) -> list[Row]:
    """Measure how full 400 requests in flight are kept."""
    found = [await slowly(at, options.seconds) for _ in range(options.repeats)]
    command = (
        f"python tests/bench/send_path.py --slow --seconds {options.seconds:g} --repeats {options.repeats}"
    )
    words = f"{SLOW_WIDTH} in flight, answers after {SLOW_MS:g} ms"
    return [
        Row("send.slow", words, RATE, tuple(one.rate for one in found), command),
        Row("send.slow.cpu", words, CPU, tuple(one.worker_us for one in found), command),
    ]


async def series(at: Bed, options: argparse.Namespace) -> list[Series]:
    """Measure what the plots show, each point once."""
    by_width = [(width, await ours(at, options.recipients, width=width)) for width in IN_FLIGHT]
    loops = [bare_loop(at.sink, options.recipients, width).rate for width in IN_FLIGHT]
    by_latency = [(ms, await slowly(at, options.seconds, latency_ms=ms)) for ms in LATENCIES_MS]
    sizes = [n for n in RECIPIENTS if n <= options.most]
    by_recipients = [(n, await ours(at, n, width=options.width)) for n in sizes]
    widths = tuple(float(width) for width in IN_FLIGHT)

    def line(plot: str, x_name: str, points: list[tuple[float, Spent]]) -> Series:
        rates = tuple(spent.rate for _, spent in points)
        return Series(plot, "whole send path", x_name, RATE, tuple(float(x) for x, _ in points), rates)

    possible = tuple(min(20_000.0, 1000 * SLOW_WIDTH / max(ms, 0.001)) for ms in LATENCIES_MS)
    return [
        line("in flight", "requests in flight", [(float(w), one) for w, one in by_width]),
        Series("in flight", "bare loop", "requests in flight", RATE, widths, tuple(loops)),
        line("latency", f"ms until Twilio's answer, {SLOW_WIDTH} in flight", by_latency),
        Series(
            "latency",
            "possible",
            f"ms until Twilio's answer, {SLOW_WIDTH} in flight",
            RATE,
            LATENCIES_MS,
            possible,
        ),
        line("recipients", "recipients", [(float(n), one) for n, one in by_recipients]),
    ]


async def measure(options: argparse.Namespace) -> Report:
    """Run what was asked for."""
    rows: list[Row] = []
    lines: list[Series] = []
    async with bed() as at:
        rows += await beside_the_loop(at, options, tls=False)
        if options.tls:
            rows += await beside_the_loop(at, options, tls=True)
        if options.slow:
            rows += await slow_rows(at, options)
        if options.series:
            lines = await series(at, options)
    return Report("send_path", tuple(rows), tuple(lines), {"load average": f"{os.getloadavg()[0]:.1f}"})


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="once, 6,000 recipients")
    parser.add_argument("--tls", action="store_true")
    parser.add_argument("--slow", action="store_true")
    parser.add_argument("--series", action="store_true")
    parser.add_argument("--recipients", type=int, default=60_000)
    parser.add_argument("--width", type=int, default=64, help="requests in flight")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long --slow measures")
    parser.add_argument(
        "--most", type=int, default=1_000_000, help="recipients in the largest point of --series"
    )
    options = parser.parse_args()
    if options.quick:
        options.recipients, options.repeats, options.seconds = 6_000, 1, 2.0
    report = asyncio.run(measure(options))
    print(told(report.rows))
    write(report, options.json)


if __name__ == "__main__":
    main()
