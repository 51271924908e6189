"""A client that openapi-python-client made of our description creates a broadcast and reads it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from serving import key_for, serving

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

DESCRIPTION = Path(__file__).parents[2] / "deploy" / "openapi.json"
SCRIPT = """
import json, sys
from generated import AuthenticatedClient
from generated.api.broadcasts import create_broadcast, get_broadcast, list_broadcast_messages
from generated.api.messages import send_messages
from generated.models import CreateBroadcastJsonOrderForm, MessageRequest

url, key = sys.argv[1:]
with AuthenticatedClient(base_url=url, token=key) as client:
    order = {"body": "Hi {{ name }}", "draft": True, "recipients": [
        {"to": "+14155550100", "variables": {"name": "Ada"}},
        {"to": "+14155550101", "variables": {"name": "Bob"}}]}
    made = create_broadcast.sync(
        client=client, body=CreateBroadcastJsonOrderForm.from_dict(order), idempotency_key="one")
    read = get_broadcast.sync(made.id, client=client)
    page = list_broadcast_messages.sync(made.id, client=client, limit=1)
    good, bad = ({"to": to, "body": "x"} for to in ("+14155550102", "12"))
    sent = send_messages.sync(client=client, body=MessageRequest.from_dict(good))
    refused = send_messages.sync(client=client, body=MessageRequest.from_dict(bad))
print(json.dumps({"same": read.id == made.id, "state": read.state, "total": read.total, "to": page.data[0].to,
                  "more": bool(page.next_), "sent": sent.messages[0].state, "refused": refused.status}))
"""


@pytest.mark.slow
async def test_a_generated_client_creates_a_broadcast_and_reads_it(store: Store, tmp_path: Path) -> None:
    generator = str(Path(sys.executable).with_name("openapi-python-client"))
    command = [generator, "generate", "--path", str(DESCRIPTION), "--meta", "none"]
    made = await asyncio.to_thread(
        subprocess.run,
        [*command, "--output-path", str(tmp_path / "generated")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout
    async with serving(store) as api:
        key = await key_for(store)
        told = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-c", SCRIPT, api.url, key],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert told.returncode == 0, told.stderr
    assert json.loads(told.stdout) == {
        "same": True,
        "state": "draft",
        "total": 2,
        "to": "+14155550100",
        "more": True,
        "sent": "queued",
        "refused": 422,
    }
