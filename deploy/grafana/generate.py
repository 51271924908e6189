"""Writes Grafana's dashboards from code: `python deploy/grafana/generate.py`, or `make dashboards`.

The JSON is committed, and a test fails while it differs from what this writes.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from campaigns import campaigns
from failures import failures
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from runbook import runbook
from senders import senders
from workers_and_redis import workers_and_redis

FOLDER: Final = Path(__file__).parent / "dashboards"


def files() -> dict[str, str]:
    """Return each dashboard's file name and its JSON."""
    made = {
        "campaigns": campaigns(),
        "senders": senders(),
        "failures": failures(),
        "workers-and-redis": workers_and_redis(),
        "runbook": runbook(),
    }
    return {
        f"{name}.json": json.dumps(board, cls=JSONEncoder, indent=1, sort_keys=True, ensure_ascii=False)
        + "\n"
        for name, board in made.items()
    }


def main() -> int:
    """Write the files that differ."""
    for name, text in files().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
