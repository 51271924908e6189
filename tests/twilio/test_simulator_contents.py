"""The simulated Content API: templates, their approval, and what messages make of them."""

from __future__ import annotations

from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from simulator_api import Api, api_of, without
from test_simulator_client import SCHEMAS, official_client, run
from twilio.base.exceptions import TwilioRestException  # type: ignore[import-untyped]
from twilio.rest.content.v1.content import ContentList  # type: ignore[import-untyped]
from twilio.rest.content.v1.content.approval_create import ApprovalCreateList  # type: ignore[import-untyped]

from broadcaster.simulator.config import TEMPLATE_SID, TemplateConfig
from broadcaster.simulator.templates import placeholders

TEXT = {"language": "en", "types": {"twilio/text": {"body": "Hi {{1}}"}}, "variables": {"1": "you"}}
OFFER = {"name": "spring_offer", "category": "MARKETING"}
OTHER = "HX" + "9" * 32


async def decides(api: Api, sid: str, **fields: Any) -> None:
    answer = await api.http.post("/_simulator/templates", json={sid: fields})
    assert answer.status_code == 200, answer.text


async def test_the_official_client_makes_submits_and_deletes_a_template() -> None:
    async with api_of() as api, official_client(api.simulator) as client:
        contents = client.content.v1.contents
        asked = ContentList.ContentCreateRequest(
            {
                "friendly_name": "Hello",
                "language": "de",
                "variables": {"1": "du"},
                "types": ContentList.Types({"twilio/text": {"body": "Hallo {{1}}"}}),
            }
        )
        made = await run(lambda: contents.create(asked))
        assert (made.friendly_name, made.language, made.variables) == ("Hello", "de", {"1": "du"})
        assert made.types == {"twilio/text": {"body": "Hallo {{1}}"}}

        approval = await run(lambda: contents(made.sid).approval_fetch().fetch())
        assert approval.whatsapp["status"] == "unsubmitted"
        wish = ApprovalCreateList.ContentApprovalRequest({"name": "hello", "category": "UTILITY"})
        submitted = await run(lambda: contents(made.sid).approval_create.create(wish))
        assert (submitted.status, submitted.category) == ("received", "UTILITY")
        await decides(api, made.sid, status="approved")
        approval = await run(lambda: contents(made.sid).approval_fetch().fetch())
        assert (approval.whatsapp["status"], approval.whatsapp["name"]) == ("approved", "hello")

        listed = await run(lambda: client.content.v1.content_and_approvals.list(page_size=1))
        assert [(one.sid, one.approval_requests["status"]) for one in listed] == [
            (TEMPLATE_SID, "approved"),
            (made.sid, "approved"),
        ]
        assert [one.sid for one in await run(lambda: contents.list(page_size=1))] == [TEMPLATE_SID, made.sid]
        assert await run(lambda: contents(made.sid).delete())
        with pytest.raises(TwilioRestException) as gone:
            await run(lambda: contents(made.sid).fetch())
        assert (gone.value.status, gone.value.code) == (404, 20404)


async def test_answers_have_the_shape_of_the_openapi_file() -> None:
    async with api_of() as api:
        made = await api.http.post("/v1/Content", json=TEXT)
        path = f"/v1/Content/{made.json()['sid']}"
        answers = [
            ("content", 201, made),
            ("content", 200, await api.http.put(path, json=TEXT | {"friendly_name": "n"})),
            ("content", 200, await api.http.get(path)),
            ("content_page", 200, await api.http.get("/v1/Content?PageSize=1")),
            ("content_and_approvals_page", 200, await api.http.get("/v1/ContentAndApprovals")),
            ("approval_fetch", 200, await api.http.get(f"{path}/ApprovalRequests")),
            ("approval_create", 201, await api.http.post(f"{path}/ApprovalRequests/whatsapp", json=OFFER)),
        ]
        for name, status, answer in answers:
            assert answer.status_code == status, answer.text
            jsonschema.validate(answer.json(), SCHEMAS[name])
        meta = answers[3][2].json()["meta"]
        assert meta["next_page_url"] == f"{api.simulator.url}/v1/Content?PageSize=1&Page=1"
        following = (await api.http.get(meta["next_page_url"])).json()
        assert following["meta"]["next_page_url"] is None
        assert [row["friendly_name"] for row in following["contents"]] == ["n"]


