"""Does a message cost the same whatever grows? Recipients, lanes, opt-outs, broadcasts on one lane.

    python tests/bench/growth.py --json growth.json
    python tests/bench/growth.py --sizes 10000,1000000 --only recipients,lanes

One report of all. Each story is a program of its own beside this one (growth_recipients.py and so on), which
says how it measures. The memory of a worker over an hour is told by memory_hour.py.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

sys.path.insert(0, str(Path(__file__).parents[1]))

import growth_broadcasts
import growth_lanes
import growth_opt_outs
import growth_recipients
from measured import Report, told, write
from one_worker import bed

if TYPE_CHECKING:
    from one_worker import Bed

STORIES: Final = ("recipients", "lanes", "opt_outs", "broadcasts")


def numbers(text: str) -> list[int]:
    """Read `1,2,3`."""
    return [int(n) for n in text.split(",")]


async def story(place: Bed, name: str, options: argparse.Namespace) -> Report:
    """Measure one."""
    repeats = options.repeats
    if name == "recipients":
        sizes = numbers(options.sizes)
        return await growth_recipients.measure(place, sizes, options.part, repeats, whole=options.long)
    if name == "lanes":
        return await growth_lanes.measure(place, numbers(options.lanes), options.seconds, repeats)
    if name == "opt_outs":
        return await growth_opt_outs.measure(place, options.opt_outs, options.part, repeats)
    return await growth_broadcasts.measure(place, options.broadcasts, 3 * options.part, repeats)


async def run(options: argparse.Namespace) -> Report:
    """Measure all that were chosen, one after the other."""
    reports = []
    async with bed() as place:
        for name in options.only.split(","):
            print(name, flush=True)
            reports.append(await story(place, name, options))
    return Report(
        "growth",
        tuple(row for report in reports for row in report.rows),
        tuple(series for report in reports for series in report.series),
        {"worker": "one, on core 0; Redis, the sink and the loader on the other"},
    )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(STORIES), help="of " + ", ".join(STORIES))
    parser.add_argument("--sizes", default="10000,100000,1000000", help="recipients; 10000000 takes minutes")
    parser.add_argument("--lanes", default="1000,10000")
    parser.add_argument("--opt-outs", type=int, default=1_000_000)
    parser.add_argument("--broadcasts", type=int, default=100)
    parser.add_argument("--part", type=int, default=100_000, help="messages that are measured of each")
    parser.add_argument("--seconds", type=float, default=8.0, help="measured with lanes, after a warm-up")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--long", action="store_true", help="send all of the largest broadcast")
    parser.add_argument("--quick", action="store_true", help="tiny: does it run?")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.quick:
        options.sizes, options.lanes, options.part = "1000,4000", "100", 1000
        options.opt_outs, options.broadcasts, options.seconds, options.repeats = 5000, 10, 0.5, 1
    found = asyncio.run(run(options))
    write(found, options.json)
    print(told(found.rows))


if __name__ == "__main__":
    main()
