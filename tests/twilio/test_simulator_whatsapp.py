"""WhatsApp at the simulator: the 24-hour window, templates, the sandbox, who can't be reached, senders."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from simulator_api import SENDER, TO, Api, api_of
from test_simulator_client import official_client, run
from webhook_receiver import receiving

from broadcaster.simulator.config import (
    SERVICE_SID,
    TEMPLATE_SID,
    ServiceConfig,
    TemplateConfig,
    WhatsAppSenderConfig,
)

FROM = f"whatsapp:{SENDER}"
PERSON = f"whatsapp:{TO}"
SANDBOX = "whatsapp:+14155238886"
TEXT = {"To": PERSON, "From": FROM, "Body": "hi"}
BY_TEMPLATE = {"To": PERSON, "From": FROM, "ContentSid": TEMPLATE_SID}
NOON = 1_800_000_000.0
DAY = 86_400.0


def template(**fields: Any) -> dict[str, Any]:
    """Return a world with one template and the window kept."""
    given = {"body": "Hi {{1}}", "variables": {"1": "you"}} | fields
    return {"templates": {TEMPLATE_SID: TemplateConfig(**given)}, "whatsapp_window": True}


async def writes(api: Api, body: str = "hello", *, to: str = FROM, person: str = PERSON) -> dict[str, Any]:
    answer = await api.http.post("/_simulator/inbound", json={"from": person, "to": to, "body": body})
    found: dict[str, Any] = answer.json()
    return found


async def ends(api: Api, form: dict[str, Any]) -> tuple[str, int | None]:
    """Send; return the status and code in which the message ends."""
    made = await api.made(**form)
    now = api.simulator.world.now()
    api.at(api.simulator.accepted[-1].ends_at + 1)
    found = await api.get(made["sid"])
    api.at(now)
    assert (found["date_sent"] is None) == (found["status"] == "failed")
    return found["status"], found["error_code"]


DELIVERED = ("delivered", None)
CLOSED = ("undelivered", 63016)


async def test_free_text_needs_a_window_that_the_person_opens() -> None:
    async with api_of(whatsapp_window=True) as api:
        api.at(NOON)
        assert await ends(api, TEXT) == CLOSED
        assert await ends(api, TEXT | {"Body": "", "MediaUrl": "https://example.org/a.png"}) == CLOSED
        assert await ends(api, TEXT | {"To": TO, "From": SENDER}) == DELIVERED  # a text message
        await writes(api)
        assert await ends(api, TEXT) == DELIVERED
        assert await ends(api, TEXT | {"From": "whatsapp:+14155550198"}) == CLOSED  # another sender's
        assert await ends(api, TEXT | {"To": "whatsapp:+14155550101"}) == CLOSED  # another person's
        api.at(NOON + DAY - 60)
        left = (await api.http.get("/_simulator/windows")).json()
        assert left == {FROM: {PERSON: 60.0}}
        assert await ends(api, TEXT) == DELIVERED
        api.at(NOON + DAY)
        assert (await api.http.get("/_simulator/windows")).json() == {}
        assert await ends(api, TEXT) == CLOSED


async def test_a_window_that_closes_while_the_message_waits() -> None:
    async with api_of(whatsapp_window=True, senders={FROM: 0.1}) as api:
        api.at(NOON)
        await writes(api)
        api.at(NOON + DAY - 15)
        assert await ends(api, TEXT) == DELIVERED  # leaves after ten seconds
        assert await ends(api, TEXT) == CLOSED  # after twenty


async def test_a_person_who_writes_opens_it_for_what_is_scheduled() -> None:
    pool = {SERVICE_SID: ServiceConfig(senders=(FROM,))}
    async with api_of(whatsapp_window=True, services=pool) as api:
        api.at(NOON)
        later = datetime.fromtimestamp(NOON + 3600, UTC).isoformat()
        form = {"To": PERSON, "MessagingServiceSid": SERVICE_SID, "Body": "hi"}
        made = await api.made(**form, ScheduleType="fixed", SendAt=later)
        api.at(NOON + 1800)
        await writes(api)
        api.at(NOON + 7200)
        assert (await api.get(made["sid"]))["status"] == "delivered"


@pytest.mark.parametrize(
    ("fields", "ended", "inside"),
    [
        ({}, DELIVERED, DELIVERED),
        ({"status": "pending"}, CLOSED, DELIVERED),
        ({"status": "received"}, CLOSED, DELIVERED),
        ({"status": "unsubmitted"}, CLOSED, DELIVERED),
        ({"status": "rejected"}, ("failed", 63040), ("failed", 63040)),
        ({"status": "paused"}, ("failed", 63041), ("failed", 63041)),
        ({"status": "disabled"}, ("failed", 63042), ("failed", 63042)),
        ({"failure": 63027}, ("failed", 63027), ("failed", 63027)),
        ({"failure": 63053}, ("undelivered", 63053), ("undelivered", 63053)),
        ({"types": {"twilio/location": {"latitude": 1, "longitude": 2}}, "variables": {}}, CLOSED, DELIVERED),
        ({"body": "x" * 1025, "variables": {}}, ("undelivered", 63021), ("undelivered", 63021)),
        ({"variables": {}}, ("undelivered", 63028), ("undelivered", 63028)),
        ({"category": "MARKETING"}, ("undelivered", 63049), ("undelivered", 63049)),
    ],
)
async def test_a_template_outside_the_window_and_inside(
    fields: dict[str, Any], ended: tuple[str, int | None], inside: tuple[str, int | None]
) -> None:
    async with api_of(**template(**fields), withholds_us_marketing=True) as api:
        assert await ends(api, BY_TEMPLATE) == ended
        await writes(api)
        assert await ends(api, BY_TEMPLATE) == inside
        as_text = await ends(api, BY_TEMPLATE | {"To": TO, "From": SENDER})
        assert as_text == DELIVERED, "texts need nobody's approval"


@pytest.mark.parametrize(
    ("variables", "ended"),
    [
        ({"1": "Ann"}, DELIVERED),
        ({"2": "Ann"}, ("undelivered", 63028)),
        ({"1": "Ann", "2": "Bo"}, ("undelivered", 63028)),
    ],
)
async def test_a_templates_variables(variables: dict[str, str], ended: tuple[str, int | None]) -> None:
    async with api_of(**template()) as api:
        form = BY_TEMPLATE | {"ContentVariables": json.dumps(variables)}
        assert await ends(api, form) == ended


async def test_the_sandbox_delivers_to_whom_joined() -> None:
    async with receiving() as receiver, api_of(sandbox_code="happy-tiger", inbound_url=receiver.url) as api:
        api.at(NOON)
        form = TEXT | {"From": SANDBOX}
        assert await ends(api, form) == ("failed", 63015)
        assert not (await writes(api, "join sad-tiger", to=SANDBOX))["answered_by_twilio"]
        assert await ends(api, form) == ("failed", 63015)
        joined = await writes(api, " Join happy-tiger", to=SANDBOX)
        assert joined["answered_by_twilio"]
        assert len(joined["replies"]) == 1
        assert [hook.params["Body"] for hook in receiver.hooks] == ["join sad-tiger"]
        assert await ends(api, form) == DELIVERED
        waits = api.simulator.world.queue(SANDBOX).waiting(NOON)
        assert waits == pytest.approx(4), "one in three seconds: three messages and a reply"
        api.at(NOON + 3 * DAY)
        assert await ends(api, form) == ("failed", 63015)
        await writes(api, "join happy-tiger", to=SANDBOX)
        await writes(api, "Stop", to=SANDBOX)
        assert await ends(api, form) == ("failed", 63015)


async def test_who_is_not_on_whatsapp() -> None:
    absent = {"+1415556": 63024, TO: 63003}
    async with api_of(not_on_whatsapp=absent) as api:
        assert await ends(api, TEXT) == ("failed", 63003)
        assert await ends(api, TEXT | {"To": "whatsapp:+14155560001"}) == ("undelivered", 63024)
        assert await ends(api, TEXT | {"To": "whatsapp:+14155570001"}) == DELIVERED
        assert await ends(api, TEXT | {"To": TO, "From": SENDER}) == DELIVERED


async def test_a_location_is_a_message_of_its_own() -> None:
    async with api_of() as api:
        place = TEXT | {"PersistentAction": "geo:37.78,-122.42|Office"}
        assert await ends(api, place) == DELIVERED
        row = json.loads((await api.http.get("/_simulator/accepted")).text)
        assert (row["body"], row["actions"]) == ("hi", ["geo:37.78,-122.42|Office"])
        for wrong in ("geo:91,0", "geo:0,181", "geo:north", "37.7,-122.4"):
            assert await ends(api, place | {"PersistentAction": wrong}) == ("undelivered", 63030), wrong


async def test_one_file_a_message_and_files_that_fail() -> None:
    files = ["https://example.org/a.pdf", "https://example.org/b.png"]
    async with api_of(media_failures={"https://broken.": 63019}) as api:
        made = await api.made(**TEXT, MediaUrl=files)
        assert made["num_media"] == "1"
        broken = TEXT | {"MediaUrl": "https://broken.example/a.png"}
        assert await ends(api, broken) == ("undelivered", 63019)


async def test_a_messaging_limit_counts_people_written_to_first() -> None:
    tier = {FROM: WhatsAppSenderConfig(messaging_limit="2 Customers/24hr")}
    async with api_of(**template(), whatsapp_senders=tier, senders={FROM: 1000.0}) as api:
        api.at(NOON)
        people = [f"whatsapp:+1415555020{n}" for n in range(4)]
        await writes(api, person=people[3])
        found = [await ends(api, BY_TEMPLATE | {"To": to}) for to in (*people, people[0])]
        assert found == [DELIVERED, DELIVERED, ("undelivered", 63018), DELIVERED, DELIVERED]
        api.at(NOON + DAY + 1)
        assert await ends(api, BY_TEMPLATE | {"To": people[2]}) == DELIVERED


async def test_channel_senders_tell_quality_and_limit() -> None:
    tier = {FROM: WhatsAppSenderConfig(messaging_limit="1K Customers/24hr", quality_rating="LOW")}
    async with (
        api_of(whatsapp_senders=tier, senders={SANDBOX: 1.0, SENDER: 1.0}) as api,
        official_client(api.simulator) as client,
    ):
        found = await run(lambda: client.messaging.v2.channels_senders.list(channel="whatsapp", page_size=1))
        assert [(one.sender_id, one.status) for one in found] == [(FROM, "ONLINE"), (SANDBOX, "ONLINE")]
        assert found[0].properties["messaging_limit"] == "1K Customers/24hr"
        assert found[0].properties["quality_rating"] == "LOW"
        one = await run(lambda: client.messaging.v2.channels_senders(str(found[1].sid)).fetch())
        assert one.properties["messaging_limit"] == "10K Customers/24hr"
        assert await run(lambda: client.messaging.v2.channels_senders.list(channel="rcs")) == []
        for path, status, code in [
            ("/v2/Channels/Senders", 400, 20422),
            ("/v2/Channels/Senders/XE0", 404, 20404),
        ]:
            answer = await api.http.get(path)
            assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_an_unknown_sender_is_refused() -> None:
    async with api_of(any_sender=False) as api:
        refused = await api.post(**TEXT)
        assert (refused.status_code, refused.json()["code"]) == (400, 63007)
