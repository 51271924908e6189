"""SIGSTOP for longer than a lease with 64 POSTs in flight, again and again, callbacks off: nobody twice.

    python tests/bench/stops.py --stops 25 --seed 1

"after" are POSTs of the woken worker that its HTTP client had taken before: they can't be recalled, so nobody
may have sent them meanwhile ("resent"). "unleased" are POSTs to anybody else before it has asked under a new
lease; "swept" says that others have taken its lease by then. Every other stop holds what is under way back
until after the wake. Exits 1 if any of these, or any promise of the broadcasts, was broken.

A stop of more than 10 s outlives the wait for Redis' answers, too: a yes may be lost so.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from stopping import stop_workers, stops

HEAD = (
    "stop", "seconds", "held", "swept", "sending", "in doubt", "after", "in vain", "resent", "unleased", "",
)  # fmt: skip


def line(cells: list[str]) -> str:
    """Return a row under its heads."""
    return "  ".join(cell.rjust(max(7, len(head))) for cell, head in zip(cells, HEAD, strict=True))


def main() -> int:
    """Stop, wake, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--stops", type=int, default=25)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--longest-seconds", type=float, default=11.5, help="of a stop")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="stops-"))
    print(f"seed {options.seed}, {options.stops} stops; logs: {folder}", flush=True)
    seen, session = asyncio.run(
        stop_workers(folder, stops(options.stops, options.seed, options.longest_seconds))
    )
    print(line(list(HEAD)))
    broken = 0
    for number, one in enumerate(seen):
        bad = bool(one.resent or one.unleased or not one.swept)
        broken += bad
        print(
            line(
                [
                    str(number),
                    f"{one.stop.seconds:.1f}",
                    "yes" if one.stop.held else "no",
                    "yes" if one.swept else "no",
                    *map(str, (one.sending, one.in_doubt, one.left_after, one.asked_in_vain)),
                    *map(str, (len(one.resent), len(one.unleased))),
                    "FAILED" if bad else "ok",
                ]
            )
        )
    print(
        f"{session.recipients} recipients, {session.accepted} accepted, {len(session.twice)} twice, "
        f"{len(session.lost)} lost, {len(session.wrong)} wrong, {session.alarms} alarms, "
        f"{session.crashed} crashed"
    )
    for text in [*session.twice[:5], *session.lost[:5], *session.wrong[:5]]:
        print(f"    {text}")
    return 1 if broken or not session.kept else 0


if __name__ == "__main__":
    sys.exit(main())
