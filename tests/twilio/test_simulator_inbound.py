"""What people write to the simulator: the inbound webhook, answers, and Twilio's own opt-outs."""

from __future__ import annotations

import json
import time
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from simulator_api import GOOD, SENDER, TO, Api, api_of, recipients, without
from test_simulator_client import SCHEMAS, official_client, run
from webhook_receiver import receiving

from broadcaster.simulator.config import SERVICE_SID, NumberConfig, ServiceConfig

TOLL_FREE = "+18885550100"
SHORT_CODE = "72345"
SERVED = without("From", MessagingServiceSid=SERVICE_SID)
NOBODY = "http://127.0.0.1:9/nobody"


def pooled(*senders: str, **more: Any) -> dict[str, Any]:
    return {"services": {SERVICE_SID: ServiceConfig(senders=senders, **more)}}


async def writes(api: Api, body: str, to: str = SENDER, person: str = TO, **more: Any) -> dict[str, Any]:
    answer = await api.http.post("/_simulator/inbound", json={"from": person, "to": to, "body": body} | more)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def sends(api: Api, **form: Any) -> int:
    """Send; return Twilio's code, 0 where it was accepted."""
    code: int = (await api.post(**form)).json().get("code", 0)
    return code


async def test_a_text_is_received_told_and_answered() -> None:
    second = b"<Message><Body>and</Body><Media>u</Media></Message>"
    twiml = b"<Response><Message>thanks</Message>" + second + b"</Response>"
    async with receiving(body=twiml) as receiver, api_of(inbound_url=f"{receiver.url}/in") as api:
        before = time.monotonic() * 1000
        found = await writes(api, "hello & \u00e9")
        assert before < found["answered_ms"] < time.monotonic() * 1000
        (hook,) = receiver.hooks
        assert (hook.method, hook.target, hook.valid) == ("POST", "/in", True)
        told = hook.params
        assert (told["From"], told["To"], told["Body"]) == (TO, SENDER, "hello & \u00e9")
        assert told["MessageSid"] == told["SmsSid"] == told["SmsMessageSid"] == found["sid"]
        assert (told["NumMedia"], told["NumSegments"], told["FromCity"]) == ("0", "1", "")
        assert not {"MessageStatus", "OptOutType", "MessagingServiceSid"} & set(told)
        assert (found["status"], found["twiml"]) == (200, twiml.decode())
        replies = [(reply["body"], reply["media"]) for reply in found["replies"]]
        assert replies == [("thanks", []), ("and", ["u"])]

        shown = await api.get(found["sid"])
        assert (shown["direction"], shown["status"], shown["from"]) == ("inbound", "received", TO)
        api.at(api.simulator.world.now() + 10)
        listed = (await api.page(To=TO))["messages"]
        assert {(message["direction"], message["status"]) for message in listed} == {
            ("outbound-reply", "delivered")
        }
        assert [message["sid"] for message in (await api.page(From=TO))["messages"]] == [found["sid"]]
        assert [message["sid"] for message in (await api.page(To=SENDER))["messages"]] == [found["sid"]]
        for message in [shown, *listed]:
            jsonschema.validate(message, SCHEMAS["message"])
        (line,) = (await api.http.get("/_simulator/inbound")).text.splitlines()
        assert json.loads(line)["sid"] == found["sid"]
        assert api.simulator.counts()["accepted"] == 0


async def test_media_places_and_buttons() -> None:
    async with receiving() as receiver, api_of(inbound_url=receiver.url) as api:
        file = {"url": "https://files.example/cat.png", "content_type": "image/png"}
        pictured = await writes(api, "", media=[file])
        told = receiver.hooks[0].params
        assert (told["NumMedia"], told["MediaContentType0"]) == ("1", "image/png")
        assert (await api.http.get(told["MediaUrl0"])).headers["location"] == file["url"]
        listed = await api.http.get(f"{api.base}/Messages/{pictured['sid']}/Media.json")
        jsonschema.validate(listed.json(), SCHEMAS["media_page"])
        assert (await api.http.delete(f"{told['MediaUrl0']}.json")).status_code == 204
        assert (await api.http.get(told["MediaUrl0"])).status_code == 404

        place = {"latitude": -12.5, "longitude": 77, "label": "Home", "profile_name": "Eva"}
        more = {"button_text": "Yes", "button_payload": "y", "replied_to": "SM1", "parameters": {"New": "x"}}
        await writes(api, "", to=f"whatsapp:{SENDER}", person=f"whatsapp:{TO}", **place, **more)
        told = receiver.hooks[1].params
        assert (told["Latitude"], told["Longitude"], told["Label"]) == ("-12.5", "77.0", "Home")
        assert (told["ProfileName"], told["WaId"]) == ("Eva", TO[1:])
        assert (told["ButtonText"], told["ButtonPayload"], told["New"]) == ("Yes", "y", "x")
        assert told["OriginalRepliedMessageSid"] == "SM1"
        assert all(hook.valid for hook in receiver.hooks)


