"""Redis is lost in the middle of a campaign; a backup goes on, on an empty one. Nobody gets anything twice.

    python tests/bench/restore_mid_campaign.py [--recipients 20000] [--rate 250] [--only KIND]

Two workers, an API that takes single messages, a campaign, and a broadcast that is paused when the backup is
taken and resumed after it. The backup is a snapshot, a copy of the append-only folder, or what `broadcaster
backup` makes. Then Redis is killed and its folder deleted, workers and API with it. Exits 1 if anybody was
sent to twice, or lost of what the backup held.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from restoring import COMMAND, FILES, SNAPSHOT, Plan, explain, lose_everything

KINDS = (SNAPSHOT, FILES, COMMAND)


def main() -> int:
    """Run it with each kind of backup; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipients", type=int, default=20_000)
    parser.add_argument("--rate", type=float, default=250.0)
    parser.add_argument("--only", choices=KINDS)
    options = parser.parse_args()
    broken = 0
    for kind in [options.only] if options.only else KINDS:
        plan = Plan(kind=kind, total=options.recipients, rate=options.rate)
        with tempfile.TemporaryDirectory(prefix="restore-") as folder:
            told = asyncio.run(lose_everything(Path(folder), plan))
        print(f"{kind}\n{explain(told, plan)}", flush=True)
        if found := told.breaches():
            broken += 1
            print("  BROKEN: " + "; ".join(found[:10]), flush=True)
    print("all kept" if not broken else f"{broken} broken")
    return int(broken > 0)


if __name__ == "__main__":
    sys.exit(main())
