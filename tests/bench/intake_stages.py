"""Where intake's time goes: CPU-µs a row of each stage of a CSV whose text has three variables.

    python tests/bench/intake_stages.py [--rows 200000] [--repeats 3] [--json FILE]

Each stage runs by itself over the same list, on core 0; what is left of the whole is the handing on between
them. What Redis and the writing cost besides is in `intake.py` (`intake.loaded`).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import measured
from bench.intake import THREE, write_csv
from pinning import MEASURED, pin

from broadcaster.domain.addresses import Channel
from broadcaster.domain.content import compile_content
from broadcaster.intake.addressing import Seen, uniform_channel
from broadcaster.intake.prepare import Preparation
from broadcaster.intake.reader import open_list
from broadcaster.intake.rendering import RowRenderer
from broadcaster.intake.sources import open_source
from broadcaster.intake.summary import LaneTotals, Summary
from broadcaster.store.batches import first_records, pack_batch
from broadcaster.store.who import grouped

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.intake.batches import BatchRows
    from broadcaster.intake.table import Chunk

SENDER = "+14155550100"
WRITTEN_TOGETHER = 8


def read(path: str) -> None:
    """Read, decode and hash all bytes."""
    source, block = open_source(path), bytearray(64 * 1024)
    while source.readinto(block):
        pass
    source.release()


def parse(path: str) -> list[Chunk]:
    """Make columns of the list."""
    return list(open_list(path))


def normalise(chunks: list[Chunk]) -> None:
    """Look at all numbers."""
    for chunk in chunks:
        uniform_channel(chunk.values[chunk.to])


def deduplicate(chunks: list[Chunk]) -> None:
    """Look whether numbers were there before, and remember them."""
    seen = Seen()
    for chunk in chunks:
        addresses = chunk.values[chunk.to]
        if not seen.take_new(addresses, Channel.SMS):
            for address in addresses:
                seen.take(address)


def render(chunks: list[Chunk]) -> None:
    """Render all texts and count their segments."""
    renderer = RowRenderer(compile_content(THREE), Summary(lanes={SENDER: LaneTotals()}), [SENDER])
    for chunk in chunks:
        renderer.render(chunk, range(len(chunk)), chunk.values[chunk.to], [0] * len(chunk))


def whole(path: str) -> list[BatchRows]:
    """Do all of it, up to batches."""
    return list(Preparation(open_list(path), renderer=compile_content(THREE), senders=[(SENDER, 50.0)]))


def pack(batches: list[BatchRows]) -> None:
    """Pack batches and make their first records."""
    for rows in batches:
        pack_batch(rows.recipients)
        first_records(rows.states, rows.codes, rows.segments, 1)


def index(batches: list[BatchRows]) -> None:
    """Make the entries of the person index."""
    for at in range(0, len(batches), WRITTEN_TOGETHER):
        grouped(1, [(at + i, rows.to) for i, rows in enumerate(batches[at : at + WRITTEN_TOGETHER])])


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="20,000 rows, twice")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.quick:
        options.rows, options.repeats = 20_000, 2
    pin(0, MEASURED)
    costs: dict[str, list[float]] = {}

    def timed(stage: str, work: Callable[[Any], Any], of: object) -> Any:
        began = time.process_time()
        result = work(of)
        costs.setdefault(stage, []).append((time.process_time() - began) / options.rows * 1e6)
        return result

    with tempfile.TemporaryDirectory() as folder:
        path = str(write_csv(Path(folder) / "list.csv", options.rows))
        for _ in range(options.repeats):
            timed("read", read, path)
            chunks = timed("read and parse", parse, path)
            timed("normalise", normalise, chunks)
            timed("de-duplicate", deduplicate, chunks)
            timed("render and count", render, chunks)
            batches = timed("all up to batches", whole, path)
            timed("pack", pack, batches)
            timed("person index", index, batches)
    command = f"python tests/bench/intake_stages.py --rows {options.rows} --repeats {options.repeats}"
    rows = [
        measured.Row(f"intake.stage.{stage.replace(' ', '_')}", stage, "CPU-µs/row", tuple(found), command)
        for stage, found in costs.items()
    ]
    print(measured.told(rows))
    measured.write(measured.Report("intake_stages", tuple(rows)), options.json)


if __name__ == "__main__":
    main()
