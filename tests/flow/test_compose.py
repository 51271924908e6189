"""The services of docker-compose.yml, started as processes by its own words, and a campaign through them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_compose_files_services_work_together() -> None:
    ours = ("TWILIO_", "BROADCASTER_", "REDIS_")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    done = subprocess.run(
        [sys.executable, "deploy/compose_as_processes.py", "--exit", "--recipients", "100"],
        cwd=ROOT,
        env=environment | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for line in (
        "the simulator accepted 100 messages: each recipient's, once",
        "callbacks and refused none",
        "worker-2: exit 0",
        "redis-1: exit 0",
        "What only a real engine can show:",
    ):
        assert line in done.stdout
