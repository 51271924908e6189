"""How long it takes until every count is Twilio's: without callbacks, with them, with half of them lost.

    python tests/bench/final_states.py --recipients 20000

Exits 1 if the counts by state and code are not the simulator's truth in the end. "gets" are requests that
asked for states: pages of the list, and single messages.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Final, Literal

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from final_states import campaign

MODES: Final[tuple[Literal["off", "on", "half"], ...]] = ("off", "on", "half")


def main() -> int:
    """Run the three campaigns and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--recipients", type=int, default=20_000)
    parser.add_argument("--after-seconds", type=float, default=5.0, help="silence before Twilio is asked")
    options = parser.parse_args()
    print("callbacks  sent in s  right after s   gets  counts")
    broken = False
    for mode in MODES:
        folder = Path(tempfile.mkdtemp(prefix="final-states-"))
        ended = asyncio.run(
            campaign(
                folder,
                options.recipients,
                mode,
                after_seconds=options.after_seconds,
                patience_seconds=60 + options.recipients / 100,
            )
        )
        gets = ended.answers.get("GET 200", 0)
        said = ", ".join(
            f"{n} {state} {code or ''}".strip() for (state, code), n in sorted(ended.ours.items())
        )
        print(
            f"{mode:9}  {ended.sent_seconds:9.1f}  {ended.ended_seconds:13.1f}  {gets:5}  {said}", flush=True
        )
        if not ended.right:
            broken = True
            print(f"FAILED: the truth is {sorted(ended.truth.items())}; logs: {folder}", flush=True)
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
