"""Power cuts over many seeds: a server under `appendfsync everysec` loses its last writes in mid-broadcast.

    python tests/bench/redis_loss.py --seeds 20

Each line is one broadcast: what was lost, and what became of everybody. Exits 1 if any seed sent to somebody
twice, lost somebody, miscounted or did not end by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from losing import Plan, lose_the_tail


def plan_of(seed: int) -> Plan:
    """Draw one seed's plan."""
    chance = random.Random(seed)
    rate = chance.choice((100, 300, 600))
    return Plan(
        total=600,
        rate=rate,
        at=chance.randint(1, 300),
        tail=chance.randint(1, min(rate, 250)),
        workers=chance.randint(1, 2),
        worker_dies=chance.random() < 0.5,
    )


def main() -> int:
    """Run the seeds; return the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--seed", type=int, help="only this one")
    options = parser.parse_args()
    failed = 0
    for seed in [options.seed] if options.seed is not None else range(options.seeds):
        plan = plan_of(seed)
        with tempfile.TemporaryDirectory() as folder:
            try:
                told = str(asyncio.run(lose_the_tail(Path(folder), plan)))
            except AssertionError as error:
                failed += 1
                told = f"FAILED: {str(error)[:2000]}"
        who = f"{plan.workers} {'killed' if plan.worker_dies else 'alive'}"
        print(f"{seed:4} {plan.rate:4}/s {who:10} {told}", flush=True)
    print(f"{failed} failed")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
