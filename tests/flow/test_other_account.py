"""Processes with another account, or another Twilio, than the installation's end, and post nothing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from deployment import deployment, simulator, stop
from loading import counts, load

from broadcaster.domain.record import State

if TYPE_CHECKING:
    from pathlib import Path

LANE = "+15550000001"
OTHER = "AC" + "2" * 32
#: Twilio's own place; the address is never asked, as the process ends before.
TWILIO = ""


#: Program → what it is asked to work with.
ASKED = (
    (("workers",), {"TWILIO_ACCOUNT_SID": OTHER}),
    (("workers",), {"TWILIO_API_BASE_URL": TWILIO}),
    (("broadcaster.api", "--port", "0"), {"TWILIO_ACCOUNT_SID": OTHER}),
    (("broadcaster.api", "--port", "0", "--only", "webhooks"), {"TWILIO_API_BASE_URL": TWILIO}),
)


@pytest.mark.slow
@pytest.mark.timeout(180)  # seven processes start, one after the other where others keep the machine busy
async def test_none_of_them_starts(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    config: dict[str, Any] = {"senders": {LANE: 1.0}}
    async with deployment(tmp_path, **config) as run, simulator(tmp_path / "other", config) as other:
        first = await load(run.store, {LANE: 2})
        assert await run.settled(first, 30) == {State.ACCEPTED: 2}
        stop(run.workers[0])
        bid = await load(run.store, {LANE: 20})
        started = [
            subprocess.Popen(  # noqa: ASYNC220 - the rest goes on in processes of their own
                [sys.executable, "-m", *program],
                env=run.environment | {"TWILIO_API_BASE_URL": other.url} | asked,
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for program, asked in ASKED
        ]
        for process in started:
            told, _ = await asyncio.to_thread(process.communicate, timeout=40)
            assert process.returncode == 2, told
            assert "this installation belongs to account" in told
            assert "Traceback" not in told
        assert await other.accepted() == {}
        assert await counts(run.store, bid) == {State.QUEUED: 20}
