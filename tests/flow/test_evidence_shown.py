"""What Twilio's list must and must not be taken for: late, half read, showing a message as something else.

Nobody gets a status callback here; where one would bring the evidence, the test plays it. More of doubt:
`test_settle.py`, and with a clock of their own `tests/redis/test_settle_*.py`.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from deployment import Deployment, deployment
from loading import counts, load, number, records

import broadcaster.simulator.create as simulated_create
from broadcaster.domain.content import Content
from broadcaster.domain.record import Evidence, Record, State
from broadcaster.lanes import control
from broadcaster.ledger.pools import keep_pool
from broadcaster.ledger.settling import Found, accept
from broadcaster.reporting.messages import read_message
from broadcaster.simulator.config import (
    SERVICE_SID,
    TEMPLATE_SID,
    ServiceConfig,
    SimulatorConfig,
    TemplateConfig,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LANE = "+15550000001"
SMART_SERVICE = "MG00000000000000000000000000000002"
MEDIA_TEMPLATE = "HX00000000000000000000000000000002"
CURLY = "\u201cSale\u201d \u2013 it\u2019s on\u2026"
OPEN = (State.QUEUED, State.SENDING, State.RETRY, State.IN_DOUBT)


def patience(seconds: float, alone: float) -> dict[str, str]:
    """A worker's settings for looking that long."""
    return {
        "BROADCASTER_SETTLE_SECONDS": str(seconds),
        "BROADCASTER_SETTLE_ALONE_SECONDS": str(alone),
        "BROADCASTER_SETTLE_EVERY_SECONDS": "1",
    }


@asynccontextmanager
async def patient(
    folder: Path, environment: dict[str, str] | None = None, **config: Any
) -> AsyncIterator[Deployment]:
    """A deployment with one worker that has patience for a second or two, unless told otherwise."""
    async with deployment(folder, workers=0, **({"senders": {LANE: 1000.0}} | config)) as run:
        run.start_worker(**patience(1, 2) if environment is None else environment)
        yield run


async def end(run: Deployment, bid: str, seconds: float = 30) -> dict[State, int]:
    """Wait until nothing of a broadcast is open."""
    await run.until(lambda c: not any(c.get(s) for s in OPEN), bid, timeout=seconds)
    return await counts(run.store, bid)


async def ledger(run: Deployment, bid: str) -> list[Record]:
    """The records of a broadcast of one batch, in its order."""
    return list((await records(run.store, bid)).values())


async def sids(run: Deployment, to: str) -> list[str]:
    """The SIDs that Twilio has for somebody, in order of acceptance."""
    return [m["sid"] for m in await run.simulator.lines("accepted") if m["to"] == to]


async def call_back(run: Deployment, bid: str, row: int, attempt: int, sid: str) -> int:
    """Play the status callback of one attempt; returns the duplicates that it shows."""
    found = Found(LANE, bid, "0.0", row, attempt, sid, State.DELIVERED)
    return (await run.store.run(accept([found], Evidence.CALLBACK))).caused


async def metrics(run: Deployment) -> str:
    """What the worker's metrics page says."""
    (port,) = re.findall(r'"metrics_port": (\d+)', run.logs())
    async with httpx.AsyncClient(trust_env=False) as http:
        return (await http.get(f"http://127.0.0.1:{port}/metrics")).text


# -- a list that shows what it has much later


@pytest.mark.parametrize(
    ("lag", "environment"),
    [
        pytest.param(1.5, patience(2.5, 3), marks=pytest.mark.slow, id="short"),
        pytest.param(30.0, {}, marks=[pytest.mark.slow, pytest.mark.timeout(300)], id="30 s, our own times"),
    ],
)
async def test_a_list_that_lags_costs_nobody_a_second_message(
    tmp_path: Path, lag: float, environment: dict[str, str]
) -> None:
    ends = ("drop_after", "unavailable_after", "drop_before")
    faults = {number(i): {"fault": fault, "tries": 1} for i, fault in enumerate(ends)}
    async with deployment(
        tmp_path, workers=0, senders={LANE: 1000.0}, recipients=faults, list_lag_seconds=lag
    ) as run:
        for name in () if environment else patience(0, 0):
            run.environment.pop(name, None)
        run.start_worker(**environment)
        began = time.monotonic()
        bid = await load(run.store, {LANE: 6})
        assert await end(run, bid, 240) == {State.ACCEPTED: 6}
        assert time.monotonic() - began > lag
        assert await run.simulator.accepted() == {number(i): 1 for i in range(6)}
        found = await ledger(run, bid)
        assert [(r.attempt, r.evidence) for r in found[:3]] == [
            (1, Evidence.LIST), (1, Evidence.LIST), (2, Evidence.NONE),
        ]  # fmt: skip


