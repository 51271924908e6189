"""People write STOP in the middle of a campaign, over the real webhook: when was the last POST to them?

    python tests/bench/stop_mid_campaign.py [--recipients 50000] [--rate 500] [--callbacks]

An API process, a worker and the simulator, which signs. Every second eight people say it whose turn is 1 to
5,000 messages away. Exits 1 if one of them was posted to more than a second after the webhook's answer, or
anybody else was left out.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from saying_stop import campaign

AHEAD = (1, 25, 100, 250, 500, 1000, 2500, 5000)


def main() -> int:
    """Send, stop, and print what was seen."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--recipients", type=int, default=50_000)
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--every-seconds", type=float, default=1.0)
    parser.add_argument("--callbacks", action="store_true", help="status callbacks come in, too")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="stop-"))
    outcome = asyncio.run(
        campaign(
            folder,
            recipients=options.recipients,
            rate=options.rate,
            every_seconds=options.every_seconds,
            ahead=AHEAD,
            callbacks=options.callbacks,
        )
    )
    print(f"{len(outcome.stopped)} said STOP, {outcome.skipped} of them got nothing; {outcome.rate:.0f}/s")
    print(f"the slowest answer to eight at once took {outcome.longest_answer_seconds * 1000:.0f} ms")
    for ahead in AHEAD:
        some = [one for one in outcome.stopped if one.ahead == ahead]
        posted = [one for one in some if one.posted is not None]
        last = max((one.late_seconds for one in posted), default=0.0)
        told = f"{last * 1000:.0f} ms after STOP at last" if posted else "nobody"
        print(f"{ahead:>6} ahead: {len(posted):>3} of {len(some)} got it: {told}")
    spared = sum(one.posted is None for one in outcome.stopped)
    whole = outcome.skipped == spared and outcome.accepted == options.recipients - spared
    bad = len(outcome.late) + len(outcome.unanswered) + outcome.twice
    print(f"{len(outcome.late)} late, {len(outcome.unanswered)} unanswered, {outcome.twice} twice")
    return 1 if bad or not whole else 0


if __name__ == "__main__":
    sys.exit(main())
