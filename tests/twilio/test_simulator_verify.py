"""The simulated Verify: services, starting and checking, limits, and what it refuses."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from simulator_api import TO, Api, api_of
from test_simulator_client import SCHEMAS, official_client, run
from twilio.base.exceptions import TwilioRestException  # type: ignore[import-untyped]

from broadcaster.simulator.verify_settings import VERIFY_SID, RateLimit, VerifyServiceConfig

if TYPE_CHECKING:
    import httpx

SERVICE = f"/v2/Services/{VERIFY_SID}"
BY_SMS = {"To": TO, "Channel": "sms"}
TEMPLATE = "HJ" + "1" * 32
NOON = 1_800_000_000.0


async def starts(api: Api, **form: str) -> httpx.Response:
    return await api.http.post(f"{SERVICE}/Verifications", data=BY_SMS | form)


async def checks(api: Api, code: str, **form: str) -> httpx.Response:
    key = {} if "VerificationSid" in form else {"To": TO}
    return await api.http.post(f"{SERVICE}/VerificationCheck", data={"Code": code} | key | form)


async def sent(api: Api, to: str = TO) -> dict[str, Any]:
    """Return the newest verification of this address as the control API shows it, its code too."""
    found: dict[str, Any] = (await api.http.get("/_simulator/verifications", params={"To": to})).json()[-1]
    return found


def told(answer: httpx.Response) -> tuple[int, int]:
    return answer.status_code, answer.json().get("code", 0)


def of_service(**settings: Any) -> dict[str, Any]:
    return {"verify_services": {VERIFY_SID: VerifyServiceConfig(**settings)}}


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 10 ** len(code):0{len(code)}d}"


async def test_the_official_client_sets_starts_and_checks() -> None:
    async with api_of() as api, official_client(api.simulator) as client:
        services = client.verify.v2.services
        made = await run(
            lambda: services.create(friendly_name="Acme", code_length=8, custom_code_enabled=True)
        )
        assert (made.friendly_name, made.code_length, made.custom_code_enabled) == ("Acme", 8, True)
        changed = await run(lambda: services(made.sid).update(lookup_enabled=True))
        assert (changed.code_length, changed.lookup_enabled) == (8, True)
        listed = await run(lambda: services.list(page_size=1))
        assert [one.sid for one in listed] == [VERIFY_SID, made.sid]

        service = services(made.sid)
        begun = await run(lambda: service.verifications.create(to=TO, channel="sms", locale="de"))
        assert (begun.status, begun.valid, begun.channel) == ("pending", False, "sms")
        assert begun.lookup["carrier"]["type"] == "mobile"
        row = await sent(api)
        assert (len(row["code"]), row["sid"]) == (8, begun.sid)
        assert row["sent"][0]["text"] == f"Your Acme verification code is: {row['code']}"
        missed = await run(lambda: service.verification_checks.create(to=TO, code=wrong(row["code"])))
        assert (missed.status, missed.valid) == ("pending", False)
        hit = await run(lambda: service.verification_checks.create(to=TO, code=row["code"]))
        assert (hit.status, hit.valid, hit.sid) == ("approved", True, begun.sid)
        with pytest.raises(TwilioRestException) as gone:
            await run(lambda: service.verification_checks.create(to=TO, code=row["code"]))
        assert (gone.value.status, gone.value.code) == (404, 20404)
        assert await run(service.delete)
        with pytest.raises(TwilioRestException) as gone:
            await run(service.fetch)
        assert gone.value.code == 20404


async def test_answers_have_the_shape_of_the_openapi_file_and_never_the_code() -> None:
    async with api_of() as api:
        made = await api.http.post("/v2/Services", data={"FriendlyName": "x", "Push.IncludeDate": "true"})
        begun = await starts(api)
        one = f"{SERVICE}/Verifications/{begun.json()['sid']}"
        code = (await sent(api))["code"]
        answers = [
            ("verify_service", 201, made),
            ("verify_service", 200, await api.http.get(SERVICE)),
            ("verify_service", 200, await api.http.post(SERVICE, data={"CodeLength": "4"})),
            ("verify_service_page", 200, await api.http.get("/v2/Services?PageSize=1")),
            ("verification", 201, begun),
            ("verification", 200, await api.http.get(one)),
            ("verification", 200, await api.http.get(f"{SERVICE}/Verifications/{TO}")),
            ("verification_check", 201, await checks(api, wrong(code))),
            ("verification", 200, await api.http.post(one, data={"Status": "approved"})),
        ]
        for name, status, answer in answers:
            assert answer.status_code == status, answer.text
            jsonschema.validate(answer.json(), SCHEMAS[name])
            assert code not in answer.text.replace(TO, "").replace(begun.json()["sid"], "")
        assert made.json()["push"]["include_date"] is True
        assert answers[-1][2].json()["valid"] is True
        assert told(await api.http.get(one)) == (404, 20404)


async def test_starting_again_continues_with_the_same_code_five_times() -> None:
    async with api_of() as api:
        api.at(NOON)
        begun = [
            (await starts(api, Channel=channel)).json() for channel in ("sms", "call", "sms", "whatsapp")
        ]
        begun.append((await starts(api, Channel="auto")).json())
        assert len({one["sid"] for one in begun}) == 1
        assert [len(one["send_code_attempts"]) for one in begun] == [1, 2, 3, 4, 5]
        channels = [attempt["channel"] for attempt in begun[-1]["send_code_attempts"]]
        assert channels == ["SMS", "CALL", "SMS", "whatsapp", "SMS"]
        row = await sent(api)
        assert all(row["code"] in message["text"] for message in row["sent"])
        api.at(NOON + 90)
        sixth = await starts(api)
        assert told(sixth) == (429, 60203)
        assert sixth.headers["retry-after"] == "510"
        assert sixth.headers["twilio-reached-rate-limit"] == "send_attempts"
        api.at(NOON + 600)
        assert told(await checks(api, row["code"])) == (404, 20404)
        assert (await sent(api))["status"] == "expired"
        assert (await starts(api)).json()["sid"] != row["sid"]


async def test_five_wrong_codes_close_a_verification() -> None:
    async with api_of() as api:
        await starts(api)
        code = (await sent(api))["code"]
        for _ in range(5):
            missed = await checks(api, wrong(code))
            assert (missed.status_code, missed.json()["status"]) == (201, "pending")
        late = await checks(api, code)
        assert told(late) == (429, 60202)
        assert int(late.headers["retry-after"]) > 500
        assert (await api.http.get(f"{SERVICE}/Verifications/{TO}")).json()[
            "status"
        ] == "max_attempts_reached"
        canceled = await api.http.post(f"{SERVICE}/Verifications/{TO}", data={"Status": "canceled"})
        assert canceled.json()["status"] == "canceled"
        again = (await starts(api)).json()["sid"]
        assert (await checks(api, (await sent(api))["code"], VerificationSid=again)).json()["valid"] is True


async def test_sna_is_checked_by_the_number_alone() -> None:
    """`snaVerificationChecks` in Twilio's OpenAPI file: {"To": "+15017122661"}."""
    async with api_of() as api:
        await starts(api, Channel="sna")
        checked = await api.http.post(f"{SERVICE}/VerificationCheck", data={"To": TO})
        assert (checked.status_code, checked.json()["valid"]) == (201, True)
        await starts(api)
        lacking = await api.http.post(f"{SERVICE}/VerificationCheck", data={"To": TO})
        assert told(lacking) == (400, 60200)


