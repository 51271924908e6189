"""How well senders keep their pace, as the sink sees it: 1, 10, 100, 1,000 a second, by one and two workers.

    python tests/bench/pace.py [--seconds 120] [--workers 1 2] [--rates 1 10 100 1000] [--json FILE] [--quick]

Once with each number of workers, with a sender for each rate beside each other: the share of the rate that
came, and the fullest of all one-second windows, as a part of what it may hold (rate + 10 % + 1).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from time import monotonic
from typing import Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fleet import fleet
from loading import load
from measured import Report, Row, told, write
from pacing import fullest, room, share

from broadcaster.domain.record import State

COMMAND: Final = "python tests/bench/pace.py"
WARM_UP_SECONDS: Final = 5.0
LATENCY_MS: Final = 50.0
#: 1,000/s with answers after 50 ms are 50 in flight: connections must not be what bounds a pace.
CONCURRENCY: Final = "256"


async def campaign(workers: int, rates: list[float], seconds: float) -> list[tuple[float, float, int]]:
    """Send for so long; return rate, share and fullest second of each sender."""
    senders = {f"+15550{int(rate):06d}": rate for rate in rates}
    settings = {"BROADCASTER_CONCURRENCY": CONCURRENCY, "BROADCASTER_ACCOUNT_CONCURRENCY": "1000"}
    async with fleet(latency_ms=LATENCY_MS, **settings) as run:
        for _ in range(workers):
            run.start_worker()
        await run.joined(workers)
        span = seconds + WARM_UP_SECONDS + 10
        people = {name: int(rate * span) + 1 for name, rate in senders.items()}
        broadcast = await load(run.store, people, rates=senders, batch=500)
        await run.until(lambda c: c.get(State.ACCEPTED, 0) > 0, broadcast)
        await asyncio.sleep(WARM_UP_SECONDS)
        began = monotonic()
        await asyncio.sleep(seconds)
        ended = monotonic()
        seen = run.sink.arrivals()
        assert not seen.twice, f"{seen.twice} messages to somebody who had one"
    found = []
    for name, rate in senders.items():
        times = seen.of(name)
        found.append((rate, share(times, rate, began, ended), fullest(times)))
    return found


async def bench(options: argparse.Namespace) -> Report:
    """Run all of it."""
    shares, windows = [], []
    rows = []
    for workers in options.workers:
        for rate, part, most in await campaign(workers, options.rates, options.seconds):
            shares.append(part)
            windows.append(most / room(rate))
            what = f"{rate:g}/s by {workers} worker{'s' * (workers > 1)}"
            at = f"{rate:g}.{workers}"
            print(f"{what}: {part:.4f} of the rate; fullest second {most} of {room(rate):g}", flush=True)
            rows.append(Row(f"pace.share.{at}", f"{what}: share of the rate", "", (part,), COMMAND))
            rows.append(
                Row(f"pace.window.{at}", f"{what}: fullest second", "messages", (float(most),), COMMAND)
            )
    note = f"over {options.seconds:g} s, at {', '.join(f'{rate:g}' for rate in options.rates)}/s"
    worst_share, worst_window = (min(shares),), (max(windows),)
    rows = [
        Row("pace.share", "share of a sender's rate, the least of all", "", worst_share, COMMAND, note),
        Row("pace.window", "fullest second over rate + 10 % + 1, the most", "", worst_window, COMMAND, note),
        *rows,
    ]
    return Report("pace", tuple(rows))


def main() -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rates", type=float, nargs="+", default=[1.0, 10.0, 100.0, 1000.0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="to see that it runs")
    options = parser.parse_args()
    if options.quick:
        options.seconds, options.workers, options.rates = 4.0, [2], [10.0, 100.0]
    report = asyncio.run(bench(options))
    print(told(report.rows[:2]))
    write(report, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
