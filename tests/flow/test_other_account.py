"""Processes with another account, or another Twilio, than the installation's end, and post nothing."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from deployment import deployment, simulator
from loading import load

if TYPE_CHECKING:
    from pathlib import Path

LANE = "+15550000001"
OTHER = "AC" + "2" * 32
#: Twilio's own place; the address is never asked, as the process ends before.
TWILIO = ""


@pytest.mark.slow
async def test_none_of_them_starts(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    async with deployment(tmp_path, senders={LANE: 1.0}) as run, simulator(tmp_path / "other", {}) as other:
        bid = await load(run.store, {LANE: 50})
        await run.until(lambda counts: sum(counts.values()) == 50, bid)
        asked = {"TWILIO_ACCOUNT_SID": OTHER, "TWILIO_API_BASE_URL": other.url}
        for program in (
            ("workers",),
            ("broadcaster.api", "--port", "0"),
            ("broadcaster.api", "--port", "0", "--only", "webhooks"),
            ("broadcaster", "worker"),
        ):
            for more in (asked, {"TWILIO_ACCOUNT_SID": OTHER}, {"TWILIO_API_BASE_URL": TWILIO}):
                done = subprocess.run(  # noqa: ASYNC221 - the rest goes on in processes of their own
                    [sys.executable, "-m", *program],
                    env=run.environment | more,
                    cwd=tmp_path,
                    capture_output=True,
                    text=True,
                    timeout=30,
                    check=False,
                )
                assert done.returncode == 2, done.stdout + done.stderr
                assert "this installation belongs to account" in done.stderr
                assert "Traceback" not in done.stdout + done.stderr
        assert await other.accepted() == {}
        assert {
            entry["account"] for entry in await run.simulator.lines("accepted") if "account" in entry
        } <= {run.environment["TWILIO_ACCOUNT_SID"]}