async def test_whose_url_is_asked() -> None:
    async with receiving() as receiver:
        url = receiver.url
        numbers = {TOLL_FREE: NumberConfig(sms_url=f"{url}/number?a=1", sms_method="GET")}
        pool = pooled(SENDER, TOLL_FREE, inbound_request_url=f"{url}/service")
        async with api_of(inbound_url=f"{url}/default", numbers=numbers, **pool) as api:
            await writes(api, "x", to=TOLL_FREE)
            assert receiver.hooks[-1].params["MessagingServiceSid"] == SERVICE_SID
            own = pooled(TOLL_FREE, inbound_request_url=f"{url}/service", use_inbound_webhook_on_number=True)
            api.simulator.configure(**own)
            await writes(api, "x", to=TOLL_FREE)
            await writes(api, "x", to=SENDER)
            asked = [(hook.method, hook.target.partition("&")[0]) for hook in receiver.hooks]
            assert [path.partition("=")[0] for _, path in asked] == ["/service", "/number?a", "/default"]
            assert [method for method, _ in asked] == ["POST", "GET", "POST"]
            assert all(hook.valid and hook.params["Body"] == "x" for hook in receiver.hooks)


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"statuses": [500, 500]}, {"status": 500, "tries": 1}),
        ({"body": b"<Response><Message>"}, {"status": 200, "error": 12100}),
        ({"body": b"<html/>"}, {"status": 200, "error": 12100}),
        ({"body": b""}, {"status": 200, "error": 0}),
    ],
)
async def test_answers_that_are_no_twiml(answers: dict[str, Any], expected: dict[str, Any]) -> None:
    async with receiving(**answers) as receiver, api_of(inbound_url=receiver.url) as api:
        found = await writes(api, "x")
        assert found["replies"] == []
        assert {name: found[name] for name in expected} == expected


async def test_nobody_answers_and_bad_requests() -> None:
    async with api_of(inbound_url=NOBODY) as api:
        found = await writes(api, "x")
        assert (found["status"], found["failure"], found["tries"]) == (0, "ct", 2)
        for bad in ({"from": TO}, {"from": TO, "to": SENDER, "text": "x"}):
            assert (await api.http.post("/_simulator/inbound", json=bad)).status_code == 400
        api.simulator.configure(inbound_url="nothing")
        wrong = {"from": TO, "to": SENDER}
        assert (await api.http.post("/_simulator/inbound", json=wrong)).status_code == 400


async def test_stop_and_start_on_a_long_code() -> None:
    async with api_of() as api:
        assert (await writes(api, "stop please"))["replies"] == []
        assert await sends(api, **GOOD) == 0
        (reply,) = (await writes(api, " Stop\n"))["replies"]
        assert "START" in reply["body"]
        assert (await writes(api, "UNSUBSCRIBE"))["replies"] == []  # it is stopped already
        refused = await api.post(**GOOD)
        assert (refused.status_code, refused.json()["code"]) == (400, 21610)
        assert await sends(api, **GOOD | {"From": "+14155550198"}) == 0
        assert await sends(api, **GOOD | {"To": recipients(1)[0]}) == 0
        assert (await api.http.get("/_simulator/optouts")).json() == {SENDER: [TO]}
        assert len((await writes(api, "yes"))["replies"]) == 1
        assert await sends(api, **GOOD) == 0
        assert len((await writes(api, "help"))["replies"]) == 1


async def test_a_reply_to_somebody_who_stopped_fails() -> None:
    twiml = b"<Response><Message>bye</Message></Response>"
    async with receiving(body=twiml) as receiver, api_of(inbound_url=receiver.url) as api:
        confirmation, reply = (await writes(api, "STOP"))["replies"]
        assert confirmation["error_code"] is None
        assert (reply["body"], reply["status"], reply["error_code"]) == ("bye", "failed", 21610)


async def test_a_service_is_one_scope() -> None:
    async with receiving() as receiver:
        pool = pooled(SENDER, TOLL_FREE, SHORT_CODE, advanced_opt_out=True)
        async with api_of(inbound_url=receiver.url, **pool) as api:
            assert len((await writes(api, "STOP", to=SHORT_CODE))["replies"]) == 1
            assert receiver.hooks[-1].params["OptOutType"] == "STOP"
            assert await sends(api, **SERVED) == 21610
            assert await sends(api, **GOOD) == 21610
            assert await sends(api, **GOOD | {"From": "+14155550198"}) == 0
            await writes(api, "START", to=SENDER)
            assert receiver.hooks[-1].params["OptOutType"] == "START"
            assert await sends(api, **SERVED) == 0
            await writes(api, "x", to=SENDER)
            assert "OptOutType" not in receiver.hooks[-1].params


