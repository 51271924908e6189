"""What the simulator accepts and refuses, what it makes of a text, how messages move and are listed."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulator_api import GOOD, SENDER, TO, api_of, without
from smsutil import split  # type: ignore[import-untyped]

from broadcaster.simulator.config import (
    SERVICE_SID,
    TEMPLATE_SID,
    ServiceConfig,
    TemplateConfig,
)
from broadcaster.simulator.encoding import count_segments, smart
from broadcaster.simulator.forms import REPEATED, parse_form
from broadcaster.simulator.senders import default_rate

OTHER_SERVICE = "MG" + "9" * 32
IN_AN_HOUR = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
IN_A_YEAR = (datetime.now(UTC) + timedelta(days=365)).isoformat()
ON_WHATSAPP = without("Body", ContentSid=TEMPLATE_SID, To=f"whatsapp:{TO}", From=f"whatsapp:{SENDER}")
SERVED = without("From", MessagingServiceSid=SERVICE_SID)


@pytest.mark.parametrize(
    ("form", "code"),
    [
        (without("To"), 21604),
        (without("Body"), 21602),
        (without("From"), 21603),
        (GOOD | {"To": "4155550100"}, 21211),
        (GOOD | {"To": "+0155550100"}, 21211),
        (GOOD | {"To": "72345"}, 21265),
        (GOOD | {"To": SENDER}, 21266),
        (GOOD | {"From": "not a sender at all"}, 21212),
        (GOOD | {"To": f"whatsapp:{TO}"}, 21910),
        (GOOD | {"Body": "x" * 1601}, 21617),
        (GOOD | {"MediaUrl": ["https://example.org/a"] * 11}, 21623),
        (GOOD | {"MediaUrl": "ftp://example.org/a"}, 21620),
        (GOOD | {"ValidityPeriod": "0"}, 21624),
        (GOOD | {"ValidityPeriod": "36001"}, 21624),
        (GOOD | {"StatusCallback": "https://under_score.example/x"}, 21609),
        (GOOD | {"ContentVariables": "{}"}, 21654),
        (without("Body", ContentVariables="{}"), 21654),
        (without("Body", ContentSid=TEMPLATE_SID, ContentVariables="{"), 21656),
        (without("Body", ContentSid=TEMPLATE_SID, ContentVariables='{"1": ""}'), 21656),
        (ON_WHATSAPP | {"ContentVariables": '{"1": "a\\nb"}'}, 21656),
        (ON_WHATSAPP | {"ContentVariables": '{"1": "a     b"}'}, 21656),
        (ON_WHATSAPP | {"ContentVariables": json.dumps({"1": "x" * 1601})}, 21658),
        (without("Body", ContentSid="HX" + "0" * 32), 21655),
        (GOOD | {"ScheduleType": "fixed", "SendAt": IN_AN_HOUR}, 35118),
        (SERVED | {"ScheduleType": "optimal", "SendAt": IN_AN_HOUR}, 35126),
        (without("Body", ContentSid=TEMPLATE_SID, MediaUrl="https://example.org/a"), 63030),
        (SERVED | {"ScheduleType": "fixed"}, 35111),
        (SERVED | {"ScheduleType": "fixed", "SendAt": "soon"}, 35114),
        (SERVED | {"ScheduleType": "fixed", "SendAt": IN_A_YEAR}, 35115),
        (SERVED | {"MessagingServiceSid": "MGnone"}, 21705),
        (SERVED | {"MessagingServiceSid": OTHER_SERVICE}, 21701),
        (SERVED | {"From": SENDER}, 21711),
        (GOOD | {"FallbackFrom": SENDER}, 21664),
        (GOOD | {"ContentRetention": "burn"}, 30029),
        (GOOD | {"AddressRetention": "burn"}, 30030),
    ],
)
async def test_a_bad_request_is_refused_with_twilios_code(form: dict[str, Any], code: int) -> None:
    async with api_of() as api:
        answer = await api.post(**form)
        assert (answer.status_code, answer.json()["code"]) == (400, code)
        assert answer.json()["status"] == 400
        assert answer.json()["more_info"].endswith(f"/{code}")
        assert api.simulator.accepted == []


# Twilio's table of magic numbers: (number, as From, as To); 0 is accepted.
MAGIC = [
    ("+15005550000", 21606, 0),
    ("+15005550001", 21212, 21211),
    ("+15005550002", 21606, 21612),
    ("+15005550003", 21606, 21408),
    ("+15005550004", 21606, 21610),
    ("+15005550006", 0, 0),
    ("+15005550007", 21606, 0),
    ("+15005550008", 21611, 0),
    ("+15005550009", 21606, 21614),
    ("+14155550123", 21606, 0),
]


@pytest.mark.parametrize(("number", "as_from", "as_to"), MAGIC)
async def test_magic_numbers_with_test_credentials(number: str, as_from: int, as_to: int) -> None:
    async with api_of() as api:
        config = api.simulator.world.config
        api.http.auth = httpx.BasicAuth(config.test_account_sid, config.test_token)
        api.base = f"/2010-04-01/Accounts/{config.test_account_sid}"
        for form, code in (
            (GOOD | {"From": number}, as_from),
            (GOOD | {"From": "+15005550006", "To": number}, as_to),
        ):
            answer = await api.post(**form)
            assert answer.status_code == (201 if not code else 429 if code == 21611 else 400)
            assert answer.json().get("code", 0) == code
        assert api.simulator.accepted == []  # test credentials leave no trace
        elsewhere = await api.http.get("/v1/Services")
        assert (elsewhere.status_code, elsewhere.json()["code"]) == (403, 20008)


async def test_credentials_and_account() -> None:
    async with api_of(api_keys={"SK" + "1" * 32: "secret"}) as api:
        config = api.simulator.world.config
        key = httpx.BasicAuth("SK" + "1" * 32, "secret")
        assert (await api.http.get(f"{api.base}/Messages.json", auth=key)).status_code == 200
        wrong = await api.http.get(f"{api.base}/Messages.json", auth=(config.account_sid, "wrong"))
        assert (wrong.status_code, wrong.json()["code"]) == (401, 20003)
        foreign = await api.http.get(f"/2010-04-01/Accounts/AC{'7' * 32}/Messages.json")
        assert (foreign.status_code, foreign.json()["code"]) == (404, 20404)
        as_json = await api.http.post(f"{api.base}/Messages.json", json=GOOD)
        assert (as_json.status_code, as_json.json()["code"]) == (400, 21604)
        api.simulator.configure(account_status="suspended")
        suspended = await api.post(**GOOD)
        assert (suspended.status_code, suspended.json()["code"]) == (403, 20005)


async def test_a_message_moves_by_its_senders_queue() -> None:
    async with api_of(senders={SENDER: 1.0}, delivery_seconds=5) as api:
        sids = [(await api.made(**GOOD | {"To": f"+1415555010{n}"}))["sid"] for n in range(3)]
        begin = api.simulator.accepted[0].created

        async def states(after: float) -> list[str]:
            api.at(begin + after)
            return [(await api.get(sid))["status"] for sid in sids]

        assert await states(0.5) == ["sending", "queued", "queued"]
        assert await states(1.5) == ["sent", "sending", "queued"]
        assert await states(9) == ["delivered", "delivered", "delivered"]
        last = await api.get(sids[2])
        assert parsedate_to_datetime(last["date_sent"]).timestamp() == int(begin + 3)
        assert last["price"] == "-0.00750"


async def test_a_full_queue_refuses_a_from_and_fails_a_services_message() -> None:
    pool = {SERVICE_SID: ServiceConfig(senders=(SENDER,))}
    async with api_of(senders={SENDER: 1.0}, queue_seconds=2, services=pool) as api:
        answers = [await api.post(**GOOD) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [201, 201, 429]
        assert answers[2].json()["code"] == 21611
        pooled = await api.made(**SERVED)
        api.at(api.simulator.accepted[-1].leaves_at + 1)
        found = await api.get(pooled["sid"])
        assert (found["status"], found["error_code"]) == ("failed", 30001)


async def test_a_message_expires_in_a_slow_queue() -> None:
    async with api_of(senders={SENDER: 0.1}) as api:
        made = await api.made(**GOOD | {"ValidityPeriod": "5"})
        api.at(api.simulator.accepted[0].created + 6)
        found = await api.get(made["sid"])
        assert (found["status"], found["error_code"], found["date_sent"]) == ("failed", 30036, None)


async def test_a_service_chooses_its_sender_later() -> None:
    pool = {SERVICE_SID: ServiceConfig(senders=("+14155550197", "+14155550198"))}
    async with api_of(services=pool, choose_sender_seconds=3) as api:
        made = [await api.made(**SERVED | {"To": f"+1415555{n:04d}"}) for n in range(20)]
        assert {(m["status"], m["from"], m["num_segments"]) for m in made} == {("accepted", None, "0")}
        assert (await api.page(From="+14155550197"))["messages"] == []
        api.at(max(message.ends_at for message in api.simulator.accepted))
        chosen = {(await api.get(m["sid"]))["from"] for m in made}
        assert chosen == {"+14155550197", "+14155550198"}
        named = await api.made(**SERVED | {"From": "+14155550198"})
        assert (named["from"], named["status"]) == ("+14155550198", "accepted")


async def test_what_twilio_makes_of_a_text() -> None:
    pool = {SERVICE_SID: ServiceConfig(senders=(SENDER,), smart_encoding=True, link_domain="go.example")}
    template = TemplateConfig(body="Hi {{1}}, at {{2}}", variables={"1": "you", "2": "noon"}, media=("x",))
    async with api_of(services=pool, templates={TEMPLATE_SID: template}) as api:
        curly = "\u201cIt\u2019s late\u201d\u2026"
        assert (await api.made(**GOOD | {"Body": curly}))["body"] == curly
        assert (await api.made(**GOOD | {"Body": curly, "SmartEncoded": "true"}))["body"] == '"It\'s late"...'
        assert (await api.made(**SERVED | {"Body": curly}))["body"] == '"It\'s late"...'
        linked = SERVED | {"Body": "see https://example.org/a/long/path now", "ShortenUrls": "true"}
        short = (await api.made(**linked))["body"]
        assert short.startswith("see https://go.example/")
        assert "example.org" not in short
        variables = json.dumps({"1": "Ann"})
        form = without("Body", ContentSid=TEMPLATE_SID, ContentVariables=variables)
        filled = await api.made(**form)
        assert (filled["body"], filled["num_media"], filled["sid"][:2]) == ("Hi Ann, at noon", "1", "MM")
        api.simulator.configure(account_type="Trial")
        assert (await api.made(**GOOD))["body"] == "Sent from your Twilio trial account - hi"


async def test_deleting_needs_a_complete_message() -> None:
    async with api_of(senders={SENDER: 0.1}) as api:
        made = await api.made(**GOOD)
        path = f"{api.base}/Messages/{made['sid']}.json"
        early = await api.http.delete(path)
        assert (early.status_code, early.json()["code"]) == (409, 20009)
        api.at(api.simulator.accepted[0].ends_at)
        assert (await api.http.delete(path)).status_code == 204
        assert (await api.http.get(path)).status_code == 404
        assert (await api.page())["messages"] == []
        assert api.simulator.world.accepted == 1


async def test_some_recipients_end_undelivered() -> None:
    async with api_of(delivery_failures={"30003": 0.5}) as api:
        for n in range(40):
            await api.made(**GOOD | {"To": f"+1415555{n:04d}"})
        api.at(api.simulator.accepted[-1].ends_at + 60)
        found = (await api.page())["messages"]
        failed = [m for m in found if m["status"] == "undelivered"]
        assert 8 < len(failed) < 32
        assert {m["error_code"] for m in failed} == {30003}


@given(st.text(st.sampled_from("abc é€[]{}~^|\\\n\u4e2d\U0001f600"), max_size=400))
def test_segments_are_counted_as_an_independent_library_does(text: str) -> None:
    assert count_segments(text) == max(1, len(split(text).parts))


NAMES = st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda name: name not in REPEATED)


@given(st.dictionaries(NAMES, st.text(st.characters(codec="utf-8"))))
def test_a_form_is_read_as_it_was_written(fields: dict[str, str]) -> None:
    assert parse_form(urlencode(fields).encode()).fields == fields


def test_smart_encoding_makes_gsm_text() -> None:
    assert smart("\u2018a\u2019 \u2013 b\u00a0c\u200b") == "'a' - b c"


@pytest.mark.parametrize(
    ("sender", "rate"),
    [
        ("+14155550100", 1),
        ("+18885550100", 3),
        ("+442071838750", 10),
        ("72345", 100),
        ("Acme", 10),
        ("whatsapp:+14155550100", 80),
        ("whatsapp:+14155238886", 1 / 3),
    ],
)
def test_a_senders_rate_follows_its_kind(sender: str, rate: float) -> None:
    assert default_rate(sender) == rate
