"""A whole campaign at debug, with every message sampled: no process says a number, a text or a secret."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from deployment import deployment, stop
from serving import bearer, free_port, key_for, serving

from broadcaster.domain.record import State

if TYPE_CHECKING:
    from pathlib import Path

#: Each stands for itself wherever it turns up.
TOKEN = "7f3a9c1e5b2d4f6081a3c5e7092b4d6f"
SIGNING = "SigningKeyOfThisVeryTest"
TEXT = "Xyzzyplugh"
NAME = "Quuxington"
#: At one message a second each.
SENDERS = [f"+1555000{1000 + i}" for i in range(20)]
FAULTS = {
    "throttle": 0.05,
    "unavailable": 0.03,
    "drop_after": 0.02,
    "21610": 0.03,
    "30007": 0.02,
    "21211": 0.02,
}


@pytest.mark.slow
@pytest.mark.timeout(200)
async def test_nobody_says_what_nobody_shall_read(tmp_path: Path) -> None:
    total = 200
    numbers = [f"+1415{5550000 + i}" for i in range(total)]
    port = free_port()
    loud = {
        "TWILIO_AUTH_TOKEN": TOKEN,
        "BROADCASTER_LOG_LEVEL": "debug",
        "BROADCASTER_LOG_SAMPLE": "1.0",
        "BROADCASTER_SECRET_KEY": SIGNING,
        "BROADCASTER_PUBLIC_URL": f"http://127.0.0.1:{port}",
        "BROADCASTER_SETTLE_SECONDS": "2",
        "BROADCASTER_SETTLE_ALONE_SECONDS": "3",
        "BROADCASTER_SETTLE_EVERY_SECONDS": "1",
        "BROADCASTER_POLL_AFTER_SECONDS": "2",
    }
    with (tmp_path / "api.log").open("wb") as log:
        async with deployment(tmp_path, workers=0, token=TOKEN, faults=FAULTS, list_lag_seconds=0.2) as run:
            ours = {n: v for n, v in run.environment.items() if n.startswith(("TWILIO_", "BROADCASTER_"))}
            key = await key_for(run.store)
            async with serving(run.store, key=key, port=port, log=log, **{**ours, **loud}) as api:
                worker = run.start_worker(**loud)
                order = {
                    "body": TEXT + " {{ name }}",
                    "from": SENDERS,
                    "recipients": [{"to": number, "variables": {"name": NAME}} for number in numbers],
                }
                answer = await api.client.post("/v1/broadcasts", json=order)
                assert answer.is_success, answer.text
                bid = answer.json()["id"]
                await api.client.post(
                    "/v1/messages", json={"to": numbers[0], "body": TEXT, "from": SENDERS[0]}
                )
                await api.client.get(f"/v1/recipients/{numbers[1]}")
                await api.client.get("/v1/messages", params={"to": numbers[2]})
                await api.client.post("/v1/opt-outs", json={"addresses": numbers[3:5]})
                await api.client.get("/v1/broadcasts", headers=bearer(key + "x"))
                await run.settled(bid, 120)

                await run.until(lambda found: not found.get(State.IN_DOUBT), bid, 60)
                stop(worker)
    said = (tmp_path / "api.log").read_text() + run.logs()
    events = {json.loads(line)["event"] for line in said.splitlines() if line.startswith("{")}
    assert {"message.sent", "message.status", "request.done", "import.done", "callbacks.done"} <= events
    assert events & {"slice.done", "slices.done"}
    assert not [line for line in said.splitlines() if not line.startswith("{")]
    for number in (*numbers, *SENDERS):
        assert number[2:] not in said
    for secret in (TOKEN, SIGNING, TEXT, NAME, key, key.rsplit("_", 1)[1]):
        assert secret not in said
