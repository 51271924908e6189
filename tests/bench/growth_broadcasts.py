"""A hundred broadcasts that share one lane beside one alone: CPU for a message, Redis' too, and fair shares.

    python tests/bench/growth_broadcasts.py --broadcasts 100

All are of one class and start together, on a lane as fast as the worker goes. When half of all has been sent,
how far are they apart? A turn is a slice, so the fairest is a slice or two: that is the unit of `fair`.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from loading import load
from measured import Report, Row, told, write
from one_worker import Bed, Spent, bed

from broadcaster.domain.record import State
from broadcaster.lanes.control import start

if TYPE_CHECKING:
    from collections.abc import Sequence

LANE: Final = "+15550000000"
FAST: Final = 100_000.0
#: A slice is at most a batch.
BATCH: Final = 500


class Seen(NamedTuple):
    """What the first half took, and how many of each broadcast had been accepted then."""

    spent: Spent
    accepted: list[int]

    @property
    def apart(self) -> float:
        """How far the first is before the last, in slices."""
        return (max(self.accepted) - min(self.accepted)) / BATCH


async def seen_of(place: Bed, broadcasts: int, messages: int) -> Seen:
    """Send the first half of so many messages, shared out evenly over broadcasts."""
    await place.fresh()
    each = messages // broadcasts
    made = [
        await load(
            place.store,
            {LANE: each},
            rates={LANE: FAST},
            batch=BATCH,
            body=f"this is alert number {i}",
            first=i * each,
            begin=False,
        )
        for i in range(broadcasts)
    ]
    await place.store.run_all([start(bid) for bid in made])
    with place.worker() as pid:
        spent = await place.while_sending(pid, made, warm=messages // 10, seconds=600.0, most=messages // 2)
        async with place.store.redis.pipeline(transaction=False) as pipe:
            for bid in made:
                pipe.hget(place.store.keys.broadcast(bid), f"n{int(State.ACCEPTED)}")
            seen = Seen(spent, [int(count or 0) for count in await pipe.execute()])
    print(
        f"{broadcasts:4} broadcasts: worker {spent.worker_us:.1f}, Redis {spent.redis_us:.1f} "
        f"CPU µs/message, {spent.rate:.0f} messages/s, {min(seen.accepted)} to {max(seen.accepted)} of each",
        flush=True,
    )
    return seen


async def measure(place: Bed, broadcasts: int, messages: int, repeats: int) -> Report:
    """Measure one and many, in turns."""
    one: list[Seen] = []
    many: list[Seen] = []
    for _ in range(repeats):
        one.append(await seen_of(place, 1, messages))
        many.append(await seen_of(place, broadcasts, messages))
    return Report("growth_broadcasts", tuple(rows(broadcasts, many, one)))


def rows(broadcasts: int, many: Sequence[Seen], one: Sequence[Seen]) -> list[Row]:
    """Return what is told."""
    name, cpu = f"broadcasts_{broadcasts}", "CPU µs/message"

    def row(name: str, what: str, unit: str, samples: list[float]) -> Row:
        command = f"python tests/bench/growth_broadcasts.py --broadcasts {broadcasts}"
        return Row(f"growth.{name}", what, unit, tuple(samples), command)

    ratios = [a.spent.worker_us / b.spent.worker_us for a, b in zip(many, one, strict=True)]
    about = f"{broadcasts} broadcasts on one lane"
    return [
        row(name, f"CPU for a message, {about} : one broadcast", "x", ratios),
        row(f"{name}.cpu", f"CPU for a message, {about}", cpu, [s.spent.worker_us for s in many]),
        row(f"{name}.one", "CPU for a message, one broadcast", cpu, [s.spent.worker_us for s in one]),
        row(
            f"{name}.fair",
            f"the first before the last at half time, {about}",
            "slices",
            [s.apart for s in many],
        ),
        row(f"redis_cpu.{name}", f"Redis' CPU for a message, {about}", cpu, [s.spent.redis_us for s in many]),
        row("redis_cpu.one", "Redis' CPU for a message, one broadcast", cpu, [s.spent.redis_us for s in one]),
    ]


async def run(options: argparse.Namespace) -> Report:
    """Run it in a bed of its own."""
    async with bed() as place:
        return await measure(place, options.broadcasts, options.messages, options.repeats)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--broadcasts", type=int, default=100)
    parser.add_argument("--messages", type=int, default=300_000, help="loaded; half of them are sent")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.quick:
        options.broadcasts, options.messages, options.repeats = 10, 3000, 1
    found = asyncio.run(run(options))
    write(found, options.json)
    print(told(found.rows))


if __name__ == "__main__":
    main()
