"""The low-rate client against the simulator, and against answers that are not Twilio's."""

from __future__ import annotations

import time
from collections import Counter
from email.utils import formatdate
from typing import TYPE_CHECKING, Final

import pytest
from faulty import CA_PEM, SID, Visit, answer, serving, tls_context

from broadcaster.domain.failures import Kind
from broadcaster.simulator.config import ACCOUNT_SID, SERVICE_SID, ServiceConfig, SimulatorConfig
from broadcaster.simulator.server import Simulator, running_simulator
from broadcaster.twilio.forms import FormTemplate
from broadcaster.twilio.rest import TwilioError, TwilioRest, TwilioUnreachable
from broadcaster.twilio.send import MessageSender

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

AUTH: Final = (ACCOUNT_SID, "simulator")
FROM: Final = "+14155550006"
POOL: Final = ("+14155550006", "12345", "ALERTS", "whatsapp:+14155238886")


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    config = SimulatorConfig(services={SERVICE_SID: ServiceConfig(senders=POOL, smart_encoding=True)})
    async with running_simulator(config) as simulator:
        yield simulator


@pytest.fixture
async def rest(simulator: Simulator) -> AsyncIterator[TwilioRest]:
    async with TwilioRest(ACCOUNT_SID, AUTH, simulator.url) as rest:
        yield rest


async def send(simulator: Simulator, *recipients: str, **options: str) -> list[str]:
    template = FormTemplate([("From", FROM), *options.items()])
    sids = []
    async with MessageSender(ACCOUNT_SID, AUTH, simulator.url) as sender:
        for to in recipients:
            outcome = await sender.post(template.encode(to, "Hi é & 👍"))
            assert outcome.kind is Kind.ACCEPTED, outcome
            sids.append(outcome.sid or "")
    return sids


async def test_a_sent_message_can_be_fetched(simulator: Simulator, rest: TwilioRest) -> None:
    [sid] = await send(simulator, "+14155550100")
    message = await rest.fetch(sid)
    assert (message.sid, message.to, message.from_) == (sid, "+14155550100", FROM)
    assert message.body == "Hi é & 👍"
    assert message.direction == "outbound-api"
    assert message.created_seconds is not None
    assert "415" not in repr(message)
    assert "Hi" not in repr(message)


async def test_a_message_that_is_not_there_is_an_error_with_twilios_code(rest: TwilioRest) -> None:
    with pytest.raises(TwilioError, match="20404") as caught:
        await rest.fetch("SM" + "0" * 32)
    assert (caught.value.status, caught.value.code) == (404, 20404)


async def test_listing_follows_pages_to_the_end(simulator: Simulator, rest: TwilioRest) -> None:
    numbers = [f"+1415555{n:04}" for n in range(100, 125)]
    sids = await send(simulator, *numbers)
    listed = [message.sid async for message in rest.list_messages(page_size=10)]
    assert Counter(listed) == Counter(sids)
    pages = [page async for page in rest.message_pages(page_size=10)]
    assert [len(page.messages) for page in pages] == [10, 10, 5]


async def test_listing_by_recipient(simulator: Simulator, rest: TwilioRest) -> None:
    sids = await send(simulator, "+14155550100", "+14155550101", "+14155550100")
    listed = {message.sid async for message in rest.list_messages(to="+14155550100", from_=FROM)}
    assert listed == {sids[0], sids[2]}


async def test_a_page_that_fails_is_raised_not_taken_for_the_end(
    simulator: Simulator, rest: TwilioRest
) -> None:
    await send(simulator, *(f"+1415555{n:04}" for n in range(1, 5)))
    simulator.configure(list_fail_from_page=1)
    with pytest.raises(TwilioError) as caught:
        _ = [message async for message in rest.list_messages(page_size=2)]
    assert caught.value.status == 500


async def test_redact_empties_the_body_and_delete_removes(
    simulator: Simulator, rest: TwilioRest, wait_until: Callable[..., Awaitable[object]]
) -> None:
    simulator.configure(senders={FROM: 1000.0}, delivery_seconds=0.01)
    [sid] = await send(simulator, "+14155550100")

    async def delivered() -> bool:
        return (await rest.fetch(sid)).status == "delivered"

    await wait_until(delivered)
    assert (await rest.redact(sid)).body == ""
    await rest.delete(sid)
    with pytest.raises(TwilioError, match="20404"):
        await rest.fetch(sid)


async def test_cancel_is_for_scheduled_messages(simulator: Simulator, rest: TwilioRest) -> None:
    [sid] = await send(simulator, "+14155550100")
    with pytest.raises(TwilioError) as caught:
        await rest.cancel(sid)
    assert caught.value.code == 30409


