"""What the simulator keeps of a message and what it forgets; whom a trial account may write to."""

from __future__ import annotations

import jsonschema  # type: ignore[import-untyped]
import pytest
from simulator_api import GOOD, SENDER, TO, api_of, without
from test_simulator_client import SCHEMAS, official_client, run

from broadcaster.simulator.config import SERVICE_SID, TEMPLATE_SID, ServiceConfig, TemplateConfig


async def test_media_are_listed_as_they_were_given() -> None:
    urls = ["https://example.org/a.jpg?x=1", "https://example.org/b.pdf", "https://example.org/c"]
    async with api_of() as api:
        made = await api.made(**GOOD, MediaUrl=urls)
        page = await api.http.get(f"{api.base}/Messages/{made['sid']}/Media.json")
        jsonschema.validate(page.json(), SCHEMAS["media_page"])
        media = page.json()["media_list"]
        types = ["image/jpeg", "application/pdf", "application/octet-stream"]
        assert [one["content_type"] for one in media] == types
        files = [await api.http.get(one["uri"].removesuffix(".json")) for one in media]
        assert [(file.status_code, file.headers["location"]) for file in files] == [
            (307, url) for url in urls
        ]
        assert (await api.http.delete(media[1]["uri"])).status_code == 204
        left = (await api.http.get(f"{api.base}/Messages/{made['sid']}/Media.json")).json()["media_list"]
        assert [one["sid"] for one in left] == [media[0]["sid"], media[2]["sid"]]


async def test_a_discarded_body_is_there_until_it_is_sent() -> None:
    async with api_of(senders={SENDER: 0.1}) as api:
        made = await api.made(**GOOD, ContentRetention="discard")
        assert made["body"] == "hi"
        api.at(api.simulator.accepted[0].ends_at)
        assert (await api.get(made["sid"]))["body"] == ""
        assert (await api.page())["messages"][0]["body"] == ""
        assert api.simulator.accepted[0].body == "hi"


async def test_an_obfuscated_address_is_found_until_it_is_sent() -> None:
    async with api_of(senders={SENDER: 0.1}) as api:
        await api.made(**GOOD, AddressRetention="obfuscate")
        assert (await api.page(To=TO))["messages"][0]["to"] == TO
        api.at(api.simulator.accepted[0].ends_at)
        assert (await api.page(To=TO))["messages"] == []
        (shown,) = (await api.page())["messages"]
        assert (shown["to"], shown["from"]) == ("+1415555XXXX", SENDER)


async def test_a_service_fills_a_template_when_it_has_chosen_the_sender() -> None:
    pool = {SERVICE_SID: ServiceConfig(senders=(SENDER,))}
    templates = {TEMPLATE_SID: TemplateConfig(body="Hi")}
    async with api_of(services=pool, templates=templates, choose_sender_seconds=5) as api:
        named = await api.made(**without("Body", ContentSid=TEMPLATE_SID))
        made = await api.made(
            **without("Body", "From", MessagingServiceSid=SERVICE_SID, ContentSid=TEMPLATE_SID)
        )
        assert (named["body"], made["body"]) == ("Hi", "")
        api.at(api.simulator.accepted[1].ends_at)
        assert (await api.get(made["sid"]))["body"] == "Hi"


async def test_a_trial_sends_to_verified_numbers_and_lists_them() -> None:
    other = "+14155550101"
    async with (
        api_of(account_type="Trial", verified=(TO, other), caller_names={TO: "Ann"}) as api,
        official_client(api.simulator) as client,
    ):
        listed = await run(lambda: client.outgoing_caller_ids.list(page_size=1))
        assert [(one.phone_number, one.friendly_name) for one in listed] == [(TO, "Ann"), (other, other)]
        assert all(str(one.sid).startswith("PN") for one in listed)
        one = await run(lambda: client.outgoing_caller_ids.list(phone_number=other))
        assert [row.phone_number for row in one] == [other]
        by_name = await run(lambda: client.outgoing_caller_ids.list(friendly_name="Ann"))
        assert [row.phone_number for row in by_name] == [TO]
        await api.made(**GOOD)
        await api.made(To=f"whatsapp:{TO}", From=f"whatsapp:{SENDER}", Body="hi")
        refused = await api.post(**GOOD | {"To": "+14155550102"})
        assert (refused.status_code, refused.json()["code"]) == (400, 21608)


@pytest.mark.parametrize(
    ("path", "form", "status", "code"),
    [
        (".json", {"Body": "other"}, 400, 20422),
        (".json", {"Status": "sent"}, 400, 20422),
        (".json", {"Status": "canceled"}, 409, 30409),
        ("/Feedback.json", {"Outcome": "maybe"}, 400, 20422),
    ],
)
async def test_updates_that_twilio_refuses(path: str, form: dict[str, str], status: int, code: int) -> None:
    async with api_of() as api:
        made = await api.made(**GOOD)
        answer = await api.http.post(f"{api.base}/Messages/{made['sid']}{path}", data=form)
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert (await api.get(made["sid"]))["body"] == "hi"
