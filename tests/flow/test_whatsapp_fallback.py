"""Free text and its template with real processes: what Twilio refutes goes again as the template."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from deployment import deployment
from windowing import SENDER, person

from broadcaster.domain.record import State
from broadcaster.ledger import inbound
from broadcaster.simulator.config import TEMPLATE_SID

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
async def test_the_template_follows_what_twilio_refutes(tmp_path: Path) -> None:
    """We take all windows for open; Twilio knows of one reply only, and the rest get the template."""
    config = {"whatsapp_window": True, "senders": {SENDER: 1000.0}, "delivery_seconds": 0}
    people = [person(i) for i in range(20)]
    async with deployment(tmp_path, workers=0, **config) as run:
        run.start_worker(BROADCASTER_POLL_AFTER_SECONDS="1", BROADCASTER_STOP_AFTER="1000")
        now = (await run.store.redis.time())[0]
        await run.store.run_all(inbound.wrote(SENDER, dict.fromkeys(people, now - 60)))
        written = {"from": people[0], "to": SENDER, "body": "hello"}
        (await run.simulator.http.post("/_simulator/inbound", json=written)).raise_for_status()
        rows = tmp_path / "people.csv"
        rows.write_text("to,name\n" + "".join(f"{who},Ada\n" for who in people))
        order = ["send", str(rows), "--from", SENDER, "--body", "Hello {{ name }}", "--yes", "--json"]
        order += [
            "--fallback-content-sid",
            TEMPLATE_SID,
            "--fallback-content-variables",
            '{"1": "{{ name }}"}',
        ]
        sent = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "broadcaster", *order],
            env=run.environment,
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        assert sent.returncode == 0, sent.stderr
        bid = json.loads(sent.stdout)["id"]
        await run.until(lambda counts: counts == {State.DELIVERED: 20}, bid, timeout=45)
        taken = await run.simulator.accepted()
        assert taken == {who: 1 if who == people[0] else 2 for who in people}