# -- a list that can't be read to its end


@pytest.mark.slow  # in the default tests: test_settle, a list that is not whole
@pytest.mark.parametrize("status", [500, 429])
async def test_half_a_reading_proves_no_absence_but_what_it_shows_is_there(
    tmp_path: Path, status: int
) -> None:
    """So many are in doubt that the account's list is read, two pages, of which the second is refused."""
    doubtful = range(0, 1_200, 15)
    faults = {number(i): {"fault": "drop_before" if i % 60 else "drop_after", "tries": 1} for i in doubtful}
    refused: dict[str, Any] = {
        "list_fail_from_page": -1,
        "list_fail_status": status,
        "retry_after_seconds": 1,
    }
    async with patient(tmp_path, recipients=faults, **refused) as run:
        bid = await load(run.store, {LANE: 1_200}, rates={LANE: 2_000.0}, batch=1_200)
        await run.until(lambda c: c == {State.ACCEPTED: 1_120, State.IN_DOUBT: 80}, bid)
        await run.simulator.configure(list_fail_from_page=1)
        missing = {number(i) for i in doubtful if i % 60}
        began = time.monotonic()
        while time.monotonic() - began < 3.5:  # absence would count after 1 or 2
            assert (await counts(run.store, bid)).get(State.IN_DOUBT, 0) >= len(missing)
        assert not missing & (await run.simulator.accepted()).keys()
        refusals = [line for line in run.logs().splitlines() if '"list.unread"' in line]
        assert str(status) in refusals[0]
        await run.simulator.configure(list_fail_from_page=0)
        assert await end(run, bid) == {State.ACCEPTED: 1_200}
        assert await run.simulator.accepted() == {number(i): 1 for i in range(1_200)}


# -- evidence that comes when a newer attempt has begun


@pytest.mark.slow
async def test_evidence_of_attempt_1_while_attempt_2_waits_drops_that(tmp_path: Path) -> None:
    """Also where attempt 2 has been refused: they got it once, and the record says so."""
    faults = {number(0): ["drop_after"], number(1): ["drop_after", "21614"]}
    async with patient(tmp_path, recipients=faults, list_lag_seconds=1000) as run:
        bid = await load(run.store, {LANE: 2})
        await run.until(lambda c: c == {State.IN_DOUBT: 2}, bid)
        await run.store.run(control.pause_lane(LANE, "a test"))
        await run.until(lambda c: c == {State.RETRY: 2}, bid)
        (first,) = await sids(run, number(0))
        assert await call_back(run, bid, 0, 1, first) == 0
        await run.store.run(control.resume_lane(LANE))
        await run.until(lambda c: c == {State.DELIVERED: 1, State.DEAD: 1}, bid)
        assert [r.attempt for r in await ledger(run, bid)] == [1, 2]
        (second,) = await sids(run, number(1))
        assert [await call_back(run, bid, 1, 1, second) for _ in range(2)] == [0, 0]
        assert await counts(run.store, bid) == {State.DELIVERED: 2}
        assert [r.sid for r in await ledger(run, bid)] == [first, second]
        assert await run.simulator.accepted() == {number(0): 1, number(1): 1}
        told = await read_message(run.store, f"{bid}.0.0.1")
        assert told is not None
        assert [(a.attempt, a.state.label, a.evidence) for a in told[1]] == [
            (1, "in_doubt", ""), (1, "retry", "absent"), (2, "dead", ""), (1, "delivered", "callback"),
        ]  # fmt: skip


