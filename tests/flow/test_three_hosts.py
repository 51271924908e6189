"""A host that vanishes from Redis and Twilio in the middle of a campaign, and comes back: real networks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from machines import can_make_machines

BENCH = Path(__file__).parents[1] / "bench/three_hosts.py"


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("variant", ["both silent", "twilio down"])
def test_nobody_is_lost_or_sent_to_twice(variant: str) -> None:
    if why := can_make_machines():
        pytest.skip(why)
    command = [sys.executable, str(BENCH), "--short", "--only", variant]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert "twice 0, lost 0" in done.stdout
