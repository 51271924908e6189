"""A campaign with everything in it, scraped by a real Prometheus: two workers, an API, the exporter.

Some thousand recipients over two senders: numbers that Twilio refuses by code, throttling, tries that all
fail, answers that never came (in Twilio's list or not, to be sent again or held), opt-outs by reply, by
Twilio's 21610 and by hand, deliveries that fail, urgent single messages. In the middle it is paused until
nothing moves.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from deployment import Deployment, deployment, stop
from loading import counts, records
from observing import Prometheus, observing
from serving import ITSELF, Api, free_port, serving

from broadcaster.domain.record import OPEN_STATES, Record, State
from broadcaster.reporting.messages import Attempt, read_message
from broadcaster.store.batches import unpack_batch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

SENDERS: Final = ("+15550000001", "+15550000002")
PACE: Final = 150
#: By the place in a list of a hundred: how Twilio takes the message. 2 % of answers never come.
FAULTS: Final[dict[int, Any]] = {
    7: "21211",  # no such number
    17: "21614",  # no mobile
    27: "21610",  # opted out at Twilio
    37: {"fault": "throttle", "tries": 1},
    47: {"fault": "throttle", "tries": 2},
    57: {"fault": "error_after", "tries": 1},  # no answer, and accepted
    67: {"fault": "unavailable", "tries": 1},  # no answer, and not accepted
    77: "14107",  # to be tried again, in vain
}
SETTLING: Final = {
    "BROADCASTER_SETTLE_SECONDS": "1",
    "BROADCASTER_SETTLE_ALONE_SECONDS": "2",
    "BROADCASTER_SETTLE_EVERY_SECONDS": "1",
    "BROADCASTER_POLL_AFTER_SECONDS": "86400",
}
#: Longer than settling takes, so that Twilio's list is what settles doubt.
CALLBACK_DELAY_MS: Final = 6_000
#: In seconds; others may be busy on this machine.
PATIENCE: Final = 180
BY_REPLY, BY_HAND = 12, 8
URGENT: Final = 40
HELD: Final = 200


def person(place: int) -> str:
    return f"+1415555{place:04d}" if place < 10_000 else f"+1415{place:07d}"


@dataclass(frozen=True, slots=True)
class Line:
    """One recipient of a broadcast as the ledger has it."""

    id: str
    to: str
    sender: str
    record: Record


@dataclass
class Watched:
    """What runs, and what is known of it. `main` is paused in the middle; `held` keeps what is in doubt."""

    run: Deployment
    api: Api
    prometheus: Prometheus
    recipients: int
    began: float
    main: str = ""
    held: str = ""
    stream: str = ""
    #: Each urgent message's id, and between which two moments the API accepted it.
    urgent: list[tuple[str, float, float]] = field(default_factory=list)

    async def ledger(self, *broadcasts: str) -> list[Line]:
        """Read every record of broadcasts, not a counter of them."""
        store, found = self.run.store, list[Line]()
        for bid in broadcasts:
            lanes = [
                name.decode()
                for name in await store.redis.lrange(f"{store.keys.broadcast(bid)}:lanes", 0, -1)
            ]
            packed: dict[str, Sequence[str]] = {}
            for (batch, index), record in (await records(store, bid)).items():
                if batch not in packed:
                    packed[batch] = unpack_batch(await store.redis.get(store.keys.batch(bid, batch))).to
                sender = lanes[int(batch.split(".")[0])]
                found.append(Line(f"{bid}.{batch}.{index}", packed[batch][index], sender, record))
        return found

    async def attempts(self) -> int:
        """Return how many tries the ledger knows of: each was given a yes by the gate."""
        found = [await records(self.run.store, bid) for bid in (self.main, self.held, self.stream)]
        return sum(record.attempt for ledger in found for record in ledger.values())

    async def history(self, message: str) -> list[Attempt]:
        """Return the tries of a message, the first one first."""
        told = await read_message(self.run.store, message)
        assert told is not None, message
        return told[1]

    async def ended(self, *broadcasts: str, patience_seconds: float = PATIENCE) -> None:
        """Wait until nothing of these broadcasts is open."""
        for bid in broadcasts:
            await self.run.until(
                lambda found: not any(found.get(state) for state in OPEN_STATES), bid, patience_seconds
            )

    async def quiet(self) -> None:
        """Wait until Twilio has told all that there is to tell, and it is written."""
        async with asyncio.timeout(PATIENCE):
            while True:
                told = await self.run.simulator.http.get("/_simulator/callbacks?wait=30", timeout=60)
                final = await self.run.simulator.lines("finals")
                if not told.json()["pending"] and all(row["ended"] for row in final):
                    return

    async def scraped(self) -> None:
        """Wait until Prometheus has what is there now."""
        await self.prometheus.scraped_since(time.time())


@contextlib.asynccontextmanager
async def watched(folder: Path, recipients: int) -> AsyncIterator[Watched]:
    """Start everything; nothing is sent yet."""
    faults = {person(i): FAULTS[i % 100] for i in range(recipients) if i % 100 in FAULTS}
    faults |= {person(recipients + i): "unavailable" for i in range(5, HELD, 20)}
    config: dict[str, Any] = {
        "senders": dict.fromkeys(SENDERS, 10_000.0),
        "recipients": faults,
        "latency_ms": 20.0,
        "delivery_seconds": 0.3,
        "delivery_failures": {"30003": 0.04, "30005": 0.03, "30006": 0.02},
        "no_receipts": 0.02,
        "callback_delay_ms": CALLBACK_DELAY_MS,
    }
    ports = {name: free_port() for name in ("exporter", "first", "second")}
    async with contextlib.AsyncExitStack() as stack:
        run = await stack.enter_async_context(deployment(folder, workers=0, **config))
        run.environment |= SETTLING
        ours = {k: v for k, v in run.environment.items() if k.startswith(("TWILIO_", "BROADCASTER_"))}
        ours |= {"BROADCASTER_PUBLIC_URL": ITSELF, "TWILIO_PHONE_NUMBER": SENDERS[0]}
        log = stack.enter_context((folder / "api.log").open("wb"))
        api = await stack.enter_async_context(serving(run.store, log=log, **ours))
        await run.simulator.configure(inbound_url=f"{api.url}/webhooks/twilio/inbound#rc=5&rp=all")
        for name in ("first", "second"):
            run.start_worker(BROADCASTER_METRICS_PORT=str(ports[name]), BROADCASTER_PUBLIC_URL=api.url)
        stack.enter_context(_exporter(run, folder, ports["exporter"]))
        targets = {
            "broadcaster-worker": [ports["first"], ports["second"]],
            "broadcaster-api": [int(api.url.rpartition(":")[2])],
            "broadcaster-exporter": [ports["exporter"]],
        }
        prometheus = await stack.enter_async_context(observing(folder, targets))
        made = Watched(run, api, prometheus, recipients, time.time())
        await made.scraped()  # every counter is seen at 0
        yield made


@contextlib.contextmanager
def _exporter(run: Deployment, folder: Path, port: int) -> Any:
    with (folder / "exporter.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "broadcaster.exporter", "--host", "127.0.0.1", "--port", str(port)],
            env=run.environment,
            stdout=log,
            stderr=log,
        )
    try:
        yield
    finally:
        stop(process)


async def begin(made: Watched) -> None:
    """Start both broadcasts over the API, and send urgent messages beside them."""
    for sender in SENDERS:
        (await made.api.client.patch(f"/v1/senders/{sender}", json={"rate": PACE})).raise_for_status()
    made.main = await _broadcast(made, "Dam warning", range(made.recipients), "resend")
    made.held = await _broadcast(made, "Reminder", range(made.recipients, made.recipients + HELD), "hold")
    for i in range(URGENT):
        at = time.time()
        to = person(20_000 + i)
        answer = await made.api.client.post(
            "/v1/messages", json={"to": to, "body": "Leave now", "priority": "urgent"}
        )
        assert answer.status_code == 202, answer.text
        name = answer.json()["messages"][0]["id"]
        made.stream = name.split(".")[0]
        made.urgent.append((name, at, time.time()))


async def _broadcast(made: Watched, name: str, places: range, on_doubt: str) -> str:
    """Every tenth text has two segments."""
    people = [{"to": person(i), "variables": {"name": "A" * (170 if i % 10 == 0 else 5)}} for i in places]
    answer = await made.api.client.post(
        "/v1/broadcasts",
        content=json.dumps(
            {
                "name": name,
                "from": list(SENDERS),
                "body": "The water rises, {{ name }}",
                "recipients": people,
                "on_doubt": on_doubt,
            }
        ),
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code in (201, 202), answer.text
    bid: str = answer.json()["id"]
    return bid


async def pause(made: Watched) -> None:
    """Pause the main broadcast in its middle; return when nothing moves any more, anywhere."""
    half = made.recipients // 3
    await made.run.until(
        lambda found: sum(n for s, n in found.items() if s >= State.ACCEPTED) > half, made.main, PATIENCE
    )
    (await made.api.client.post(f"/v1/broadcasts/{made.main}/pause")).raise_for_status()
    await made.run.until(
        lambda found: not found.get(State.SENDING) and not found.get(State.IN_DOUBT), made.main, PATIENCE
    )
    await made.ended(made.held)
    await made.quiet()
    assert (await counts(made.run.store, made.main)).get(State.QUEUED, 0) > BY_REPLY + BY_HAND


async def opt_out(made: Watched) -> None:
    """Let some of those whose turn is still to come opt out, by a reply and by hand."""
    waiting = [line for line in await made.ledger(made.main) if line.record.state is State.QUEUED]
    for line in waiting[:BY_REPLY]:
        written = {"from": line.to, "to": line.sender, "body": "STOP"}
        (await made.run.simulator.http.post("/_simulator/inbound", json=written)).raise_for_status()
    for line in waiting[BY_REPLY : BY_REPLY + BY_HAND]:
        (await made.api.client.post("/v1/opt-outs", json={"address": line.to})).raise_for_status()


async def go_on(made: Watched) -> None:
    """Resume, and return when everything has ended and Prometheus has seen it."""
    (await made.api.client.post(f"/v1/broadcasts/{made.main}/resume")).raise_for_status()
    await made.ended(made.main)
    await made.quiet()
    await made.scraped()