@pytest.mark.slow
async def test_evidence_of_attempt_1_during_attempt_2_is_a_duplicate_that_is_shouted(tmp_path: Path) -> None:
    """Once by its callback while attempt 2 is in flight, once by the list while that is in doubt."""
    faults = {number(0): ["drop_after"], number(1): ["drop_after", "drop_after"]}
    # patient enough for the list to be let up before attempt 2 is given up, too
    async with patient(tmp_path, patience(3, 5), recipients=faults, list_lag_seconds=1000) as run:
        bid = await load(run.store, {LANE: 2})
        await run.until(lambda c: c == {State.IN_DOUBT: 2}, bid)
        await run.simulator.configure(latency_ms=4_000)
        while [r.attempt for r in await ledger(run, bid)] != [2, 2]:
            assert "Traceback" not in run.logs()
            await asyncio.sleep(0.02)
        await run.simulator.configure(list_lag_seconds=0)
        first, *_ = await sids(run, number(0))
        assert [await call_back(run, bid, 0, 1, first) for _ in range(2)] == [1, 0]
        assert await end(run, bid) == {State.ACCEPTED: 2}
        found = await ledger(run, bid)
        assert [(r.attempt, r.sid) for r in found] == [(2, (await sids(run, number(i)))[1]) for i in (0, 1)]
        errors = [line for line in run.logs().splitlines() if '"duplicate.caused"' in line]
        assert len(errors) == 1, "the list's; the callback's is told to its teller"
        named = json.loads(errors[0])
        assert named["level"] == "error"
        both = await sids(run, number(1))
        assert [named[key] for key in ("broadcast", "batch", "row")] == [bid, "0.0", 1]
        assert [named[key] for key in ("attempt", "sid", "other", "other_sid")] == [1, both[0], 2, both[1]]
        assert "broadcaster_duplicates_caused_total 1.0" in await metrics(run)


# -- each way in which Twilio shows a message differently

#: What the simulator's settings and a request's parameters change about what the list shows, and what not.
SETTINGS = {"account_type", "services", "templates", "clock_skew_seconds", "list_nulls", "list_lag_seconds",
            "choose_sender_seconds", "list_fail_from_page", "list_fail_status", "nulls_pass_date_filters",
            "senders", "queue_seconds"}  # fmt: skip
OTHERS = {"account_sid", "token", "secondary_token", "api_keys", "test_account_sid", "test_token",
          "account_status", "verified", "any_sender", "magic_numbers",
          "seed", "faults", "recipients", "sender_faults", "connection_faults",
          "refuse_every_seconds", "refuse_for_seconds", "delivery_failures", "concurrency_limit",
          "retry_after_seconds", "keep_alive_seconds", "latency_ms", "latency_jitter_ms",
          "slow_body_seconds", "accept_delay_seconds", "delivery_seconds", "tells_concurrency",
          # what is told of a message, and what people write, is no part of how the list shows it
          "callbacks", "callback_concurrency", "callback_delay_ms", "callback_jitter_ms", "callback_shuffle",
          "callback_sending", "callback_duplicates", "callback_early", "callback_lost", "callback_extras",
          "no_receipts", "reads", "read_seconds", "numbers", "inbound_url", "reply_share", "stop_share",
          "reply_seconds", "denied", "verify_services", "verify_seconds", "verify_recipients",
          "caller_names", "whatsapp_window", "whatsapp_senders", "not_on_whatsapp", "withholds_us_marketing",
          "sandbox_code", "media_failures"}  # fmt: skip
OF_A_SERVICE = {"senders", "friendly_name", "smart_encoding", "link_domain", "validity_period",
                "status_callback", "inbound_request_url", "use_inbound_webhook_on_number",
                "advanced_opt_out"}  # fmt: skip
OF_A_TEMPLATE = {"body", "variables", "media", "types",
                 # what WhatsApp thinks of it is no part of how the list shows a message
                 "friendly_name", "language", "status", "name", "category", "rejection_reason", "failure",
                 "date_created", "date_updated"}  # fmt: skip
PARAMETERS = {"Body", "ContentSid", "ContentVariables", "MessagingServiceSid", "ShortenUrls", "SmartEncoded",
              "To", "From", "ValidityPeriod", "StatusCallback",
              "ContentRetention", "AddressRetention"}  # fmt: skip

