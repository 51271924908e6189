"""Chaos over many seeds: each line is one broadcast, sent while everything failed, and what became of it.

    python tests/bench/chaos.py --recipients 20000 --workers 3 --seeds 50

Exits 1 if any seed sent to somebody twice, lost somebody, miscounted, crashed or did not end by
itself. By itself but for one thing: an answer that isn't Twilio's stops the account until somebody
resumes it ("resumed"). The logs of a seed that failed stay in `--folder`, others' are removed;
`--seed N` runs one again.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from havoc import Report, wreak
from trouble import Plan, Trouble

from broadcaster.domain.record import State

SIGNALS = {Trouble.KILL, Trouble.TERMINATE, Trouble.STOP, Trouble.KILL_REDIS}
HEAD = (
    "seed", "kill -9", "term", "stop", "redis -9", "network", "faults", "accepted", "in doubt", "dead",
    "twice", "lost", "wrong", "alarms", "crashed", "resumed", "seconds", "",
)  # fmt: skip


def cells(report: Report) -> list[str]:
    """Return one seed's line of the table."""
    troubles, truth = report.troubles, report.truth
    network = sum(n for name, n in troubles.items() if name not in SIGNALS)
    known = [""] * 6
    if truth is not None:
        known = [
            str(truth.accepted),
            str(truth.states.get(State.IN_DOUBT, 0)),
            str(truth.states.get(State.DEAD, 0)),
            str(len(truth.twice)),
            str(len(truth.lost)),
            str(len(truth.wrong)),
        ]
    return [
        str(report.plan.seed),
        *(
            str(troubles[t.value])
            for t in (Trouble.KILL, Trouble.TERMINATE, Trouble.STOP, Trouble.KILL_REDIS)
        ),
        str(network),
        str(sum(report.faults.values())),
        *known,
        str(report.caused),
        str(report.crashed),
        str(report.resumed),
        f"{report.seconds:.1f}",
        "ok" if report.kept else "FAILED",
    ]


def line(row: list[str]) -> str:
    """Return a row under its heads."""
    return "  ".join(cell.rjust(max(7, len(head))) for cell, head in zip(row, HEAD, strict=True))


def why(report: Report) -> str:
    """Return what was wrong, the first few of each kind."""
    truth = report.truth
    found = [report.error] if report.error else []
    if truth is not None:
        found += [*truth.twice[:5], *truth.lost[:5], *truth.wrong[:5]]
    return "\n".join(f"        {text}" for text in found)


def run(plan: Plan, folder: Path) -> Report:
    """Run one seed; what it raises is a failure like any other."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return asyncio.run(wreak(folder, plan))
    except Exception:  # noqa: BLE001 - the other seeds go on
        return Report(plan, error=traceback.format_exc())


def main() -> int:
    """Run the seeds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--recipients", type=int, default=20_000)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.add_argument("--seed", type=int, help="only this one, and keep its logs")
    parser.add_argument("--troubled-seconds", type=float, default=20.0)
    parser.add_argument("--every-seconds", type=float, default=0.5, help="between two troubles, on average")
    parser.add_argument("--longest-seconds", type=float, default=1.5, help="of one network trouble")
    parser.add_argument("--hangs", type=float, default=0.0, help="share of tries without any answer")
    parser.add_argument("--folder", type=Path, help="for the logs (default: a new one under /tmp)")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="chaos-"))
    seeds = (
        [options.seed] if options.seed is not None else range(options.first, options.first + options.seeds)
    )
    print(line(list(HEAD)))
    failed = 0
    for seed in seeds:
        plan = Plan(
            seed,
            options.recipients,
            workers=options.workers,
            troubled_seconds=options.troubled_seconds,
            every_seconds=options.every_seconds,
            longest_seconds=options.longest_seconds,
            patience_seconds=options.longest_seconds + 3,
            end_seconds=180,
            hangs=options.hangs,
        )
        report = run(plan, folder / f"seed-{seed}")
        print(line(cells(report)), flush=True)
        if not report.kept:
            failed += 1
            (folder / f"seed-{seed}" / "why.txt").write_text(f"{why(report)}\n{report}\n")
            print(why(report), flush=True)
        elif options.seed is None:
            shutil.rmtree(folder / f"seed-{seed}")
    print(
        f"{len(seeds) - failed} of {len(seeds)} seeds kept every promise"
        + (f"; logs: {folder}" if failed else "")
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
