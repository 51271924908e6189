"""How many rows a second intake reads: `python tests/bench/intake.py [rows]`; one line per case."""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from broadcaster.domain.content import Content, compile_content
from broadcaster.intake.prepare import Preparation
from broadcaster.intake.reader import open_list

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

THREE = "Hi {{ name }}, {{ city }} is due on {{ due }}"
Row = tuple[str, str, str, str]


def generated(rows: int) -> Iterator[list[Row]]:
    """Yield rows of to, name, city and due, ten thousand at a time; the same ones every time."""
    chance = random.Random(1)
    for start in range(0, rows, 10_000):
        yield [
            (f"+1{chance.randrange(2 * 10**9, 10**10)}", f"Name{n}", f"City {n % 977}", f"{n % 28 + 1} May")
            for n in range(start, min(start + 10_000, rows))
        ]


def write(path: Path, rows: int, line: Callable[[Row], str], head: str = "", tail: str = "") -> Path:
    """Write the generated rows, each as `line` says."""
    with path.open("w", encoding="utf-8") as file:
        file.write(head)
        for some in generated(rows):
            file.write("".join(map(line, some)))
        file.write(tail)
    return path


def as_object(row: Row) -> str:
    """Return a row as the API has it."""
    return json.dumps({"to": row[0], "variables": {"name": row[1], "city": row[2], "due": row[3]}})


def measure(
    what: str,
    path: Path,
    body: str,
    *,
    keep: bool = False,
    senders: Sequence[tuple[str, float]] = (("+14155550100", 50.0),),
) -> None:
    """Read the list once and print the rate."""
    began, cpu = time.perf_counter(), time.process_time()
    reader = open_list(str(path))
    preparation = Preparation(
        reader,
        renderer=compile_content(Content(body=body)),
        senders=senders,
        keep_unused_columns=keep,
    )
    batches = sum(1 for _ in preparation)
    reader.digest()
    reader.release()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    rows = preparation.summary.rows
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    sys.stdout.write(
        f"{what:38} {rows / seconds:10,.0f} rows/s {rows / cpu:10,.0f} rows/CPU-s"
        f" {batches:8,} batches {peak:5} MB peak\n"
    )


def main() -> None:
    """Measure the two budgets of the design first, then what differs from them."""
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", type=int, nargs="?", default=1_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain = write(folder / "l.csv", rows, lambda row: ",".join(row) + "\n", "to,name,city,due\n")
        measure("CSV, columns kept", plain, "The water is rising", keep=True)
        measure("CSV, three variables counted", plain, THREE)
        for count in (10, 1000):
            senders = [(f"+1415555{n:04}", 1.0) for n in range(count)]
            measure(f"… {count:,} senders", plain, THREE, senders=senders)
        lines = write(folder / "lines", rows, lambda row: row[0] + "\n")
        measure("numbers, a constant text", lines, "The water is rising")
        ndjson = write(folder / "l.ndjson", rows, lambda row: as_object(row) + "\n")
        measure("NDJSON, three variables counted", ndjson, THREE)
        array = write(folder / "l.json", rows, lambda row: "," + as_object(row), "[" + '"+14155550101"', "]")
        measure("JSON array, a constant text", array, "The water is rising")


if __name__ == "__main__":
    main()
