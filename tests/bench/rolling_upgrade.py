"""A rolling upgrade in the middle of a campaign: workers replaced one by one, the API last.

    python tests/bench/rolling_upgrade.py                      from the previous issue's last commit
    python tests/bench/rolling_upgrade.py --from 0a465f5
    python tests/bench/rolling_upgrade.py --same --how drain,term,drain
    python tests/bench/rolling_upgrade.py --how term,kill,term

The list is queued by the old version's command, single messages go to its API all the while, and after each
replacement old and new workers send side by side. Prints what was seen after each step, and exits 1 if
anybody was lost or got it twice, or doubt was left. With an older version also: what only the new data
format can hold is refused while an old worker lives and taken after the last has gone, and then no old worker
starts.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

sys.path[:0] = [
    str(Path(__file__).resolve().parent.parent),
    str(Path(__file__).resolve().parent.parent / "redis"),
]
from rolling import ROOT, Outcome, roll, unpack  # noqa: E402 - the path first

PREVIOUS: Final = "000d17c"


def show(found: Outcome, seconds: float) -> None:
    """Print the table."""
    for step in found.steps:
        states = " ".join(f"{name} {count}" for name, count in sorted(step.counts.items()))
        print(f"  {step.at:6.1f} s  {step.what}: {states}")
        print(f"            {step.workers}")
    truth = found.truth
    print(
        f"  {found.total} recipients, {seconds:.0f} s: {truth.accepted} accepted, {len(truth.twice)} twice, "
        f"{len(truth.lost)} lost, {len(truth.wrong)} wrong; in doubt at most {found.most_in_doubt} at once"
    )
    print(
        f"  {found.singles_asked} single messages over the API: {found.singles_accepted} accepted, "
        f"{found.singles_twice} twice; exit codes {found.exits}"
    )
    for text in [*truth.twice[:5], *truth.lost[:5], *truth.wrong[:5]]:
        print(f"    {text}")
    if found.refused:
        print(f"  while old workers live: {found.refused}")
    if found.raised:
        print(f"  afterwards: {found.raised}")


def main() -> int:
    """Roll, and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--from", dest="revision", default=PREVIOUS, help="the old version")
    parser.add_argument("--same", action="store_true", help="old and new are this version")
    parser.add_argument("--how", default="term,term,term", help="term, kill or drain, for each worker")
    parser.add_argument("--recipients", type=int, default=20_000)
    parser.add_argument("--rate", type=float, default=400.0, help="messages a second")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="rolling-"))
    try:
        old = ROOT if options.same else unpack(options.revision, folder / "old")
    except subprocess.CalledProcessError as error:
        print(f"no revision {options.revision}: {error.stderr.decode().strip()}")
        return 2
    name = "this version" if options.same else options.revision
    print(f"from {name} to this version, by {options.how}; logs: {folder}", flush=True)
    began = time.monotonic()
    how = tuple(options.how.split(","))
    (folder / "run").mkdir()
    found = asyncio.run(roll(folder / "run", old, total=options.recipients, rate=options.rate, how=how))
    show(found, time.monotonic() - began)
    older = not options.same
    kept = found.kept and (not older or bool(found.refused and "2" in found.raised))
    kept = kept and ("kill" in how or found.most_in_doubt == 0)
    print("kept" if kept else "BROKEN")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
