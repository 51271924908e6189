"""CPU for a message, and Redis' memory for a recipient, against the number of recipients of a broadcast.

    python tests/bench/growth_recipients.py --sizes 10000,100000,1000000,10000000

One lane, as fast as it goes. A worker that has sent a broadcast before (its caches and Twilio's connections
are warm) sends the first `--part` messages, then the last: the flow is put forward over what lies between, so
that ten million records are there but need not all be sent. `--long` sends all of them. Small broadcasts are
sent several times, to have as many messages. Lists are written as intake writes them (`tests/loading.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from loading import load
from measured import Report, Row, Series, told, write
from one_worker import Bed, Spent, bed

from broadcaster.lanes.control import start

if TYPE_CHECKING:
    from collections.abc import Sequence

LANE: Final = "+15550000000"
FAST: Final = 100_000.0
BATCH: Final = 500
#: At most so many are sent before anything is measured.
WARM: Final = 20_000
BODY: Final = "hello there, this is an alert"


class Seen(NamedTuple):
    """What one size took: sending its first part and its last, and Redis' bytes for a recipient."""

    first: Spent
    last: Spent
    bytes_each: float

    @property
    def both(self) -> Spent:
        """Both parts together."""
        return self.last.since(_negative(self.first))


def _negative(spent: Spent) -> Spent:
    return Spent(0, 0.0, 0.0, 0.0, 0).since(spent)


async def listed(place: Bed, count: int) -> str:
    """Load a broadcast, and do not start it."""
    return await load(place.store, {LANE: count}, rates={LANE: FAST}, batch=BATCH, body=BODY, begin=False)


async def loaded(place: Bed, size: int, part: int) -> tuple[list[str], float]:
    """Load what is to be sent of this size; return the broadcasts, and Redis' bytes for a recipient."""
    await listed(place, 1)  # Redis compiles the scripts
    before = await place.memory()
    times = max(1, 2 * part // size)
    made = [await listed(place, size) for _ in range(times)]
    return made, (await place.memory() - before) / (size * times)


async def sent(place: Bed, pid: int, broadcasts: Sequence[str], size: int, part: int) -> tuple[Spent, Spent]:
    """Send small broadcasts one after the other, of a large one its first and its last part."""
    store, halves = place.store, len(broadcasts) // 2
    parts = [broadcasts[:halves], broadcasts[halves:]] if halves else [broadcasts, broadcasts]
    found = []
    for place_of, some in enumerate(parts):
        begun = await place.now(pid, some)
        if halves:
            for bid in some:
                assert await store.run(start(bid)) == "ok"
                await place.until(pid, [bid], size)
        else:
            if place_of == 0:
                assert await store.run(start(some[0])) == "ok"
            elif size > 2 * part:
                await store.redis.hset(store.keys.flow(some[0], LANE), "head", str((size - part) // BATCH))
            await place.until(pid, some, begun.messages + part)
        found.append((await place.now(pid, some)).since(begun))
    return found[0], found[1]


async def seen_of(place: Bed, size: int, part: int, *, whole: bool) -> Seen:
    """Load and send one size."""
    await place.fresh()
    broadcasts, each = await loaded(place, size, part)
    part = size // 2 if whole else min(part, size // 2)
    warming = min(WARM, 2 * size)
    warm = await listed(place, warming)
    with place.worker() as pid:
        assert await place.store.run(start(warm)) == "ok"
        await place.until(pid, [warm], warming)
        first, last = await sent(place, pid, broadcasts, size, part)
    seen = Seen(first, last, each)
    print(
        f"{size:10,} recipients: worker {first.worker_us:.1f} and {last.worker_us:.1f}, "
        f"Redis {seen.both.redis_us:.1f} CPU µs/message, {seen.both.rate:.0f} messages/s, "
        f"{each:.1f} bytes of Redis for each",
        flush=True,
    )
    return seen


async def measure(place: Bed, sizes: Sequence[int], part: int, repeats: int, *, whole: bool) -> Report:
    """Measure all sizes, in turns; the smallest is what the others are compared with."""
    found: dict[int, list[Seen]] = {size: [] for size in sizes}
    for _ in range(repeats):
        for size in sizes:
            found[size].append(await seen_of(place, size, part, whole=whole))
    least, most = min(sizes), max(sizes)
    note = f"the first and the last {part:,} messages of {most:,}" if not whole else f"all of {most:,}"
    ratios = [
        max(seen.first.worker_us, seen.last.worker_us) / base.both.worker_us
        for seen, base in zip(found[most], found[least], strict=True)
    ]
    rows = [
        row("recipients", f"CPU for a message, {most:,} recipients : {least:,}", "x", ratios, note),
        row("memory", f"Redis' bytes for a recipient of {most:,}", "B", [s.bytes_each for s in found[most]]),
    ]
    for size in sizes:
        cpu = [s.both.worker_us for s in found[size]]
        rows.append(row(f"recipients_{size}.cpu", f"CPU for a message of {size:,}", "CPU µs/message", cpu))
        cpu = [s.both.redis_us for s in found[size]]
        name = f"redis_cpu.recipients_{size}"
        rows.append(row(name, f"Redis' CPU for a message of {size:,}", "CPU µs/message", cpu))
    return Report("growth_recipients", tuple(rows), tuple(lines(found)))


def row(name: str, what: str, unit: str, samples: Sequence[float], note: str = "") -> Row:
    """Return a row of this bench."""
    return Row(f"growth.{name}", what, unit, tuple(samples), "python tests/bench/growth_recipients.py", note)


def lines(found: dict[int, list[Seen]]) -> list[Series]:
    """Return the plots: CPU of the worker and of Redis, and Redis' memory."""
    x = tuple(map(float, found))

    def middle(values: list[float]) -> float:
        return sorted(values)[len(values) // 2]

    worker = tuple(middle([s.both.worker_us for s in seen]) for seen in found.values())
    redis = tuple(middle([s.both.redis_us for s in seen]) for seen in found.values())
    memory = tuple(middle([s.bytes_each for s in seen]) for seen in found.values())
    plot, held = "CPU per message against recipients", "Redis memory per recipient against recipients"
    return [
        Series(plot, "worker", "recipients", "CPU µs/message", x, worker),
        Series(plot, "Redis", "recipients", "CPU µs/message", x, redis),
        Series(held, "Redis", "recipients", "bytes/recipient", x, memory),
    ]


async def run(options: argparse.Namespace) -> Report:
    """Run it in a bed of its own."""
    async with bed() as place:
        sizes = [int(n) for n in options.sizes.split(",")]
        return await measure(place, sizes, options.part, options.repeats, whole=options.long)


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="10000,100000,1000000,10000000")
    parser.add_argument("--part", type=int, default=100_000)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--long", action="store_true", help="send all of them")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.quick:
        options.sizes, options.part, options.repeats = "1000,4000", 1000, 1
    found = asyncio.run(run(options))
    write(found, options.json)
    print(told(found.rows))


if __name__ == "__main__":
    main()
