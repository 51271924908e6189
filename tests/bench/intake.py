"""How many rows a second intake reads: `python tests/bench/intake.py [rows]`; one line per case."""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from broadcaster.domain.content import Content, compile_content
from broadcaster.intake.prepare import Preparation
from broadcaster.intake.reader import open_list


def write_csv(path: Path, rows: int) -> None:
    """Write a list with the columns to, name, city and due."""
    chance = random.Random(1)
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("to,name,city,due\n")
        for start in range(0, rows, 10_000):
            file.write(
                "".join(
                    f"+1{chance.randrange(2 * 10**9, 10**10)},Name{n},City {n % 977},{n % 28 + 1} May\n"
                    for n in range(start, min(start + 10_000, rows))
                )
            )


def measure(path: Path, what: str, body: str, *, keep: bool = False) -> None:
    """Read the list once and print the rate."""
    began, cpu = time.perf_counter(), time.process_time()
    reader = open_list(str(path))
    preparation = Preparation(
        reader,
        renderer=compile_content(Content(body=body)),
        senders=[("+14155550100", 50.0)],
        keep_unused_columns=keep,
    )
    batches = sum(1 for _ in preparation)
    reader.digest()
    reader.release()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    rows = preparation.summary.rows
    sys.stdout.write(
        f"{what:40} {rows / seconds:12,.0f} rows/s {rows / cpu:12,.0f} rows/CPU-s {batches:8,} batches\n"
    )


def main() -> None:
    """Measure the two budgets of the design."""
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", type=int, nargs="?", default=1_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "list.csv"
        write_csv(path, rows)
        measure(path, "columns kept", "The water is rising", keep=True)
        measure(path, "three variables rendered and counted", "Hi {{ name }}, {{ city }} is due on {{ due }}")


if __name__ == "__main__":
    main()
