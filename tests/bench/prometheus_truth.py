"""A real Prometheus scrapes a campaign: do the dashboards' queries say what the ledger and Twilio say?

    python tests/bench/prometheus_truth.py [--recipients 3000]

Needs `prometheus` and `promtool` on PATH (Debian's package has both). Two workers, the API, the exporter, an
embedded Redis and the simulated Twilio are real processes, scraped every second as
deploy/prometheus/prometheus.yml says, with its rules. Queries are taken from deploy/grafana/dashboards by
their panel's title. Exits 1 if a value is not the truth, a rule can't be evaluated or promtool finds a fault.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from observing import DEPLOYED, PROGRAM
from told_by_dashboards import Compared, at_the_end, while_paused, without_data
from watched_campaign import Watched, begin, go_on, opt_out, pause, watched


def main() -> int:
    """Run the campaign and print a line for each query."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--recipients", type=int, default=3000)
    options = parser.parse_args()
    if PROGRAM is None:
        print("no `prometheus` on PATH: apt-get install prometheus")
        return 1
    folder = Path(tempfile.mkdtemp(prefix="prometheus-truth-"))
    began = time.monotonic()
    wrong = asyncio.run(_campaign(folder, options.recipients))
    print(f"{time.monotonic() - began:.0f} s")
    checked = [_promtool("check", "rules"), _promtool("test", "rules")]
    if wrong:
        print(f"FAILED: {wrong} differ; logs: {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if wrong or not all(checked) else 0


async def _campaign(folder: Path, recipients: int) -> int:
    async with watched(folder, recipients) as made:
        await begin(made)
        await pause(made)
        print("\nIn the middle, the broadcast paused and nothing moving:")
        paused = _print(await while_paused(made))
        asked, empty = await without_data(made)
        print(f"\n{asked} queries of all panels are understood; {len(empty)} of them had nothing to show:")
        print("\n".join(f"        {one}" for one in empty))
        await opt_out(made)
        await go_on(made)
        print("\nAt the end:")
        ended = _print(await at_the_end(made))
        return paused + ended + await _rules(made)


def _print(found: list[Compared]) -> int:
    """Print a table; return how many differ."""
    for one in found:
        about = f"{one.how}, each within {one.within:g}" if one.within else one.how
        print(f"{'ok   ' if one.equal else 'WRONG'} {one.panel} [{about}]")
        print(f"        Prometheus | {_said(one.prometheus)}")
        print(f"        truth      | {_said(one.truth)}")
        if not one.equal:
            print(f"        query      | {one.query}")
    return sum(not one.equal for one in found)


def _said(told: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:g}".strip() for name, value in sorted(told.items())) or "nothing"


async def _rules(made: Watched) -> int:
    """Print what the deployed rules came to in the run; return how many could not be evaluated."""
    rules = await made.prometheus.rules()
    broken = [rule for rule in rules if rule["health"] == "err"]
    firing = [rule["name"] for rule in rules if rule.get("state") == "firing"]
    print(f"\n{len(rules)} rules evaluated every second, {len(broken)} failed; firing: {firing or 'none'}")
    for rule in broken:
        print(f"WRONG {rule['name']}: {rule['lastError']}")
    return len(broken)


def _promtool(*command: str) -> bool:
    """Run promtool over the deployed rules or their tests; print what it says."""
    files = sorted(DEPLOYED.glob("rules/*.yml" if command[0] == "check" else "tests/*.yml"))
    done = subprocess.run(["promtool", *command, *files], capture_output=True, text=True, check=False)
    good = bool(files) and not done.returncode
    told = "SUCCESS" if good else done.stdout + done.stderr
    print(f"{'ok   ' if good else 'WRONG'} promtool {' '.join(command)}, {len(files)} files: {told}")
    return good


if __name__ == "__main__":
    sys.exit(main())
