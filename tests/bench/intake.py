"""How many rows a second intake turns into batches, of every kind of list.

    python tests/bench/intake.py [--rows 300000] [--repeats 3] [--long] [--json FILE]

One case after the other, then all of them again, on core 0. `--quick` looks at few rows; `--long` loads a
list of ten million into Redis, too (intake_load.py), which takes minutes and a gigabyte of disk.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

sys.path.insert(0, str(Path(__file__).parents[1]))

import measured
from bench import intake_load
from pinning import MEASURED, pin

from broadcaster.domain.content import Content, compile_content
from broadcaster.intake.prepare import Preparation
from broadcaster.intake.reader import open_list

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Row = tuple[str, str, str, str]
CONSTANT: Final = Content(body="The water is rising")
THREE: Final = Content(body="Hi {{ name }}, {{ city }} is due on {{ due }}")
OTHER_SCRIPT: Final = Content(body="Hi {{ name }} 🌊, {{ city }} is due on {{ due }}")
CHOICE: Final = Content(body='Hi {{ name or "you" }}, {{ city }} is due on {{ due }}')
TEMPLATE: Final = Content(
    content_sid="HX" + "0" * 32, content_variables={"1": "{{ name }}", "2": "{{ city }}", "3": "{{ due }}"}
)
COMMAND: Final = "python tests/bench/intake.py"


@dataclass(slots=True)
class Case:
    """One list and content, and what was measured of it: rows a second, CPU-µs a row."""

    id: str
    what: str
    kind: str
    content: Content
    keep: bool = False
    senders: int = 1
    rates: list[float] = field(default_factory=list)
    costs: list[float] = field(default_factory=list)


def cases() -> list[Case]:
    """Return the two budgets of the design first, then what differs from them."""
    return [
        Case("intake.csv.kept", "CSV, columns kept", "csv", CONSTANT, keep=True),
        Case("intake.csv.template", "CSV, text of three variables", "csv", THREE),
        Case("intake.csv.quoted", "quoted CSV, text of three variables", "quoted", THREE),
        Case("intake.csv.ucs2", "CSV, three variables in UCS-2", "csv", OTHER_SCRIPT),
        Case("intake.csv.logic", "CSV, three variables and an `or`", "csv", CHOICE),
        Case("intake.csv.content", "CSV, Content template of three", "csv", TEMPLATE),
        Case("intake.csv.senders.10", "CSV, three variables, 10 senders", "csv", THREE, senders=10),
        Case("intake.csv.senders.1000", "CSV, three variables, 1,000 senders", "csv", THREE, senders=1000),
        Case("intake.ndjson.constant", "NDJSON, columns kept", "ndjson", CONSTANT, keep=True),
        Case("intake.ndjson.template", "NDJSON, text of three variables", "ndjson", THREE),
        Case("intake.json.constant", "JSON array, columns kept", "json", CONSTANT, keep=True),
        Case("intake.json.template", "JSON array, text of three variables", "json", THREE),
        Case("intake.numbers", "one number a line", "lines", CONSTANT),
    ]


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


def write_csv(path: Path, rows: int) -> Path:
    """Write a CSV without quotes."""
    return write(path, rows, lambda row: ",".join(row) + "\n", "to,name,city,due\n")


def written(folder: Path, rows: int) -> dict[str, Path]:
    """Write the same people in every format."""
    return {
        "csv": write_csv(folder / "l.csv", rows),
        "quoted": write(
            folder / "q.csv", rows, lambda r: '"' + '","'.join(r) + '"\r\n', '"to","name","city","due"\r\n'
        ),
        "lines": write(folder / "lines", rows, lambda row: row[0] + "\n"),
        "ndjson": write(folder / "l.ndjson", rows, lambda row: as_object(row) + "\n"),
        "json": write(
            folder / "l.json",
            rows,
            lambda row: ", " + as_object(row),
            "[" + as_object(("+14155550101", "A", "B", "C")),
            "]\n",
        ),
    }


def measure(case: Case, path: Path) -> None:
    """Read a list to its end once."""
    senders = [(f"+1415555{n:04}", 50.0 if case.senders == 1 else 1.0) for n in range(case.senders)]
    began, cpu = time.perf_counter(), time.process_time()
    reader = open_list(str(path))
    preparation = Preparation(
        reader, renderer=compile_content(case.content), senders=senders, keep_unused_columns=case.keep
    )
    for _ in preparation:
        pass
    reader.digest()
    reader.release()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    rows = preparation.summary.rows
    case.rates.append(rows / seconds)
    case.costs.append(cpu / rows * 1e6)
    print(f"{case.what:38} {rows / seconds:10,.0f} rows/s {cpu / rows * 1e6:7.2f} CPU-µs/row", flush=True)


def found(every: list[Case], options: argparse.Namespace) -> list[measured.Row]:
    """Return two rows for each case: what a clock saw, and what a core did."""
    command = f"{COMMAND} --rows {options.rows} --repeats {options.repeats}"
    rows = []
    for case in every:
        rows.append(measured.Row(case.id, case.what, "rows/s", tuple(case.rates), command))
        name = f"{case.what}, cost"
        rows.append(measured.Row(f"{case.id}.cpu", name, "CPU-µs/row", tuple(case.costs), command))
    return rows


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=300_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="20,000 rows, twice")
    parser.add_argument("--long", action="store_true", help="load ten million rows into Redis, too")
    parser.add_argument("--long-rows", type=int, default=10_000_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.quick:
        options.rows, options.repeats = 20_000, 2
    pin(0, MEASURED)
    every = cases()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lists = written(folder, options.rows)
        for _ in range(options.repeats):
            for case in every:
                measure(case, lists[case.kind])
        rows = found(every, options)
        rows += intake_load.loaded(lists["csv"], options.rows, 1 if options.quick else options.repeats)
        if options.long:
            long = write_csv(folder / "long.csv", options.long_rows)
            rows += intake_load.long_load(long, options.long_rows)
    measured.write(measured.Report("intake", tuple(rows)), options.json)
    print(measured.told(rows))


if __name__ == "__main__":
    main()
