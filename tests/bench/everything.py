"""`make bench`: ours and the peers in one run, every budget judged; about an hour.

    python tests/bench/everything.py [--quick | --long] [--only send_path,peers] [--out build/bench]

Runs the benches of `registry.toml` one after the other, each on pinned cores with warm-up and repeats, and
writes into the folder `table.md`, `plots/`, `reports/` (JSON) and `logs/`. What is missing here is a row that
says so. `--page` also writes deploy/performance.md. Exits 0 whatever was found; with `--check` 1 if a budget
is missed.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import Final

sys.path.insert(0, str(Path(__file__).parents[1]))

from benching.machine import machine
from benching.page import in_short, plots, publish, text, verdicts
from benching.peers import CACHE
from benching.registry import Bench, missing_in_words, registry
from benching.run_record import Folder, Run
from benching.steps import in_words, now, step, without

STOPPED: Final = "stopped before it was done"


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", dest="size", action="store_const", const="quick", help="does it work?")
    size.add_argument("--long", dest="size", action="store_const", const="long", help="ten million rows too")
    parser.set_defaults(size="full")
    parser.add_argument("--only", help="names from the registry, with commas")
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="the folder for all of it")
    parser.add_argument("--keep", action="store_true", help="keep what the folder has of the other benches")
    parser.add_argument("--measure-nothing", action="store_true", help="table and plots anew")
    parser.add_argument("--cache", type=Path, help="the folder that the peers are installed into")
    parser.add_argument("--page", action="store_true", help="write deploy/performance.md too")
    parser.add_argument("--check", action="store_true", help="exit 1 if a budget is missed")
    parser.add_argument("--registry", type=Path, help="another list of benches")
    chosen = parser.parse_args()
    if chosen.cache:
        os.environ[CACHE] = str(chosen.cache.absolute())
    chosen.benches = registry(chosen.registry) if chosen.registry else registry()
    names = [bench.name for bench in chosen.benches]
    chosen.only = chosen.only.split(",") if chosen.only else names
    if unknown := set(chosen.only) - set(names):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    return chosen


def say_what_is_missing(benches: list[Bench]) -> None:
    """Say before anything runs what this machine hasn't, and which benches need it."""
    for bench in benches:
        if missing := bench.missing():
            print(f"{bench.name} is not run: {missing_in_words(missing)}")


def measured(chosen: argparse.Namespace, folder: Folder) -> Run:
    """Run the benches that were asked for; after Ctrl-C what was measured until then is kept."""
    benches: list[Bench] = [bench for bench in chosen.benches if bench.name in chosen.only]
    minutes = [bench.expected_minutes(chosen.size) for bench in benches]
    print(f"{len(benches)} benches, about {in_words(sum(minutes))}; into {folder.path}/")
    say_what_is_missing(benches)
    kept = {one.name: one for one in old.steps} if chosen.keep and (old := folder.run()) else {}
    run = Run(size=chosen.size, began=now(), machine=machine())
    print("\n".join(f"  {name}: {value}" for name, value in run.machine.items()))
    print("  Whatever else uses a core meanwhile makes all figures worse, and the spread wider.", flush=True)
    steps = {
        bench.name: without(bench, STOPPED)
        if bench in benches
        else kept.get(bench.name) or without(bench, "not asked for")
        for bench in chosen.benches
    }
    for bench in chosen.benches:
        if bench.name not in kept:
            folder.forget(bench.name)
    try:
        for number, bench in enumerate(benches):
            left = in_words(sum(minutes[number:]))
            print(f"[{number + 1}/{len(benches)}] {bench.name}: {bench.what}; {left} left", flush=True)
            steps[bench.name] = done = step(bench, chosen.size, folder)
            print(f"    {done.why_not or 'done'} ({in_words(done.seconds / 60)})", flush=True)
            folder.write(Run(run.size, run.began, run.machine, tuple(steps.values())))
    except KeyboardInterrupt:
        print("stopped: the table has what was measured until now", flush=True)
    return Run(run.size, run.began, run.machine, tuple(steps.values()))


def main() -> int:
    """Measure, write everything down, and say what came out."""
    chosen = options()
    for number in (signal.SIGINT, signal.SIGTERM):  # also where a shell made us ignore the first
        signal.signal(number, signal.default_int_handler)
    folder = Folder(chosen.out)
    run = folder.run() if chosen.measure_nothing else measured(chosen, folder)
    if run is None:
        print(f"{chosen.out} has no run", file=sys.stderr)
        return 2
    folder.write(run)
    files, why_no_plots = plots(folder, run)
    if why_no_plots:
        print(why_no_plots)
    pictures = [f"plots/{file.name}" for file in files]
    (folder.path / "table.md").write_text(text(folder, run, pictures), encoding="utf-8")
    if chosen.page and not any(each.why_not == STOPPED for each in run.steps):
        publish(folder, run, files)
    judgements = verdicts(folder, run)
    for verdict in judgements:
        word, _, why = verdict.word.replace("*", "").partition(": ")
        print(f"{word:15} {verdict.budget.what}: {verdict.budget.sentence}{why and f' ({why})'}")
    print(f"budgets: {in_short(judgements)}; {folder.path}/table.md")
    missed = any(verdict.kept is False and not verdict.budget.guide for verdict in judgements)
    return int(missed and chosen.check)


if __name__ == "__main__":
    sys.exit(main())
