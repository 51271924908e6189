"""CPU for a message against the number of lanes, all at 1/s, and what Redis spends.

    python tests/bench/growth_lanes.py --lanes 1000,10000 --seconds 8 --repeats 3

How the budget's sentence is read ("≤ 1.3 × at 1,000 lanes and ≤ 2 × at 10,000, all at 1/s"): N lanes at 1/s send
N messages a second, so they stand beside ONE lane at N/s, in turns and in the same run. The lanes' clocks are spread
over a second, as those of lanes are that began at different times. What the budget doesn't ask is shown too: one lane as fast as
the worker can, the least that a message costs at all.

A core may be too slow for 10,000 messages a second. Both sides are told to send as many; where a core is busy for all
of the time, the lanes are late, and `CPU µs/message` is what a message costs such a worker.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from loading import load
from measured import Report, Row, Series, told, write
from one_worker import Bed, Spent, bed

from broadcaster.lanes.control import start

if TYPE_CHECKING:
    from collections.abc import Sequence

FAST: Final = 100_000.0
#: Seconds that are sent before anything is measured.
WARM_SECONDS: Final = 2.0
#: More of them are more broadcasts.
LANES_OF_A_BROADCAST: Final = 500
BODY: Final = "hello there, this is an alert"
#: At 1/s a batch is as many recipients as 30 seconds send.
BATCH: Final = 30


async def many_lanes(place: Bed, lanes: int, seconds: float) -> list[str]:
    """Load work for lanes at 1/s, spread over a second; return the broadcasts."""
    each = int(seconds + WARM_SECONDS) + 5
    made, names = [], [f"+1555{i:07d}" for i in range(lanes)]
    for at in range(0, lanes, LANES_OF_A_BROADCAST):
        some = names[at : at + LANES_OF_A_BROADCAST]
        rates = dict.fromkeys(some, 1.0)
        made.append(
            await load(
                place.store,
                dict.fromkeys(some, each),
                rates=rates,
                batch=BATCH,
                body=BODY,
                begin=False,
                first=at * each,
            )
        )
    chance, redis = random.Random(lanes), place.store.redis
    now, micros = await redis.time()
    async with redis.pipeline(transaction=False) as pipe:
        for name in names:
            begins = now * 1_000_000 + micros + chance.randrange(1_000_000)
            pipe.hset(place.store.keys.plain(f"lane:{name}"), "tat", str(begins))
        await pipe.execute()
    for bid in made:
        assert await place.store.run(start(bid)) == "ok"
    return made


async def one_lane(place: Bed, rate: float, seconds: float, most: int = 10**9) -> list[str]:
    """Load work for one lane; return the broadcasts."""
    count = min(most, int(rate * (seconds + WARM_SECONDS + 2)))
    return [await load(place.store, {"+15550000000": count}, rates={"+15550000000": rate}, batch=500, body=BODY)]


async def spent(place: Bed, lanes: int, rate: float, seconds: float) -> Spent:
    """Send over so many lanes, `rate` in all, and return what that took."""
    await place.fresh()
    if lanes == 1:
        broadcasts = await one_lane(place, rate, seconds, most=200_000)
    else:
        broadcasts = await many_lanes(place, lanes, seconds)
    warm = min(int(rate * WARM_SECONDS), 20_000)
    with place.worker() as pid:
        return await place.while_sending(pid, broadcasts, warm=warm, seconds=seconds, most=199_000)


async def measure(place: Bed, sizes: Sequence[int], seconds: float, repeats: int) -> Report:
    """Measure each number of lanes beside one lane at the same rate in all, in turns."""
    rows: list[Row] = []
    ours: dict[int, list[Spent]] = {}
    for lanes in sizes:
        many, one = ours.setdefault(lanes, []), []
        for _ in range(repeats):
            for found, width in ((one, 1), (many, lanes)):
                found.append(await spent(place, width, float(lanes), seconds))
                say(width, lanes, found[-1])
        rows += rows_of(lanes, many, one)
    floor = [await spent(place, 1, FAST, seconds) for _ in range(repeats)]
    say(1, int(FAST), floor[0])
    rows.append(row("lane_fast", "CPU for a message, one lane as fast as it goes", "CPU µs/message", [s.worker_us for s in floor]))
    ours[1] = floor
    x = tuple(sorted(ours))
    series = (
        Series("CPU per message against lanes", "worker, all lanes at 1/s", "lanes", "CPU µs/message",
               tuple(map(float, x)), tuple(Row("", "", "", tuple(s.worker_us for s in ours[n])).median for n in x)),
        Series("CPU per message against lanes", "Redis, all lanes at 1/s", "lanes", "CPU µs/message",
               tuple(map(float, x)), tuple(Row("", "", "", tuple(s.redis_us for s in ours[n])).median for n in x)),
    )
    return Report("growth_lanes", tuple(rows), series)


def say(width: int, rate: int, seen: Spent) -> None:
    """Tell a person."""
    print(
        f"{width:6} lanes, {rate}/s asked: {seen.rate:7.0f} messages/s, worker {seen.worker_us:6.1f} "
        f"({seen.worker / seen.seconds:.0%} of a core), Redis {seen.redis_us:5.1f} CPU µs/message, "
        f"{seen.commands / max(1, seen.messages):.1f} commands",
        flush=True,
    )


def row(name: str, what: str, unit: str, samples: Sequence[float], note: str = "") -> Row:
    """Return a row of this bench."""
    return Row(f"growth.{name}", what, unit, tuple(samples), "python tests/bench/growth_lanes.py", note)


def rows_of(lanes: int, many: Sequence[Spent], one: Sequence[Spent]) -> list[Row]:
    """Return what is told of one number of lanes."""
    note = f"{many[0].rate:.0f} messages/s beside {one[0].rate:.0f} of one lane at {lanes}/s"
    ratios = [a.worker_us / b.worker_us for a, b in zip(many, one, strict=True)]
    return [
        row(f"lanes_{lanes}", f"CPU for a message, {lanes:,} lanes at 1/s : one lane at {lanes:,}/s", "×", ratios, note),
        row(f"lanes_{lanes}.cpu", f"CPU for a message, {lanes:,} lanes at 1/s", "CPU µs/message", [s.worker_us for s in many]),
        row(f"lanes_{lanes}.one", f"CPU for a message, one lane at {lanes:,}/s", "CPU µs/message", [s.worker_us for s in one]),
        row(f"redis_cpu.lanes_{lanes}", f"Redis' CPU for a message, {lanes:,} lanes at 1/s", "CPU µs/message", [s.redis_us for s in many]),
    ]


async def run(options: argparse.Namespace) -> Report:
    """Run it in a bed of its own."""
    async with bed() as place:
        return await measure(place, [int(n) for n in options.lanes.split(",")], options.seconds, options.repeats)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lanes", default="1000,10000")
    parser.add_argument("--seconds", type=float, default=8.0, help="measured, after a warm-up")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.quick:
        options.lanes, options.seconds, options.repeats = "100", 2.0, 1
    found = asyncio.run(run(options))
    write(found, options.json)
    print(told(found.rows))


if __name__ == "__main__":
    main()
