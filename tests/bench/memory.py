"""What Redis holds of a recipient, of a single message, of ten million.

    python tests/bench/memory.py [--recipients 100000] [--long] [--bundled] [--json FILE]

Bytes are differences of INFO's used_memory, so they hold what the allocator rounds up, the tables of keys and
the index by person. `--long` loads ten million recipients instead of a million (minutes, a gigabyte of disk).
`--bundled` measures the server that is installed with us, not the one on PATH.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import string
import sys
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

sys.path.insert(0, str(Path(__file__).parents[1] / "redis"))
sys.path.insert(0, str(Path(__file__).parents[1]))

import measured
from bench import intake_load
from bench.intake import write_csv
from holding import an_hour_later, completed, loaded, random_number, single_messages, used_bytes, warm

from broadcaster.store.connection import open_store
from broadcaster.store.embedded import EmbeddedServer
from broadcaster.store.server_binary import ServerBinary, bundled_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from broadcaster.store.connection import Store

COMMAND: Final = "python tests/bench/memory.py"
_LETTERS: Final = string.ascii_letters + string.digits
_NAMES: Final = ("Anna", "Björn", "Carla", "Dimitri", "Eve", "Fatima", "Giovanni", "Hannah", "Ivan", "José")
LONG: Final = 120
_PLOT: Final = "Redis memory per recipient"


def one_text(_: random.Random) -> tuple[str, ...]:
    """Nothing varies."""
    return ()


def names(chance: random.Random) -> tuple[str, ...]:
    """What lists usually hold: a name, a place, a day."""
    return chance.choice(_NAMES), f"City {chance.randrange(1000)}", f"{chance.randrange(1, 29)} May"


def forty_random(chance: random.Random) -> tuple[str, ...]:
    """The worst of 40 bytes: a link's random letters, which hardly pack."""
    return ("".join(chance.choices(_LETTERS, k=40)),)


def long_random(chance: random.Random) -> tuple[str, ...]:
    """More than 40 bytes of such letters."""
    return ("".join(chance.choices(_LETTERS, k=LONG)),)


def packed_beyond(count: int) -> float:
    """Return for how many bytes a recipient the letters beyond 40 of `long_random` are, packed."""
    text = "".join(values[1] for values in rows_of(count, long_random))
    return len(zlib.compress(text.encode(), 9)) / count * (LONG - 40) / LONG


