"""Does a message cost the same whatever grows? Recipients, lanes, opt-outs, broadcasts on one lane.

    python tests/bench/growth.py --json growth.json
    python tests/bench/growth.py --sizes 10000,1000000 --only recipients,lanes

One report of all. Each story is a program of its own beside this one (growth_recipients.py and so on), which
says how it measures. The memory of a worker over an hour is told by memory_hour.py.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from measured import Report, read, told, write

STORIES: Final = ("recipients", "lanes", "opt_outs", "broadcasts")


def arguments(name: str, options: argparse.Namespace) -> list[str]:
    """Return what a story is to be told."""
    if options.quick:
        return ["--quick"]
    if name == "recipients":
        turns = ["--turns", str(options.turns)]
        return ["--sizes", options.sizes, "--part", str(options.part), *turns] + ["--long"] * options.long
    given = ["--repeats", str(options.repeats)]
    if name == "lanes":
        given += ["--lanes", options.lanes, "--seconds", str(options.seconds)]
    elif name == "opt_outs":
        given += ["--opt-outs", str(options.opt_outs), "--messages", str(options.part)]
    else:
        given += ["--broadcasts", str(options.broadcasts), "--messages", str(3 * options.part)]
    return given


def story(name: str, options: argparse.Namespace, folder: Path) -> Report:
    """Measure one. Raises `CalledProcessError`."""
    program, report = Path(__file__).with_name(f"growth_{name}.py"), folder / f"{name}.json"
    command = [sys.executable, str(program), *arguments(name, options), "--json", str(report)]
    print(name, flush=True)
    subprocess.run(command, check=True)
    return read(report)


def main() -> None:
    """Measure all that were chosen, one after the other, and put their reports together."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(STORIES), help="of " + ", ".join(STORIES))
    parser.add_argument("--sizes", default="10000,100000,1000000", help="recipients; 10000000 takes minutes")
    parser.add_argument("--lanes", default="1000,10000")
    parser.add_argument("--opt-outs", type=int, default=1_000_000)
    parser.add_argument("--broadcasts", type=int, default=100)
    parser.add_argument("--part", type=int, default=100_000, help="messages that are measured of each")
    parser.add_argument("--seconds", type=float, default=8.0, help="measured with lanes, after a warm-up")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--turns", type=int, default=6, help="of each number of recipients")
    parser.add_argument("--long", action="store_true", help="send most of the largest broadcast")
    parser.add_argument("--quick", action="store_true", help="tiny: does it run?")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        reports = [story(name, options, Path(folder)) for name in options.only.split(",")]
    found = Report(
        "growth",
        tuple(row for report in reports for row in report.rows),
        tuple(series for report in reports for series in report.series),
        {"cores": "the worker on core 0; Redis, the sink and the loader on the other"},
    )
    write(found, options.json)
    print(told(found.rows))


if __name__ == "__main__":
    main()