@pytest.mark.parametrize(
    ("to", "person", "words", "refused"),
    [
        (TOLL_FREE, TO, ["STOP", "YES"], True),
        (TOLL_FREE, TO, ["STOP", "UNSTOP"], False),
        (SHORT_CODE, TO, ["STOP"], False),
        (f"whatsapp:{SENDER}", f"whatsapp:{TO}", ["STOP"], False),
    ],
)
async def test_senders_differ(to: str, person: str, words: list[str], refused: bool) -> None:  # noqa: FBT001
    async with api_of() as api:
        for word in words:
            await writes(api, word, to=to, person=person)
        assert await sends(api, To=person, From=to, Body="x") == (21610 if refused else 0)


async def test_many_write_at_once_and_deleting_what_they_wrote() -> None:
    async with receiving() as receiver, api_of(inbound_url=receiver.url) as api:
        crowd = [{"from": person, "to": SENDER, "body": "x"} for person in recipients(30)]
        found = (await api.http.post("/_simulator/inbound", json=crowd)).json()
        assert {answer["status"] for answer in found} == {200}
        assert {hook.params["MessageSid"] for hook in receiver.hooks} == {answer["sid"] for answer in found}
        path = f"{api.base}/Messages/{found[0]['sid']}.json"
        assert (await api.http.post(path, data={"Body": ""})).json()["body"] == ""
        assert (await api.http.delete(path)).status_code == 204
        assert (await api.http.get(path)).status_code == 404
        assert len((await api.page(PageSize=1000))["messages"]) == 29
        assert (await api.http.get("/_simulator/outcomes")).json()["inbound"] == 30


async def test_an_audience_answers_by_itself() -> None:
    async with receiving() as receiver:
        config = {"inbound_url": receiver.url, "reply_share": 0.4, "stop_share": 0.3, "reply_seconds": 0.05}
        async with api_of(**config) as api:
            for to in recipients(40):
                await api.made(**GOOD | {"To": to})
            world = api.simulator.world
            while len(world.conversation.heard) < len(receiver.hooks) or len(receiver.hooks) < 15:
                assert (await api.http.get("/_simulator/health")).is_success
            bodies = [hook.params["Body"] for hook in receiver.hooks]
            assert {"STOP"} < set(bodies)
            stopped = (await api.http.get("/_simulator/optouts")).json()[SENDER]
            assert set(stopped) < set(recipients(40))


async def test_numbers_and_services_show_their_urls() -> None:
    url = "https://broadcaster.example/webhooks/twilio/inbound"
    numbers = {
        SENDER: NumberConfig(sms_url=url, status_callback=f"{url}/voice"),
        SHORT_CODE: NumberConfig(sms_url=url),
    }
    set_up = {
        "inbound_request_url": url,
        "status_callback": f"{url}/s",
        "use_inbound_webhook_on_number": True,
    }
    pool = pooled(SENDER, **set_up)
    async with api_of(numbers=numbers, any_sender=False, senders={TOLL_FREE: 3.0}, **pool) as api:
        page = (await api.http.get(f"{api.base}/IncomingPhoneNumbers.json")).json()
        rows = page["incoming_phone_numbers"]
        for row in rows:
            jsonschema.validate(row, SCHEMAS["incoming_phone_number"])
        assert {row["phone_number"]: row["sms_url"] for row in rows} == {SENDER: url, TOLL_FREE: None}
        one = await api.http.get(rows[0]["uri"])
        assert one.json() == rows[0]
        absent = await api.http.get(f"{api.base}/IncomingPhoneNumbers/PN{'0' * 21}14155550111.json")
        assert absent.status_code == 404
        service = (await api.http.get(f"/v1/Services/{SERVICE_SID}")).json()
        jsonschema.validate(service, SCHEMAS["service"])
        assert (service["inbound_request_url"], service["status_callback"]) == (url, f"{url}/s")
        assert service["use_inbound_webhook_on_number"] is True
        async with official_client(api.simulator) as client:
            owned = await run(lambda: client.incoming_phone_numbers.list(phone_number=SENDER))
            shown = [(number.sms_url, number.sms_method, number.status_callback) for number in owned]
            assert shown == [(url, "POST", f"{url}/voice")]
            codes = await run(client.api.accounts(str(client.account_sid)).short_codes.list)
            assert [(code.short_code, code.sms_url) for code in codes] == [(SHORT_CODE, url)]