def rows_of(count: int, values: Callable[[random.Random], tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    """Yield random numbers with values."""
    chance = random.Random(count)
    return ((random_number(chance), *values(chance)) for _ in range(count))


async def per_recipient(
    url: str, count: int, values: Callable[[random.Random], tuple[str, ...]], rate: float = 50.0
) -> float:
    """Load a list of `count` into an empty server; return bytes a recipient. A batch is 30 s of `rate`."""
    store = await _empty(url)
    try:
        before = await used_bytes(store)
        await loaded(store, rows_of(count, values), rate)
        return (await used_bytes(store) - before) / count
    finally:
        await store.close()


async def after_completion(url: str, count: int, *, dead: float) -> float:
    """As `per_recipient`, when all are delivered, or dead letters."""
    store = await _empty(url)
    try:
        before = await used_bytes(store)
        broadcast = await loaded(store, rows_of(count, names), 50.0)
        await completed(store, broadcast, dead)
        return (await used_bytes(store) - before) / count
    finally:
        await store.close()


async def per_single(url: str, count: int, together: int, *, kept: bool) -> float:
    """Post `count` single messages, so many at a time; return bytes each. `kept`: with an Idempotency-Key."""
    store = await _empty(url)
    try:
        await single_messages(store, 100, together, kept=kept, first=count)  # the stream, the scripts
        before = await used_bytes(store)
        await single_messages(store, count, together, kept=kept)
        await an_hour_later(store)
        return (await used_bytes(store) - before) / count
    finally:
        await store.close()


async def _empty(url: str) -> Store:
    store = await open_store(url, "bc:")
    await store.redis.flushall()
    await store.close()
    return await open_store(url, "bc:")


async def measure(url: str, options: argparse.Namespace) -> tuple[list[measured.Row], list[measured.Series]]:
    """Measure all but the ten million."""
    store = await _empty(url)
    await warm(store)
    await store.close()
    many, singles = options.recipients, max(200, options.recipients // 20)
    found: list[tuple[str, str, float]] = [
        ("memory.recipient", "a recipient, one text for all", await per_recipient(url, many, one_text)),
        ("memory.recipient.names", "a recipient with name, city, day", await per_recipient(url, many, names)),
        (
            "memory.recipient.variables",
            "a recipient with 40 random letters",
            await per_recipient(url, many, forty_random),
        ),
        (
            "memory.recipient.small_batches",
            "the same in batches of 100",
            await per_recipient(url, many, forty_random, 100 / 30 + 0.01),
        ),
        (
            "memory.recipient.long",
            f"a recipient with {LONG} random letters, without those beyond 40 as zlib packs them",
            await per_recipient(url, many, long_random) - packed_beyond(many),
        ),
        (
            "memory.recipient.completed",
            "a recipient with name, city, day, when delivered",
            await after_completion(url, many // 4, dead=0.0),
        ),
        (
            "memory.recipient.dead",
            "the same, one in ten a dead letter",
            await after_completion(url, many // 4, dead=0.1),
        ),
        ("memory.single", "a single message, alone", await per_single(url, singles, 1, kept=False)),
        ("memory.single.together", "… among 40", await per_single(url, singles, 40, kept=False)),
        (
            "memory.single.kept",
            "… alone, with an Idempotency-Key, an hour later",
            await per_single(url, singles, 1, kept=True),
        ),
    ]
    rows = [measured.Row(name, what, "B", (size,), COMMAND) for name, what, size in found]
    for row in rows:
        print(measured.told([row]), flush=True)
    counts = [count for count in (1_000, 10_000, 100_000) if count <= many]
    by_count = [await per_recipient(url, count, names) for count in counts]
    sizes = (16, 32, 64, 100, 200, 300, 500)
    by_size = [await per_recipient(url, many // 4, names, size / 30 + 0.01) for size in sizes]
    series = [
        measured.Series(
            _PLOT, "name, city, day", "recipients", "bytes", tuple(map(float, counts)), tuple(by_count)
        ),
        measured.Series(
            f"{_PLOT}, by batch",
            "name, city, day",
            "recipients in a batch",
            "bytes",
            tuple(map(float, sizes)),
            tuple(by_size),
        ),
    ]
    return rows, series


def ten_million(rows: int) -> measured.Row:
    """Load as many as that, or a tenth of them; return megabytes for ten million."""
    with tempfile.TemporaryDirectory() as folder:
        told = intake_load.load(write_csv(Path(folder) / "list.csv", rows))
    note = f"{rows:,} with three variables were loaded"
    return measured.Row(
        "memory.ten_million",
        "ten million recipients",
        "MB",
        (told["redis_bytes"] / rows * 10,),
        f"{COMMAND} --long",
        note,
    )


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--recipients", type=int, default=100_000)
    parser.add_argument(
        "--quick", action="store_true", help="4,000 recipients, and ten million told by 50,000"
    )
    parser.add_argument("--long", action="store_true", help="load ten million")
    parser.add_argument("--bundled", action="store_true")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    whole = 10_000_000 if options.long else 1_000_000
    if options.quick:
        options.recipients, whole = 4_000, 50_000
    bundled = bundled_server() if options.bundled else None
    binary = ServerBinary.probe(bundled) if bundled else None
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer(Path(folder), binary=binary) as server:
        rows, series = asyncio.run(measure(server.url, options))
        facts = {"server": str(server.binary)}
    rows.append(ten_million(whole))
    print(measured.told(rows[-1:]))
    measured.write(measured.Report("memory", tuple(rows), tuple(series), facts), options.json)


if __name__ == "__main__":
    main()
