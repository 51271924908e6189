"""The whole way round: our messages, simulated Twilio's callbacks, the API that takes them, our ledger."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import httpx
from deployment import Deployment, deployment
from loading import counts, load, records
from metering import counted, families, faults
from serving import Api, free_port, serving
from webhooks import STATUS, signature, status_form

from broadcaster.domain.record import State
from broadcaster.telemetry.metric import Role

if TYPE_CHECKING:
    from pathlib import Path


LANE = "+15550000001"
#: As Twilio's list words them.
ENDS = {
    "undelivered": State.UNDELIVERED,
    "failed": State.FAILED,
    "delivered": State.DELIVERED,
    "sent": State.SENT,
}


async def only_webhooks_are_served(api: Api) -> None:
    assert (await api.client.get("/v1/broadcasts")).status_code == 404
    assert (await api.client.get(STATUS)).status_code == 405
    form = status_form("SM" + "0" * 32, "sent")
    assert (await api.client.post(STATUS, data=form)).status_code == 403
    signed = {"X-Twilio-Signature": signature(api.url + STATUS, form, "simulator")}
    assert (await api.client.post(STATUS, data=form, headers=signed)).status_code == 204


async def test_the_ledger_ends_as_twilio_says(tmp_path: Path) -> None:
    total = 300
    port = free_port()
    config: dict[str, Any] = {
        "senders": {LANE: 1000.0},
        "callback_shuffle": True,
        "callback_jitter_ms": 100.0,
        "callback_duplicates": 0.2,
        "callback_early": 0.05,
        "callback_extras": 0.1,
        "delivery_failures": {"30003": 0.05, "30005": 0.03, "30007": 0.02},
        "no_receipts": 0.1,
        "delivery_seconds": 0.2,
    }
    async with deployment(tmp_path, workers=0, **config) as run:
        public = {"BROADCASTER_PUBLIC_URL": f"http://127.0.0.1:{port}"}
        ours = {n: v for n, v in run.environment.items() if n.startswith(("TWILIO_", "BROADCASTER_"))}
        async with serving(run.store, options=["--only", "webhooks"], port=port, **ours, **public) as api:
            await only_webhooks_are_served(api)
            run.start_worker(**public)
            bid = await load(run.store, {LANE: total}, batch=64)
            await run.settled(bid, 30)

            told = (await run.simulator.http.get("/_simulator/callbacks?wait=40", timeout=60)).json()
            assert (told["pending"], told["failed"], api.process.poll()) == (0, 0, None)
            assert told["duplicates"] > 0
            assert told["early"] > 0
            finals = await run.simulator.lines("finals")
            assert len(finals) == total
            ends = Counter(ENDS[line["final"]] for line in finals)
            assert await counts(run.store, bid) == ends
            ledger = (await records(run.store, bid)).values()
            assert Counter(one.state for one in ledger) == ends
            assert {(one.sid, one.code) for one in ledger} == {(f["sid"], f["code"] or 0) for f in finals}
            await metrics_say_so(run, api, ends, Counter(str(one.code) for one in ledger if one.code))


async def metrics_say_so(run: Deployment, api: Api, ends: Counter[State], codes: Counter[str]) -> None:
    """What both processes show is what the catalogue says of their roles, and the ledger's truth."""
    (port,) = re.findall(r'"metrics_port": (\d+)', run.logs())
    async with httpx.AsyncClient(trust_env=False) as http:
        worker = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
    ours = (await api.client.get("/metrics")).text
    assert faults(worker, Role.WORKER, senders=[LANE]) == []
    assert faults(ours, Role.API, routes=[STATUS, "/readyz", "-"]) == []
    ((clock, ahead),) = families(worker)["broadcaster_clock_skew_seconds"]
    assert clock == {"clock": "redis"}
    assert abs(ahead) < 5, "it is this host's"
    sent = counted(worker, "broadcaster_messages_total", "outcome")
    assert sent == {"accepted": sum(ends.values())}
    assert counted(worker, "broadcaster_segments_total", "sender") == {LANE: sum(ends.values())}
    told = {state.label: n for state, n in ends.items() if state is not State.SENT}
    assert counted(ours, "broadcaster_deliveries_total", "state") == told
    assert counted(ours, "broadcaster_failures_total", "code") == codes
    assert counted(ours, "broadcaster_callback_lag_seconds_count", "le") == {"": sum(ends.values())}
    assert counted(ours, "broadcaster_redis_errors_total", "operation") == {}
