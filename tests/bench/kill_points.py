"""`kill -9` of the worker and of Redis, each at many points, callbacks off: nobody lost, nobody twice.

    python tests/bench/kill_points.py --points 100 --seed 1

The points are drawn from `tests/kill_kinds.py` by the seed, and struck by what passes over the wire or by
what the simulator holds. Exits 1 if anybody was sent to twice, or never without a dead letter that says why;
if states don't add up, a doubt stays open, a worker crashed, or a duplicate was reported that there wasn't.
The logs of a session that failed stay in `--folder`.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from kill_kinds import KINDS, Point, Victim, points
from kill_session import Session
from killing import kill_at

HEAD = (
    "victim", "session", "workers", "points", "struck", "recipients", "accepted", "twice", "lost", "wrong",
    "alarms", "crashed", "seconds", "",
)  # fmt: skip


def line(cells: list[str]) -> str:
    """Return a row under its heads."""
    return "  ".join(cell.rjust(max(7, len(head))) for cell, head in zip(cells, HEAD, strict=True))


def run(folder: Path, some: list[Point], *, workers: int, seed: int) -> Session:
    """Run one session; what it raises is a failure like any other."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return asyncio.run(kill_at(folder, some, workers=workers, seed=seed))
    except Exception:  # noqa: BLE001 - the other sessions go on
        return Session(some, error=traceback.format_exc())


def show(session: Session, victim: Victim, number: int, workers: int) -> None:
    """Print a session's line, and what was wrong."""
    cells = [
        victim.value, str(number), str(workers), str(len(session.points)), str(len(session.struck)),
        str(session.recipients), str(session.accepted), str(len(session.twice)), str(len(session.lost)),
        str(len(session.wrong)), str(session.alarms), str(session.crashed), f"{session.seconds:.1f}",
        "ok" if session.kept else "FAILED",
    ]  # fmt: skip
    print(line(cells), flush=True)
    for text in [session.error, *session.twice[:5], *session.lost[:5], *session.wrong[:5]]:
        if text:
            print(f"        {text}", flush=True)


def main() -> int:
    """Run all sessions and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--points", type=int, default=100, help="of each victim")
    parser.add_argument("--session", type=int, default=20, help="points on one deployment")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--victim", choices=[v.value for v in Victim], help="only this one")
    parser.add_argument("--only", help="only kinds with this in their name")
    parser.add_argument("--folder", type=Path, help="for the logs (default: a new one under /tmp)")
    options = parser.parse_args()
    folder = options.folder or Path(tempfile.mkdtemp(prefix="kill-points-"))
    print(f"seed {options.seed}\n{line(list(HEAD))}")
    began, failed = time.monotonic(), 0
    struck, timed = Counter[tuple[str, Victim]](), Counter[tuple[str, Victim]]()
    for victim in [Victim(options.victim)] if options.victim else list(Victim):
        drawn = points(victim, options.points, options.seed, 2)
        if options.only:
            drawn = [p for p in drawn if options.only in p.name]
        for number, start in enumerate(range(0, len(drawn), options.session)):
            some, workers = drawn[start : start + options.session], 2
            where = folder / f"{victim.value}-{number}"
            session = run(where, some, workers=workers, seed=options.seed + number)
            show(session, victim, number, workers)
            struck.update((p.name, p.victim) for p in session.struck)
            timed.update((p.name, p.victim) for p in session.timed)
            if session.kept:
                shutil.rmtree(where)
            else:
                failed += 1
    print("\npoints struck in their moment (and those struck at some other, because it did not come)")
    for name in KINDS:
        cells = [f"{v.value} {struck[name, v]:2d} ({timed[name, v]})" for v in Victim]
        print(f"  {name:36s} {'   '.join(cells)}")
    print(
        f"\n{sum(struck.values())} struck, {sum(timed.values())} not in their moment, "
        f"{failed} sessions failed, {time.monotonic() - began:.0f} s"
        + (f"; logs: {folder}" if failed else "")
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