async def test_two_starts_at_once_for_one_number() -> None:
    async with api_of(latency_ms=50) as api:
        answers = await asyncio.gather(starts(api), starts(api), starts(api, To="+14155550101"))
        assert sorted(told(answer) for answer in answers) == [(201, 0), (201, 0), (429, 60212)]


async def test_a_programmable_rate_limit_counts_by_its_value() -> None:
    limits = {"end_user_ip": RateLimit(max=2, interval=60)}
    async with api_of(**of_service(rate_limits=limits)) as api:
        api.at(NOON)
        for to, ip, expected in [
            ("+14155550101", "a", (201, 0)),
            ("+14155550102", "a", (201, 0)),
            ("+14155550103", "a", (429, 20429)),
            ("+14155550103", "b", (201, 0)),
        ]:
            answer = await starts(api, To=to, RateLimits=json.dumps({"end_user_ip": ip}))
            assert told(answer) == expected
            if expected[0] == 429:
                assert answer.headers["twilio-reached-rate-limit"] == "end_user_ip"
                assert answer.headers["retry-after"] == "60"
        api.at(NOON + 60)
        assert told(await starts(api, RateLimits='{"end_user_ip": "a"}')) == (201, 0)


async def test_what_a_service_allows() -> None:
    async with api_of(verify_recipients={"+14155550105": 60410}) as api:
        assert told(await starts(api, CustomCode="123456")) == (403, 60204)
        assert told(await starts(api, Amount="1", Payee="Ann")) == (403, 60204)
        assert told(await starts(api, To="+14155550105")) == (403, 60410)
        await api.http.post(
            SERVICE,
            data={"CustomCodeEnabled": "true", "Psd2Enabled": "True", "DoNotShareWarningEnabled": "true"},
        )
        form = {"CustomCode": "bluebird", "Amount": "1", "Payee": "Ann", "CustomFriendlyName": "Bank"}
        assert told(await starts(api, **form)) == (201, 0)
        (message,) = (await sent(api))["sent"]
        assert message["text"].startswith("Your Bank verification code is: bluebird. Don't share")
        assert (await checks(api, "bluebird")).json()["valid"] is False  # of another payment
        assert (await checks(api, "bluebird", Amount="1", Payee="Ann")).json()["valid"] is True
        hashed = await starts(api, AppHash="He42w354ol9")
        assert told(hashed) == (201, 0)
        assert "He42w354ol9" in (await sent(api))["sent"][0]["text"]


