"""The send path against the simulator: outcomes agree with what the other side has."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from broadcaster.domain.failures import Kind, Outcome
from broadcaster.simulator.config import ACCOUNT_SID, SimulatorConfig
from broadcaster.simulator.faults import FAULTS
from broadcaster.simulator.server import running_simulator
from broadcaster.twilio.engine import Timeouts
from broadcaster.twilio.forms import FormTemplate
from broadcaster.twilio.send import MessageSender

AUTH = (ACCOUNT_SID, "simulator")
FROM = "+14155550006"
TIMEOUTS = Timeouts(connect=1, read=1.5, total=3, pool=30)
UNTIL_NOW = frozenset({"late_accept"})  # takes longer than a test may


async def test_under_every_fault_the_outcomes_are_true() -> None:
    """Sent says sent, certainly not sent is not there, and only doubt may be either."""
    names = sorted(set(FAULTS) - UNTIL_NOW)
    share = 0.8 / len(names)
    config = SimulatorConfig(
        faults=dict.fromkeys(names, share), connection_faults=0.05, refuse_every_seconds=0.2, seed=7
    )
    template = FormTemplate([("From", FROM)])
    numbers = [f"+1415556{n:04}" for n in range(600)]
    async with running_simulator(config) as simulator:
        async with MessageSender(
            ACCOUNT_SID, AUTH, simulator.url, timeouts=TIMEOUTS, concurrency=32
        ) as sender:
            outcomes = await asyncio.gather(*(sender.post(template.encode(to, "x")) for to in numbers))
        there = Counter(message.to for message in simulator.accepted)
        sids = {message.to: message.sid for message in simulator.accepted}
    seen = Counter(outcome.kind for outcome in outcomes)
    assert set(seen) >= {Kind.ACCEPTED, Kind.REJECTED, Kind.THROTTLED, Kind.UNKNOWN}
    assert max(there.values()) == 1  # nothing is posted twice
    for to, outcome in zip(numbers, outcomes, strict=True):
        if outcome.kind is Kind.ACCEPTED:
            assert outcome.sid == sids[to]
        elif outcome.kind is not Kind.UNKNOWN:
            assert to not in there, outcome


async def test_a_server_that_refuses_connections_got_nothing() -> None:
    template = FormTemplate([("From", FROM)])
    async with running_simulator() as simulator:
        simulator.door.shut(60)
        async with MessageSender(ACCOUNT_SID, AUTH, simulator.url) as sender:
            outcome = await sender.post(template.encode("+14155560001", "x"))
        assert outcome.kind is Kind.NOT_SENT
        assert simulator.accepted == []


@pytest.mark.parametrize(
    ("sender_name", "to", "kind", "code"),
    [
        ("+15005550006", "+14155560001", Kind.ACCEPTED, 0),
        ("+15005550001", "+14155560001", Kind.REJECTED, 21212),
        ("+15005550008", "+14155560001", Kind.THROTTLED, 21611),
        ("+15005550006", "+15005550001", Kind.REJECTED, 21211),
        ("+15005550006", "+15005550002", Kind.REJECTED, 21612),
        ("+15005550006", "+15005550003", Kind.REJECTED, 21408),
        ("+15005550006", "+15005550004", Kind.REJECTED, 21610),
        ("+15005550006", "+15005550009", Kind.REJECTED, 21614),
    ],
)
async def test_twilios_magic_numbers(sender_name: str, to: str, kind: Kind, code: int) -> None:
    outcome = await send_one(sender_name, to, AUTH)
    assert (outcome.kind, outcome.code) == (kind, code)


async def test_refused_credentials() -> None:
    outcome = await send_one(FROM, "+14155560001", (ACCOUNT_SID, "wrong"))
    assert (outcome.kind, outcome.code, outcome.http_status) == (Kind.REJECTED, 20003, 401)


async def send_one(sender_name: str, to: str, auth: tuple[str, str]) -> Outcome:
    async with (
        running_simulator() as simulator,
        MessageSender(ACCOUNT_SID, auth, simulator.url) as sender,
    ):
        return await sender.post(FormTemplate([("From", sender_name)]).encode(to, "x"))