async def test_a_services_pool_names_every_kind_of_sender(rest: TwilioRest) -> None:
    assert Counter(await rest.service_pool(SERVICE_SID)) == Counter(POOL)
    service = await rest.service(SERVICE_SID)
    assert (service.sid, service.smart_encoding) == (SERVICE_SID, True)
    with pytest.raises(TwilioError):
        await rest.service_pool("MG" + "9" * 32)


async def test_credentials_are_checked(simulator: Simulator, rest: TwilioRest) -> None:
    await rest.check_credentials()
    async with TwilioRest(ACCOUNT_SID, (ACCOUNT_SID, "wrong"), simulator.url) as stranger:
        with pytest.raises(TwilioError) as caught:
            await stranger.check_credentials()
    assert (caught.value.status, caught.value.code) == (401, 20003)


async def test_the_account_says_whether_it_is_a_trial(simulator: Simulator, rest: TwilioRest) -> None:
    assert not (await rest.account()).is_trial
    simulator.configure(account_type="Trial")
    assert (await rest.account()).is_trial


async def test_ownership_of_numbers(simulator: Simulator, rest: TwilioRest) -> None:
    simulator.configure(any_sender=False)
    assert await rest.owns_number("+14155550006") is True
    assert await rest.owns_number("+14155559999") is False
    assert await rest.owns_number("ALERTS") is None
    assert await rest.owns_number("whatsapp:+14155238886") is None


# ---- what is not Twilio


def client(url: str) -> TwilioRest:
    return TwilioRest("AC0", ("AC0", "hunter2"), url, root_pem=CA_PEM)


async def test_no_server_is_unreachable() -> None:
    async with client("http://127.0.0.1:1") as rest:
        with pytest.raises(TwilioUnreachable, match=r"127\.0\.0\.1:1"):
            await rest.check_credentials()


async def test_a_connection_that_breaks_is_unreachable() -> None:
    async def close(visit: Visit) -> None:
        await visit.reader.readuntil(b"\r\n\r\n")

    async with serving(close) as (url, _), client(url) as rest:
        with pytest.raises(TwilioUnreachable):
            await rest.fetch(SID)


@pytest.mark.parametrize("status", ["200 OK", "302 Found", "403 Forbidden", "502 Bad Gateway"])
async def test_html_is_an_error_with_its_status(status: str) -> None:
    async def html(visit: Visit) -> None:
        await visit.reader.readuntil(b"\r\n\r\n")
        visit.send(answer(status, b"<html>hello</html>", "Location: /elsewhere"))

    async with serving(html, tls_context()) as (url, seen), client(url) as rest:
        with pytest.raises(TwilioError) as caught:
            await rest.check_credentials()
    assert (caught.value.status, caught.value.code) == (int(status[:3]), 0)
    assert status[:3] in str(caught.value)
    assert seen.connections == 1


async def test_the_next_page_is_only_asked_of_the_same_host() -> None:
    paths: list[str] = []

    async def pages(visit: Visit) -> None:
        for following in ('"https://elsewhere.invalid/2010-04-01/next.json?Page=1"', "null"):
            head = await visit.reader.readuntil(b"\r\n\r\n")
            paths.append(head.decode().split(" ")[1])
            body = b'{"messages":[{"sid":"SM1"}],"next_page_uri":' + following.encode() + b"}"
            visit.send(answer("200 OK", body))

    async with serving(pages) as (url, _), client(url) as rest:
        assert [message.sid async for message in rest.list_messages(to="+1 4")] == ["SM1", "SM1"]
    assert paths == [
        "/2010-04-01/Accounts/AC0/Messages.json?To=%2B1+4&PageSize=1000",
        "/2010-04-01/next.json?Page=1",
    ]


async def test_the_servers_clock_is_read_from_its_answers() -> None:
    async def ahead(visit: Visit) -> None:
        for _ in range(2):
            await visit.reader.readuntil(b"\r\n\r\n")
            date = "Date: " + formatdate(time.time() + 100, usegmt=True)
            visit.send(answer("200 OK", b'{"messages":[],"next_page_uri":null}', date))

    async with serving(ahead) as (url, _), client(url) as rest:
        skew = await rest.check_credentials()
        assert skew is not None
        assert 98 < skew < 102
        [page] = [page async for page in rest.message_pages()]
        assert page.server_seconds is not None
        assert page.server_seconds - time.time() > 90


async def test_secrets_and_messages_of_twilio_stay_out_of_what_is_printed() -> None:
    async with client("http://127.0.0.1:1") as rest:
        assert "hunter2" not in repr(rest)
    error = TwilioError(400, 21211, "The 'To' number +14155550100 is not valid")
    assert "4155550100" not in str(error)
    assert "invalid" in str(error)