@pytest.mark.parametrize(
    "form",
    [
        {"To": "4155550100"},
        {"To": f"whatsapp:{TO}", "Channel": "whatsapp"},
        {"To": TO, "Channel": "email"},
        {"To": "a@example.org"},
        {"Channel": "pigeon"},
        {"Channel": ""},
        {"Locale": "klingon!"},
        {"CustomFriendlyName": "x" * 33},
        {"CustomCode": "123"},
        {"CustomCode": "12345678901"},
        {"Amount": "1"},
        {"SendDigits": "1"},
        {"AppHash": "short"},
        {"TemplateSid": "HX" + "1" * 32},
        {"DeviceIp": "999.1.1.1"},
        {"RiskCheck": "maybe"},
        {"Tags": "["},
        {"Tags": json.dumps({str(n): "" for n in range(11)})},
        {"Tags": json.dumps({"a": "x" * 129})},
        {"RateLimits": '{"unknown": "x"}'},
        {"ChannelConfiguration": "no"},
        {"TemplateCustomSubstitutions": "no"},
    ],
)
async def test_a_start_with_a_bad_parameter_is_refused(form: dict[str, str]) -> None:
    async with api_of() as api:
        answer = await starts(api, **form)
        assert told(answer) == (400, 60200)
        assert any(name in answer.json()["message"] for name in form)
        assert (await api.http.get("/_simulator/verifications")).json() == []


async def test_good_parameters_pass() -> None:
    async with api_of() as api:
        form = {
            "Locale": "pt-BR",
            "TemplateSid": TEMPLATE,
            "TemplateCustomSubstitutions": '{"name": "Ann"}',
            "DeviceIp": "2001:db8::1",
            "RiskCheck": "disable",
            "Tags": '{"campaign": "x"}',
        }
        assert told(await starts(api, **form)) == (201, 0)
        mail = {
            "To": "a@example.org",
            "Channel": "email",
            "ChannelConfiguration": '{"from": "b@example.org"}',
        }
        assert told(await starts(api, **mail)) == (201, 0)
        assert told(await starts(api, Channel="call", SendDigits="1ww2")) == (201, 0)


@pytest.mark.parametrize(
    "form",
    [
        {},
        {"FriendlyName": "x" * 33},
        {"FriendlyName": "x", "CodeLength": "3"},
        {"FriendlyName": "x", "CodeLength": "11"},
        {"FriendlyName": "x", "LookupEnabled": "maybe"},
        {"FriendlyName": "x", "SkipSmsToLandlines": "true"},
        {"FriendlyName": "x", "DefaultTemplateSid": "HX" + "1" * 32},
        {"FriendlyName": "x", "Totp.Skew": "3"},
    ],
)
async def test_a_bad_service_is_refused(form: dict[str, str]) -> None:
    async with api_of() as api:
        assert told(await api.http.post("/v2/Services", data=form)) == (400, 60200)


async def test_a_template_is_for_texts_and_calls() -> None:
    async with api_of() as api:
        assert told(await starts(api, Channel="whatsapp", TemplateSid=TEMPLATE)) == (400, 60408)


async def test_asking_for_the_status_again_and_again() -> None:
    async with api_of() as api:
        api.at(NOON)
        await starts(api)
        asked = [await api.http.get(f"{SERVICE}/Verifications/{TO}") for _ in range(61)]
        assert {answer.status_code for answer in asked[:60]} == {200}
        assert told(asked[60]) == (429, 20429)
        assert asked[60].headers["retry-after"] == "60"
        api.at(NOON + 60)
        assert (await api.http.get(f"{SERVICE}/Verifications/{TO}")).status_code == 200


async def test_what_is_not_there() -> None:
    async with api_of() as api:
        other = "VA" + "9" * 32
        for method, path in [
            ("GET", f"/v2/Services/{other}"),
            ("POST", f"/v2/Services/{other}/Verifications"),
            ("GET", f"{SERVICE}/Verifications/{TO}"),
            ("GET", f"{SERVICE}/Verifications"),
            ("GET", f"{SERVICE}/Nothing"),
        ]:
            assert told(await api.http.request(method, path)) == (404, 20404), path
        assert told(await checks(api, "123456")) == (404, 20404)
        assert told(await checks(api, "123")) == (400, 60200)
        assert told(await api.http.post(f"{SERVICE}/VerificationCheck", data={"Code": "123456"})) == (
            400,
            60200,
        )
        await starts(api)
        wished = await api.http.post(f"{SERVICE}/Verifications/{TO}", data={"Status": "expired"})
        assert told(wished) == (400, 60200)
