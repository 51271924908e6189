"""doctor on webhooks: where Twilio reports replies, beside where this installation takes them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.reporting.health import Check, Level, healthy
from broadcaster.reporting.health_webhooks import INBOUND_PATHS, check_inbound, check_public_url
from broadcaster.simulator.config import (
    ACCOUNT_SID,
    SERVICE_SID,
    NumberConfig,
    ServiceConfig,
    SimulatorConfig,
)
from broadcaster.simulator.server import Simulator, running_simulator
from broadcaster.twilio.rest import TwilioRest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TOKEN = "0123456789abcdef0123456789abcdef"
NUMBER, SHORT = "+14155550100", "72345"
PUBLIC = "https://sms.example.com"
HERE = PUBLIC + INBOUND_PATHS[0]


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    config = SimulatorConfig(token=TOKEN, any_sender=False, senders={NUMBER: 1.0, SHORT: 100.0})
    async with running_simulator(config) as running:
        yield running


async def inbound(simulator: Simulator, name: str, *, public: str = PUBLIC, token: str = TOKEN) -> Check:
    async with TwilioRest(ACCOUNT_SID, (ACCOUNT_SID, token), simulator.url) as rest:
        (found,) = await check_inbound(rest, {"TWILIO_PHONE_NUMBER": name}, public)
    assert found.name == f"replies to {name}"
    return found


@pytest.mark.parametrize(
    ("url", "method", "level", "found"),
    [
        (HERE, "POST", Level.OK, "arrive here"),
        (PUBLIC + INBOUND_PATHS[1], "POST", Level.OK, "arrive here"),
        (HERE + "#rc=5&rp=all", "POST", Level.OK, "arrive here"),
        (HERE + "?tenant=7#rc=5", "POST", Level.OK, "arrive here"),
        ("HTTPS://SMS.example.com:443" + INBOUND_PATHS[0], "POST", Level.OK, "arrive here"),
        (HERE, "GET", Level.WARN, "HTTP GET, which is refused"),
        (HERE + "/", "POST", Level.WARN, f"go to {HERE}/"),  # answered with 404
        (HERE.replace("inbound", "status"), "POST", Level.WARN, "go to "),
        (HERE.replace("https", "http"), "POST", Level.WARN, "go to http://"),
        (HERE.replace("example.com", "example.com:8443"), "POST", Level.WARN, "example.com:8443"),
        ("https://demo.twilio.com/welcome/sms/reply/", "POST", Level.WARN, "go to https://demo.twilio.com"),
        ("http://[broken", "POST", Level.WARN, "go to "),
        (None, "POST", Level.WARN, "they are lost"),
        ("", "POST", Level.WARN, "they are lost"),
    ],
)
async def test_a_number_s_address_is_compared_as_twilio_calls_it(
    simulator: Simulator, url: str | None, method: Any, level: Level, found: str
) -> None:
    simulator.configure(numbers={NUMBER: NumberConfig(sms_url=url, sms_method=method)})
    check = await inbound(simulator, NUMBER)
    assert (check.level, found in check.found) == (level, True), check
    assert (HERE in (check.advice or "")) == (level is Level.WARN)
    assert healthy([check])


async def test_what_is_secret_in_an_address_is_not_shown(simulator: Simulator) -> None:
    theirs = "https://ada:hunter2@old.example.com/sms?key=sesame"
    simulator.configure(numbers={NUMBER: NumberConfig(sms_url=theirs)})
    check = await inbound(simulator, NUMBER, public="https://ada:hunter2@sms.example.com")
    assert check.found == "go to https://old.example.com/sms"
    (public,) = check_public_url("https://ada:hunter2@sms.example.com", has_token=True)
    for text in (str(check), str(public)):
        assert not any(secret in text for secret in ("hunter2", "sesame"))


async def test_a_short_code_s_address_is_read_too(simulator: Simulator) -> None:
    simulator.configure(numbers={SHORT: NumberConfig(sms_url=HERE)})
    assert (await inbound(simulator, SHORT)).level is Level.OK


@pytest.mark.parametrize(
    ("service", "level", "found"),
    [
        (ServiceConfig(inbound_request_url=HERE), Level.OK, "arrive here"),
        (ServiceConfig(inbound_request_url="https://else.example/x"), Level.WARN, "go to https://else"),
        (ServiceConfig(), Level.WARN, "they are lost"),
        (
            ServiceConfig(inbound_request_url=HERE, use_inbound_webhook_on_number=True),
            Level.WARN,
            "each number of its pool",
        ),
    ],
    ids=["here", "elsewhere", "nowhere", "each-number"],
)
async def test_a_service_s_address(
    simulator: Simulator, service: ServiceConfig, level: Level, found: str
) -> None:
    simulator.configure(services={SERVICE_SID: service})
    check = await inbound(simulator, SERVICE_SID)
    assert (check.level, found in check.found) == (level, True), check


async def test_what_can_t_be_asked_is_said_so(simulator: Simulator) -> None:
    assert (await inbound(simulator, "ACME")).level is Level.OK
    for name in ("whatsapp:+14155238886", "whatsapp:+14155550101"):
        check = await inbound(simulator, name)
        assert (check.level, HERE in check.advice) == (Level.WARN, True)
    stranger = await inbound(simulator, "+14155559999")
    assert (stranger.level, "not a number of this account" in stranger.found) == (Level.WARN, True)
    wrong = await inbound(simulator, "no sender!")
    assert (wrong.level, "TWILIO_PHONE_NUMBER" in wrong.advice) == (Level.FAIL, True)
    refused = await inbound(simulator, NUMBER, token="x" * 32)
    assert (refused.level, "can't be checked" in refused.found) == (Level.WARN, True)


@pytest.mark.parametrize(
    ("url", "level", "found"),
    [
        (None, Level.WARN, "none is set"),
        (PUBLIC, Level.OK, PUBLIC),
        ("http://sms.example.com", Level.WARN, "not encrypted"),
        ("https://localhost:8080", Level.WARN, "can't be reached"),
        ("https://10.1.2.3", Level.WARN, "can't be reached"),
        ("https://[::1]", Level.WARN, "can't be reached"),
        ("https://api", Level.WARN, "can't be reached"),
    ],
)
def test_the_public_address(url: str | None, level: Level, found: str) -> None:
    (check,) = check_public_url(url, has_token=True)
    assert (check.level, found in check.found) == (level, True)


def test_without_the_token_every_webhook_is_refused() -> None:
    found = check_public_url(PUBLIC, has_token=False)
    assert [check.level for check in found] == [Level.FAIL, Level.OK]
    assert "TWILIO_AUTH_TOKEN" in found[0].advice