async def test_what_the_content_api_refuses() -> None:
    async with api_of() as api:
        made = (await api.http.post("/v1/Content", json=TEXT)).json()["sid"]
        place = {"language": "en", "types": {"twilio/location": {"latitude": 1, "longitude": 2}}}
        pin = (await api.http.post("/v1/Content", json=place)).json()["sid"]
        requests = [
            ("POST", "/v1/Content", b"{", 400, 20422),
            ("POST", "/v1/Content", {"types": TEXT["types"]}, 400, 20422),
            ("POST", "/v1/Content", {"language": "en", "types": {}}, 400, 20422),
            ("POST", "/v1/Content", TEXT | {"types": {"twilio/nothing": {}}}, 400, 20422),
            ("POST", "/v1/Content", TEXT | {"types": {"twilio/location": {"latitude": 1}}}, 400, 20422),
            ("POST", f"/v1/Content/{made}/ApprovalRequests/whatsapp", OFFER | {"name": "No!"}, 400, 20422),
            ("POST", f"/v1/Content/{made}/ApprovalRequests/whatsapp", OFFER | {"category": "x"}, 400, 20422),
            ("POST", f"/v1/Content/{TEMPLATE_SID}/ApprovalRequests/whatsapp", OFFER, 400, 92009),
            ("POST", f"/v1/Content/{pin}/ApprovalRequests/whatsapp", OFFER, 400, 20422),
            ("PUT", f"/v1/Content/{TEMPLATE_SID}", TEXT, 409, 20409),
            ("GET", f"/v1/Content/{OTHER}", None, 404, 20404),
            ("DELETE", f"/v1/Content/{OTHER}", None, 404, 20404),
            ("GET", "/v1/Content/HX1", None, 404, 20404),
            ("GET", "/v1/Content?PageSize=1001", None, 400, 20007),
        ]
        for method, path, body, status, code in requests:
            how = {"content": body} if isinstance(body, bytes) else {"json": body}
            answer = await api.http.request(method, path, **how)
            assert (answer.status_code, answer.json()["code"]) == (status, code), (method, path)
        nobody = await api.http.get("/v1/Content", auth=("AC", "x"))
        assert (nobody.status_code, nobody.json()["code"]) == (401, 20003)
        api.simulator.configure(denied={"/v1/Content": 20403})
        denied = await api.http.get(f"/v1/Content/{made}")
        assert (denied.status_code, denied.json()["code"]) == (403, 20403)


async def test_the_control_api_changes_makes_and_deletes_templates() -> None:
    async with api_of() as api:
        await decides(api, OTHER, types={"twilio/text": {"body": "x"}}, language="fr", status="pending")
        await decides(api, OTHER, status="rejected", rejection_reason="INVALID_FORMAT")
        shown = (await api.http.get("/_simulator/templates")).json()
        assert (shown[OTHER]["status"], shown[OTHER]["language"]) == ("rejected", "fr")
        approval = (await api.http.get(f"/v1/Content/{OTHER}/ApprovalRequests")).json()["whatsapp"]
        assert (approval["status"], approval["rejection_reason"]) == ("rejected", "INVALID_FORMAT")
        wrong = await api.http.post("/_simulator/templates", json={OTHER: {"status": "lost"}})
        assert (wrong.status_code, "lost" in wrong.json()["error"]) == (400, True)
        await api.http.post("/_simulator/templates", json={OTHER: None})
        refused = await api.post(**without("Body", ContentSid=OTHER))
        assert (refused.status_code, refused.json()["code"]) == (400, 21655)


MANY = TemplateConfig(
    types={
        "twilio/text": {"body": "text {{1}}"},
        "twilio/media": {"body": "media {{1}}", "media": ["https://example.org/{{2}}.png"]},
        "twilio/location": {"latitude": 1.5, "longitude": 2, "label": "here {{1}}"},
    },
    variables={"1": "a"},
)


LOCATION = TemplateConfig(types={"twilio/location": {"latitude": 1, "longitude": 2, "label": "x"}})
CARD = TemplateConfig(types={"whatsapp/card": {"body": "c", "media": ["https://example.org/b"]}})
BOTH = TemplateConfig(types={"twilio/card": {"title": "t"}, "twilio/text": {"body": "b"}})


@pytest.mark.parametrize(
    ("template", "channel", "body", "media"),
    [
        (TemplateConfig(body="Hi {{ 1 }} {{2}}", variables={"1": "a"}), "", "Hi a ", "0"),
        (TemplateConfig(body="pic", media=("https://example.org/a.png",)), "whatsapp:", "pic", "1"),
        (MANY, "", "media a", "1"),
        (MANY, "whatsapp:", "media a", "1"),
        (LOCATION, "whatsapp:", "x", "0"),
        (CARD, "whatsapp:", "c", "1"),
        (BOTH, "", "b", "0"),
        (BOTH, "whatsapp:", "t", "0"),
    ],
)
async def test_a_message_takes_the_richest_type_of_its_channel(
    template: TemplateConfig, channel: str, body: str, media: str
) -> None:
    async with api_of(templates={TEMPLATE_SID: template}) as api:
        form = {"To": f"{channel}+14155550100", "From": f"{channel}+14155550199", "ContentSid": TEMPLATE_SID}
        made = await api.made(**form)
        assert (made["body"], made["num_media"]) == (body, media)


def test_placeholders_are_found_wherever_they_are() -> None:
    assert placeholders(MANY) == {"1", "2"}
