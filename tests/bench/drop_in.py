"""The official Twilio clients, Python and Node, send through our own Messages.json; each recipient once.

python tests/bench/drop_in.py [--messages 1000]     npm installs Node's client into a folder of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from twilio.base.exceptions import TwilioRestException  # type: ignore[import-untyped]
from twilio.http.http_client import TwilioHttpClient  # type: ignore[import-untyped]
from twilio.rest import Client  # type: ignore[import-untyped]

sys.path.insert(0, str(Path(__file__).parents[1]))

from deployment import Deployment, deployment
from serving import key_for, serving

from broadcaster.lanes.control import set_rate
from broadcaster.simulator.config import ACCOUNT_SID

SENDER = "+15005550006"
NODE_SCRIPT = Path(__file__).with_suffix(".mjs")


def by_python(url: str, key: str, first: int, count: int) -> dict[str, Any]:
    """Send `count` messages with Twilio's Python client, 20 at a time."""
    client = Client(ACCOUNT_SID, key, http_client=TwilioHttpClient(pool_connections=True))
    client.api.base_url = url

    def send(number: int) -> str:
        to = f"+1415{number:07d}"
        return str(client.messages.create(to=to, from_=SENDER, body="Hello from Python").sid)

    with ThreadPoolExecutor(20) as pool:
        made = list(pool.map(send, range(first, first + count)))
    shown = client.messages(made[0]).fetch()
    listed = client.messages.list(limit=20, page_size=10)
    try:
        client.messages.create(to="12", from_=SENDER, body="x")
        refused = None
    except TwilioRestException as error:
        refused = {"status": error.status, "code": error.code}
    client.http_client.session.close()
    return {
        "made": len(set(made)),
        "same": shown.sid == made[0],
        "listed": len(listed),
        "refused": refused,
    }


def node_folder() -> Path | None:
    """Return a folder with Twilio's Node client in it; None where there is no Node."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return None
    folder = Path(tempfile.gettempdir()) / "broadcaster-node-client"
    if not (folder / "node_modules" / "twilio").exists():
        folder.mkdir(exist_ok=True)
        (folder / "package.json").write_text("{}")
        command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent", "twilio@6"]
        subprocess.run(command, cwd=folder, check=True)
    return folder


def by_node(url: str, key: str, first: int, count: int) -> dict[str, Any]:
    """Do the same with Twilio's Node client, 40 at a time."""
    folder = node_folder()
    if folder is None:
        return {"made": "no Node here"}
    command = ["node", str(NODE_SCRIPT), str(folder), url, ACCOUNT_SID, key, SENDER, str(first), str(count)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert told.returncode == 0, told.stderr
    answer: dict[str, Any] = json.loads(told.stdout)
    return answer


async def send_by_both(run: Deployment, messages: int) -> list[dict[str, Any]]:
    """Let both clients send so many messages each, and wait until all have left."""
    ours = {
        name: value for name, value in run.environment.items() if name.startswith(("TWILIO_", "BROADCASTER_"))
    }
    await run.store.run(set_rate(SENDER, 5_000))
    told = []
    async with serving(run.store, **ours) as api:
        key = await key_for(run.store)
        for number, by in enumerate((by_python, by_node)):
            began = time.monotonic()
            answer = await asyncio.to_thread(by, api.url, key, 1_000_000 * (number + 1), messages)
            told.append(
                {"client": by.__name__.removeprefix("by_"), **answer, "seconds": time.monotonic() - began}
            )
    wanted = sum(entry["made"] for entry in told if isinstance(entry["made"], int))
    async with asyncio.timeout(60):
        while len(await run.simulator.accepted()) < wanted:  # noqa: ASYNC110 - another process's
            await asyncio.sleep(0.1)
    return told


async def main(messages: int) -> int:
    """Print what each client saw, and what the simulator has."""
    with tempfile.TemporaryDirectory() as folder:
        async with deployment(Path(folder)) as run:
            told = await send_by_both(run, messages)
            accepted = await run.simulator.accepted()
    for entry in told:
        print(entry)
    twice = [to for to, count in accepted.items() if count != 1]
    print(f"the simulator accepted {sum(accepted.values())} messages, {len(twice)} recipients more than once")
    wanted = sum(entry["made"] for entry in told if isinstance(entry["made"], int))
    return int(bool(twice) or len(accepted) != wanted)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1000)
    sys.exit(asyncio.run(main(parser.parse_args().messages)))
