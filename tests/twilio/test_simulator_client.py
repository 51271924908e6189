"""Twilio's own Python client against the simulator: nothing is changed in it but the host name."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import jsonschema  # type: ignore[import-untyped]
import pytest
from twilio.base.exceptions import TwilioRestException  # type: ignore[import-untyped]
from twilio.rest import Client  # type: ignore[import-untyped]

from broadcaster.simulator.config import SERVICE_SID, ServiceConfig, SimulatorConfig
from broadcaster.simulator.server import running_simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from broadcaster.simulator.server import Simulator

SENDER = "+14155550199"
#: Property names, types, patterns and enums of Twilio's OpenAPI files; every property is required here.
SCHEMAS: dict[str, Any] = json.loads((Path(__file__).parent / "simulator_schemas.json").read_text())
FAST = SimulatorConfig(senders={SENDER: 1000.0}, choose_sender_seconds=60, delivery_seconds=0)


@asynccontextmanager
async def official_client(simulator: Simulator) -> AsyncIterator[Client]:
    client = Client(simulator.world.config.account_sid, simulator.world.config.token)
    for product in (client.api, client.messaging, client.content, client.verify):
        product.base_url = simulator.url
    try:
        yield client
    finally:
        client.http_client.session.close()


async def run(call: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(call)


async def test_official_client_creates_fetches_lists_updates_and_deletes() -> None:
    async with running_simulator(FAST) as simulator, official_client(simulator) as client:
        api = client.messages
        made = await run(lambda: api.create(to="+14155550100", from_=SENDER, body="Grüße & more"))
        assert made.sid
        assert made.sid.startswith("SM")
        assert (made.status, made.body, made.num_segments) == ("queued", "Grüße & more", "1")

        simulator.world.now = lambda: simulator.accepted[0].ends_at + 1
        fetched = await run(lambda: api(made.sid).fetch())
        assert fetched.status == "delivered"
        assert fetched.date_sent is not None
        assert fetched.date_created == made.date_created

        await run(lambda: api.create(to="+14155550101", from_=SENDER, body="other"))
        listed = await run(lambda: api.list(to="+14155550100"))
        assert [message.sid for message in listed] == [made.sid]

        redacted = await run(lambda: api(made.sid).update(body=""))
        assert redacted.body == ""
        assert simulator.accepted[0].body == "Grüße & more"

        assert await run(lambda: api(made.sid).delete())
        with pytest.raises(TwilioRestException) as gone:
            await run(lambda: api(made.sid).fetch())
        assert (gone.value.status, gone.value.code) == (404, 20404)


async def test_official_client_pages_through_a_long_list() -> None:
    async with running_simulator(FAST) as simulator, official_client(simulator) as client:
        for number in range(25):
            await run(lambda n=number: client.messages.create(to=f"+1415555{n:04d}", from_=SENDER, body="x"))  # type: ignore[misc]
        listed = await run(lambda: client.messages.list(page_size=10))
        assert len({message.sid for message in listed}) == 25


async def test_official_client_cancels_a_scheduled_message() -> None:
    config = SimulatorConfig(services={SERVICE_SID: ServiceConfig(senders=(SENDER,))})
    async with running_simulator(config) as simulator, official_client(simulator) as client:
        made = await run(
            lambda: client.messages.create(
                to="+14155550100",
                messaging_service_sid=SERVICE_SID,
                body="later",
                schedule_type="fixed",
                send_at=datetime.now(UTC) + timedelta(hours=1),
            )
        )
        assert made.status == "scheduled"
        canceled = await run(lambda: client.messages(str(made.sid)).update(status="canceled"))
        assert canceled.status == "canceled"
        with pytest.raises(TwilioRestException) as late:
            await run(lambda: client.messages(str(made.sid)).update(status="canceled"))
        assert late.value.code == 30409


async def test_official_client_reads_the_pool_and_the_account() -> None:
    senders = (SENDER, "+14155550198", "72345", "Acme", "whatsapp:+14155550197")
    config = SimulatorConfig(account_type="Trial", services={SERVICE_SID: ServiceConfig(senders=senders)})
    async with running_simulator(config) as simulator, official_client(simulator) as client:
        service = client.messaging.v1.services(SERVICE_SID)
        numbers = await run(service.phone_numbers.list)
        codes = await run(service.short_codes.list)
        alphas = await run(service.alpha_senders.list)
        channels = await run(service.channel_senders.list)
        assert [number.phone_number for number in numbers] == [SENDER, "+14155550198"]
        assert [code.short_code for code in codes] == ["72345"]
        assert [alpha.alpha_sender for alpha in alphas] == ["Acme"]
        assert [channel.sender for channel in channels] == ["whatsapp:+14155550197"]
        account = await run(lambda: client.api.accounts(str(client.account_sid)).fetch())
        assert (account.type, account.status) == ("Trial", "active")
        owned = await run(lambda: client.incoming_phone_numbers.list(phone_number=SENDER))
        assert [number.phone_number for number in owned] == [SENDER]


async def test_answers_have_the_shape_of_the_openapi_file() -> None:
    config = SimulatorConfig(
        senders={SENDER: 1000.0}, services={SERVICE_SID: ServiceConfig(senders=(SENDER, "72345", "A"))}
    )
    async with running_simulator(config) as simulator:
        account = f"/2010-04-01/Accounts/{config.account_sid}"
        auth = (config.account_sid, config.token)
        async with httpx.AsyncClient(base_url=simulator.url, auth=auth) as http:
            plain = {
                "To": "+14155550100",
                "From": SENDER,
                "Body": "hi",
                "MediaUrl": "https://example.org/a.jpg",
            }
            pooled = {"To": "+14155550101", "MessagingServiceSid": SERVICE_SID, "Body": "hi"}
            made = [await http.post(f"{account}/Messages.json", data=form) for form in (plain, pooled)]
            assert [answer.status_code for answer in made] == [201, 201]
            sid = made[0].json()["sid"]
            assert sid.startswith("MM")
            simulator.world.now = lambda: simulator.accepted[1].ends_at + 1
            message = f"{account}/Messages/{sid}"
            answers = {
                "message": [
                    *made,
                    await http.get(f"{message}.json"),
                    await http.post(f"{message}.json", data={"Body": ""}),
                ],
                "message_page": [
                    await http.get(f"{account}/Messages.json"),
                    await http.get(f"{account}/Messages.json?PageSize=1"),
                ],
                "media_page": [await http.get(f"{message}/Media.json")],
                "feedback": [await http.post(f"{message}/Feedback.json", data={"Outcome": "unconfirmed"})],
                "service": [await http.get(f"/v1/Services/{SERVICE_SID}")],
                "phone_numbers": [await http.get(f"/v1/Services/{SERVICE_SID}/PhoneNumbers")],
                "short_codes": [await http.get(f"/v1/Services/{SERVICE_SID}/ShortCodes")],
                "alpha_senders": [await http.get(f"/v1/Services/{SERVICE_SID}/AlphaSenders")],
            }
        for name, found in answers.items():
            for answer in found:
                assert answer.is_success
                jsonschema.validate(answer.json(), SCHEMAS[name])