CONTENTS: dict[str, tuple[dict[str, Any], str]] = {
    "plain": ({"body": "hello"}, LANE),
    "a service that has chosen no sender": ({"body": "hello"}, SERVICE_SID),
    "smart encoding asked for": ({"body": CURLY, "options": {"SmartEncoded": "true"}}, LANE),
    "smart encoding of the service": ({"body": CURLY}, SMART_SERVICE),
    "shortened links": (
        {"body": "see https://example.com/a", "options": {"ShortenUrls": "true"}},
        SERVICE_SID,
    ),
    "a template": ({"content_sid": TEMPLATE_SID}, LANE),
    "a template's variables": ({"content_sid": TEMPLATE_SID, "content_variables": {"1": "you"}}, SERVICE_SID),
    "a template with media": ({"content_sid": MEDIA_TEMPLATE}, LANE),
    "media": ({"body": "look", "media_urls": ("https://example.com/a.png",)}, LANE),
    "media alone": ({"media_urls": ("https://example.com/a.png",)}, SERVICE_SID),
    "addresses obfuscated": ({"body": "hello", "options": {"AddressRetention": "obfuscate"}}, LANE),
    "the body not kept": ({"body": "hello", "options": {"ContentRetention": "discard"}}, LANE),
}
WORLDS: dict[str, dict[str, Any]] = {
    "a trial account, clock behind": {
        "account_type": "Trial",
        "choose_sender_seconds": 0.1,
        "clock_skew_seconds": -40,
    },
    "nothing sent, unsent last, clock ahead": {
        "choose_sender_seconds": 60,
        "list_nulls": "last",
        "senders": {LANE: 0.001},
        "clock_skew_seconds": 40,
    },
}
SERVICES = {
    SERVICE_SID: {"senders": ["+15005550006"]},
    SMART_SERVICE: {"senders": ["+15005550006"], "smart_encoding": True},
}
TEMPLATES = {
    TEMPLATE_SID: {"body": "Hi {{1}}", "variables": {"1": "there"}},
    MEDIA_TEMPLATE: {"body": "Look", "media": ["https://example.com/a.png"]},
}


def test_no_way_of_showing_a_message_is_forgotten() -> None:
    """Whoever teaches the simulator another one is sent here: add it above."""
    assert set(SimulatorConfig.__struct_fields__) <= SETTINGS | OTHERS
    assert set(ServiceConfig.__struct_fields__) <= OF_A_SERVICE
    assert set(TemplateConfig.__struct_fields__) <= OF_A_TEMPLATE
    source = Path(simulated_create.__file__).read_text(encoding="utf-8")
    read = set(re.findall(r'fields(?:\.get\(|\[)"(\w+)"', source))
    assert read <= PARAMETERS, "what changes a message's text, sender or SID"


@pytest.mark.slow
@pytest.mark.parametrize("world", WORLDS)
async def test_however_it_is_shown_it_is_found_and_its_absence_too(tmp_path: Path, world: str) -> None:
    """Of each content's two people one got it without our hearing of it, the other did not."""
    faults = {
        number(i): {"fault": ("drop_after", "drop_before")[i % 2], "tries": 1}
        for i in range(2 * len(CONTENTS))
    }
    config = {"services": SERVICES, "templates": TEMPLATES} | WORLDS[world]
    async with patient(tmp_path, recipients=faults, **config) as run:
        for service in SERVICES:  # as intake does
            await run.store.run(keep_pool(service, (), 1))
        bids = [
            await load(run.store, {lane: 2}, content=Content(**content), first=2 * i)
            for i, (content, lane) in enumerate(CONTENTS.values())
        ]
        for bid, name in zip(bids, CONTENTS, strict=True):
            held = name == "addresses obfuscated"  # there the list proves no absence
            hidden = held and world.startswith("a trial account")  # where all is sent at once
            told = await end(run, bid)
            missing = 2 if hidden else 1 if held else 0
            assert told.get(State.DEAD, 0) == missing, name
            assert told.get(State.ACCEPTED, 0) == 2 - missing, name
            got, missed = await ledger(run, bid)
            if hidden:  # once it is sent, the list shows it under no address that could be asked for
                assert got.evidence is missed.evidence is Evidence.POLICY, name
                continue
            assert got.evidence is Evidence.LIST, name
            assert missed.evidence is (Evidence.POLICY if held else Evidence.NONE), name
            assert str(got.sid).startswith("MM" if "media" in name else "SM"), name
        expected = {number(i): 1 for i in range(2 * len(CONTENTS))}
        del expected[number(2 * list(CONTENTS).index("addresses obfuscated") + 1)]
        assert await run.simulator.accepted() == expected
