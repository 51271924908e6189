"""Everything fails at once, with a seed: nobody is skipped, nobody is sent to twice, and it ends by itself.

The long version, many seeds: `python tests/bench/chaos.py`.
"""

# ruff: noqa: T201 - a run with -s shows what happened

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from havoc import wreak
from trouble import Plan

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_chaos(tmp_path: Path) -> None:
    """Workers and Redis die, the network fails on both sides, Twilio answers everything it can."""
    seed = int(os.environ.get("SEED", "1"))
    plan = Plan(seed, 600, troubled_seconds=5, stop_seconds=5, patience_seconds=2.5)
    report = await wreak(tmp_path, plan)
    print(f"\n{report.seconds:.1f} s, {dict(report.troubles)}, {report.truth}")
    assert not report.error
    truth = report.truth
    assert truth is not None
    assert not truth.twice
    assert not truth.lost
    assert not truth.wrong
    assert not report.crashed, "a worker ends by a signal only"
    assert not report.caused, "no duplicate, no alarm about one"
    assert sum(report.troubles.values()) >= 5, "there was trouble"
