"""CPU for a message, and Redis' memory for a recipient, against the number of recipients of a broadcast.

    python tests/bench/growth_recipients.py --sizes 10000,100000,1000000,10000000

One lane, as fast as it goes. Every size has a Redis and a worker of its own, and they take turns in sending
`--part` messages, so that what else the machine does meets all of them. A broadcast of more than `--part` is
paused between turns, and its flow put forward over what lies between, from its first batches to its last: ten
million records are there but need not all be sent. Of smaller ones several are sent, one after the other,
each with its begin and its end. Lists are written as intake writes them (`tests/loading.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1]))

from loading import load
from measured import Report, Row, Series, told, write
from one_worker import Bed, Spent, bed

from broadcaster.lanes.control import pause, resume, start

if TYPE_CHECKING:
    from collections.abc import Sequence

LANE: Final = "+15550000000"
FAST: Final = 100_000.0
BATCH: Final = 500
#: So many are sent by each worker before anything is measured.
WARM: Final = 20_000
BODY: Final = "hello there, this is an alert"


class Sized(NamedTuple):
    """A worker with broadcasts of one size to send; `bytes_each` is what Redis holds for a recipient."""

    place: Bed
    pid: int
    size: int
    broadcasts: Sequence[str]
    bytes_each: float


async def listed(place: Bed, count: int) -> str:
    """Load a broadcast, and do not start it."""
    return await load(place.store, {LANE: count}, rates={LANE: FAST}, batch=BATCH, body=BODY, begin=False)


async def ready(place: Bed, pid: int, size: int, turns: int, part: int) -> Sized:
    """Load what all turns need of this size, and let the worker send others first."""
    warm = await listed(place, WARM)
    before = await place.memory()
    count = 1 if size > part else turns * (part // size)
    made = [await listed(place, size) for _ in range(count)]
    each = (await place.memory() - before) / (size * count)
    assert await place.store.run(start(warm)) == "ok"
    await place.until(pid, [warm], WARM)
    print(f"{size:10,} recipients: {each:.1f} bytes of Redis for each", flush=True)
    return Sized(place, pid, size, made, each)


async def sent(sized: Sized, turn: int, turns: int, part: int) -> Spent:
    """Send `part` messages; return what they took."""
    place, pid, size = sized.place, sized.pid, sized.size
    if size > part:
        return await _part_of_large(sized, turn, turns, part)
    many = part // size
    some = sized.broadcasts[turn * many : (turn + 1) * many]
    begun = await place.now(pid, some)
    for bid in some:
        assert await place.store.run(start(bid)) == "ok"
        await place.until(pid, [bid], size)
    return (await place.now(pid, some)).since(begun)


async def _part_of_large(sized: Sized, turn: int, turns: int, part: int) -> Spent:
    place, (bid,) = sized.place, sized.broadcasts
    if turn:
        head = (sized.size - part) * turn // max(1, turns - 1) // BATCH
        if head > int(await place.store.redis.hget(place.store.keys.flow(bid, LANE), "head") or 0):
            at = {"head": str(head), "pos": "0"}
            await place.store.redis.hset(place.store.keys.flow(bid, LANE), mapping=at)
    begun = await place.now(sized.pid, [bid])
    assert await place.store.run(resume(bid) if turn else start(bid)) == "ok"
    ended = await place.until(sized.pid, [bid], begun.messages + part)
    if turn < turns - 1:
        assert await place.store.run(pause(bid, "the others' turn")) == "ok"
    return ended.since(begun)


async def measure(sizes: Sequence[int], part: int, turns: int) -> Report:
    """Measure all sizes, in turns; the smallest is what the largest is compared with."""
    async with contextlib.AsyncExitStack() as stack:
        all_sizes = []
        for size in sizes:
            place = await stack.enter_async_context(bed())
            pid = stack.enter_context(place.worker())
            all_sizes.append(await ready(place, pid, size, turns, part))
        found: dict[int, list[Spent]] = {size: [] for size in sizes}
        for turn in range(turns):
            for sized in all_sizes:
                spent = await sent(sized, turn, turns, part)
                found[sized.size].append(spent)
                print(
                    f"{sized.size:10,} recipients: worker {spent.worker_us:.1f}, "
                    f"Redis {spent.redis_us:.1f} CPU µs/message, {spent.rate:.0f} messages/s",
                    flush=True,
                )
    held = {sized.size: sized.bytes_each for sized in all_sizes}
    return Report("growth_recipients", tuple(rows(found, held, part)), tuple(lines(found, held)))


def rows(found: dict[int, list[Spent]], held: dict[int, float], part: int) -> list[Row]:
    """Return what is told."""
    least, most = min(found), max(found)
    ratios = [a.worker_us / b.worker_us for a, b in zip(found[most], found[least], strict=True)]
    note = f"{part:,} messages of each in turn"
    told_of = [
        row("recipients", f"CPU for a message, {most:,} recipients : {least:,}", "x", ratios, note),
        row("memory", f"Redis' bytes for a recipient of {most:,}", "B", [held[most]]),
    ]
    for size, turns in found.items():
        cpu, redis = [spent.worker_us for spent in turns], [spent.redis_us for spent in turns]
        told_of.append(row(f"recipients_{size}.cpu", f"CPU for a message of {size:,}", "CPU µs/message", cpu))
        name = f"redis_cpu.recipients_{size}"
        told_of.append(row(name, f"Redis' CPU for a message of {size:,}", "CPU µs/message", redis))
    return told_of


def row(name: str, what: str, unit: str, samples: Sequence[float], note: str = "") -> Row:
    """Return a row of this bench."""
    return Row(f"growth.{name}", what, unit, tuple(samples), "python tests/bench/growth_recipients.py", note)


def lines(found: dict[int, list[Spent]], held: dict[int, float]) -> list[Series]:
    """Return the plots: CPU of the worker and of Redis, and Redis' memory."""
    x = tuple(map(float, found))
    worker = tuple(statistics.median(spent.worker_us for spent in turns) for turns in found.values())
    redis = tuple(statistics.median(spent.redis_us for spent in turns) for turns in found.values())
    memory = tuple(held.values())
    plot, in_redis = "CPU per message against recipients", "Redis memory per recipient against recipients"
    return [
        Series(plot, "worker", "recipients", "CPU µs/message", x, worker),
        Series(plot, "Redis", "recipients", "CPU µs/message", x, redis),
        Series(in_redis, "Redis", "recipients", "bytes/recipient", x, memory),
    ]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="10000,100000,1000000,10000000")
    parser.add_argument("--part", type=int, default=100_000)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--long", action="store_true", help="send nearly all of the largest")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.quick:
        options.sizes, options.part, options.turns = "1000,8000", 2000, 2
    sizes = [int(size) for size in options.sizes.split(",")]
    part = options.part
    if options.long:
        part = max(sizes) // (options.turns + 1)
        part -= part % max((size for size in sizes if size <= part), default=1)
    if any(part % size if size <= part else size < part * (options.turns + 1) for size in sizes):
        parser.error("each size must go into --part, or hold it once more than there are --turns")
    found = asyncio.run(measure(sizes, part, options.turns))
    write(found, options.json)
    print(told(found.rows))


if __name__ == "__main__":
    main()
