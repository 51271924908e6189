"""Schemathesis against a running API, its worker and a simulated Twilio: every check, every phase.

python tests/bench/conformance.py [--examples 100] [--seed 1] [-- further options of schemathesis]

Counts the cases from its NDJSON report; exit code as schemathesis'.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from serving import key_for, whole

#: Where Schemathesis finds schemathesis_hooks.py.
HOOKS = {"SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(Path(__file__).parent)}
CONFIG = Path(__file__).with_name("schemathesis.toml")
PHASES = "examples,coverage,fuzzing,stateful"


async def main(examples: int, seed: int, more: list[str]) -> int:
    """Run it and print what came of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        async with whole(path) as (run, api):
            key = await key_for(run.store)
            schema = path / "openapi.json"
            schema.write_bytes((await api.client.get("/openapi.json")).content)
            command = [
                *(str(Path(sys.executable).with_name("schemathesis")), "--config-file", str(CONFIG)),
                *("run", "--checks", "all", "--phases", PHASES, str(schema)),
                *("--url", api.url, "-H", f"Authorization: Bearer {key}"),
                *("--max-examples", str(examples), "--seed", str(seed), "--continue-on-failure"),
                *("--report", "ndjson", "--report-dir", folder, *more),
            ]
            shown = " ".join(part for part in command if key not in part)
            print(f"$ {shown.replace(folder, 'FOLDER')}", flush=True)
            process = await asyncio.create_subprocess_exec(*command, env={**os.environ, **HOOKS})
            code = await process.wait()
            alive = api.process.poll() is None
        answers = answers_in(path)
    print(f"{sum(answers.values()):,} cases; answers by status: {dict(sorted(answers.items()))}")
    print("the API lives" if alive else "the API has ended")
    return code or int(not alive)


def answers_in(folder: Path) -> Counter[int]:
    """Count the answers by status in the reports of a folder."""
    answers: Counter[int] = Counter()
    for report in folder.glob("*.ndjson"):
        for line in report.read_text().splitlines():
            count(json.loads(line), answers)
    return answers


def count(entry: object, answers: Counter[int]) -> None:
    """Count the answers anywhere in a line of the report."""
    if isinstance(entry, dict):
        status = entry.get("status_code")
        if isinstance(status, int):
            answers[status] += 1
        for value in entry.values():
            count(value, answers)
    elif isinstance(entry, list):
        for value in entry:
            count(value, answers)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options, rest = parser.parse_known_args()
    sys.exit(asyncio.run(main(options.examples, options.seed, [part for part in rest if part != "--"])))
