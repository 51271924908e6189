"""Create Message: all its parameters, their form, and each rule that can be broken."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.domain.content import Content, compile_content
from broadcaster.domain.create_message import (
    TWILIO_NAMES,
    CreateMessage,
    Fault,
    check,
    check_content,
    form_pairs,
    message_for,
    parse_form,
)

SERVICE = "MG" + "0a" * 16
TEMPLATE_SID = "HX" + "0A" * 16
TO, FROM = "+12015550123", "+14155550100"
NOW = datetime(2030, 1, 31, 9, tzinfo=UTC)
IMAGE = "https://example.com/a.png"


def message(**changes: Any) -> CreateMessage:
    return CreateMessage(**{"to": TO, "from_": FROM, "body": "Hi"} | changes)


def codes(subject: CreateMessage) -> list[tuple[str, int]]:
    return [(fault.parameter, fault.twilio_code) for fault in check(subject, NOW.timestamp())]


def later(**delta: float) -> str:
    return (NOW + timedelta(**delta)).isoformat()


def test_every_parameter_of_twilios_openapi_file_is_there() -> None:
    assert set(TWILIO_NAMES.values()) == {
        "To", "StatusCallback", "ApplicationSid", "MaxPrice", "ProvideFeedback", "Attempt", "ValidityPeriod",
        "ForceDelivery", "ContentRetention", "AddressRetention", "SmartEncoded", "PersistentAction",
        "TrafficType",
        "ShortenUrls", "ScheduleType", "SendAt", "SendAsMms", "ContentVariables", "RiskCheck", "From",
        "FallbackFrom", "MessagingServiceSid", "Body", "MediaUrl", "ContentSid",
    }  # fmt: skip


@pytest.mark.parametrize(
    "subject",
    [
        message(),
        message(body="x" * 1600),
        message(from_=None, messaging_service_sid=SERVICE),
        message(messaging_service_sid=SERVICE),
        message(from_="ACME"),
        message(from_="12345"),
        message(to=f"whatsapp:{TO}", from_=f"whatsapp:{FROM}"),
        message(to=f"whatsapp:{TO}", from_=f"whatsapp:{FROM}", persistent_action=("geo:37.78,-122.4|Here",)),
        message(to=f"whatsapp:{TO}", from_=None, messaging_service_sid=SERVICE),
        message(body=None, media_url=(IMAGE,) * 10),
        message(body=None, content_sid=TEMPLATE_SID, content_variables='{"1":"Ann"}'),
        message(from_=None, messaging_service_sid=SERVICE, fallback_from=FROM),
        message(status_callback="https://hooks.example.com/a_b?c_d"),
        message(validity_period=1, attempt=1),
        message(validity_period=36_000),
        message(from_=None, messaging_service_sid=SERVICE, schedule_type="fixed", send_at=later(minutes=15)),
        message(messaging_service_sid=SERVICE, schedule_type="fixed", send_at="2030-02-01T09:00:00Z"),
        message(messaging_service_sid=SERVICE, schedule_type="fixed", send_at=later(days=35)),
        message(
            content_retention="discard",
            address_retention="obfuscate",
            risk_check="disable",
            traffic_type="free",
        ),
        message(messaging_service_sid=SERVICE, shorten_urls=True, smart_encoded=True, send_as_mms=False),
    ],
)
def test_what_twilio_takes(subject: CreateMessage) -> None:
    assert codes(subject) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"to": ""}, [("To", 21604)]),
        ({"to": "12015550123"}, [("To", 21211)]),
        ({"to": "whatsapp:12015550123", "from_": f"whatsapp:{FROM}"}, [("To", 21211)]),
        ({"from_": None}, [("From", 21603)]),
        ({"from_": ""}, [("From", 21603)]),
        ({"from_": "4155550100"}, [("From", 21212)]),
        ({"from_": SERVICE}, [("From", 21212)]),
        ({"from_": f"whatsapp:{FROM}"}, [("From", 21910)]),
        ({"to": f"whatsapp:{TO}"}, [("From", 21910)]),
        ({"from_": TO}, [("To", 21266)]),
        ({"to": f"whatsapp:{TO}", "from_": f"whatsapp:{TO}"}, [("To", 63031)]),
        ({"fallback_from": FROM}, [("FallbackFrom", 21664)]),
        ({"fallback_from": FROM, "messaging_service_sid": SERVICE}, [("FallbackFrom", 21664)]),
        ({"body": None}, [("Body", 21619)]),
        ({"body": " \n"}, [("Body", 21619)]),
        ({"body": "x" * 1601}, [("Body", 21617)]),
        ({"media_url": (IMAGE,) * 11}, [("MediaUrl", 21623)]),
        ({"media_url": ("ftp://example.com/a",)}, [("MediaUrl", 21620)]),
        ({"media_url": (IMAGE, "a.png")}, [("MediaUrl", 21620)]),
        ({"media_url": ("https://[x",)}, [("MediaUrl", 21620)]),
        (
            {"media_url": (IMAGE, IMAGE), "to": f"whatsapp:{TO}", "from_": f"whatsapp:{FROM}"},
            [("MediaUrl", 0)],
        ),
        ({"content_sid": TEMPLATE_SID}, [("Body", 0)]),
        ({"content_sid": TEMPLATE_SID, "body": None, "media_url": (IMAGE,)}, [("MediaUrl", 63030)]),
        ({"content_sid": "HX12", "body": None}, [("ContentSid", 21655)]),
        ({"content_variables": "{}"}, [("ContentVariables", 21654)]),
        ({"content_variables": "[1]"}, [("ContentVariables", 21654), ("ContentVariables", 21656)]),
        (
            {"content_sid": TEMPLATE_SID, "body": None, "content_variables": '{"1":2}'},
            [("ContentVariables", 21656)],
        ),
        ({"content_sid": TEMPLATE_SID, "body": None, "content_variables": ""}, [("ContentVariables", 21656)]),
        ({"persistent_action": ("geo:1,2",)}, [("PersistentAction", 0)]),
        (
            {"persistent_action": ("here",), "to": f"whatsapp:{TO}", "from_": f"whatsapp:{FROM}"},
            [("PersistentAction", 0)],
        ),
        ({"messaging_service_sid": "MG12"}, [("MessagingServiceSid", 21705)]),
        ({"application_sid": "AP12"}, [("ApplicationSid", 20422)]),
        ({"status_callback": "hooks.example.com"}, [("StatusCallback", 21609)]),
        ({"status_callback": "https://my_hooks.example.com"}, [("StatusCallback", 21609)]),
        ({"status_callback": "https://example.com/" + "x" * 4000}, [("StatusCallback", 21609)]),
        ({"validity_period": 0}, [("ValidityPeriod", 21624)]),
        ({"validity_period": 36_001}, [("ValidityPeriod", 21624)]),
        ({"attempt": 0}, [("Attempt", 20422)]),
        ({"shorten_urls": True}, [("ShortenUrls", 0)]),
        ({"content_retention": "keep"}, [("ContentRetention", 30029)]),
        ({"address_retention": "keep"}, [("AddressRetention", 30030)]),
        ({"risk_check": "on"}, [("RiskCheck", 20422)]),
        ({"traffic_type": "paid"}, [("TrafficType", 20422)]),
        ({"schedule_type": "fixed"}, [("SendAt", 35111)]),
        ({"schedule_type": "fixed", "send_at": later(days=1)}, [("SendAt", 35118)]),
        ({"send_at": later(days=1), "messaging_service_sid": SERVICE}, [("ScheduleType", 0)]),
    ],
)
def test_what_twilio_refuses(changes: dict[str, Any], expected: list[tuple[str, int]]) -> None:
    assert codes(message(**changes)) == expected


@pytest.mark.parametrize(
    ("send_at", "code"),
    [
        ("tomorrow", 35114),
        ("2030-02-01T09:00:00", 35114),
        (later(minutes=14), 35115),
        (later(days=-1), 35115),
        (later(days=36), 35115),
    ],
)
def test_send_times_twilio_refuses(send_at: str, code: int) -> None:
    subject = message(messaging_service_sid=SERVICE, schedule_type="fixed", send_at=send_at)
    assert codes(subject) == [("SendAt", code)]
    assert [fault.twilio_code for fault in check(subject)] == ([code] if code == 35114 else [])


def test_a_form_as_twilio_reads_it() -> None:
    subject = message(
        media_url=(IMAGE, IMAGE + "?2"),
        send_as_mms=True,
        smart_encoded=False,
        validity_period=60,
        max_price=0.5,
    )
    assert form_pairs(subject) == [
        ("To", TO),
        ("From", FROM),
        ("Body", "Hi"),
        ("MediaUrl", IMAGE),
        ("MediaUrl", IMAGE + "?2"),
        ("ValidityPeriod", "60"),
        ("SendAsMms", "true"),
        ("SmartEncoded", "false"),
        ("MaxPrice", "0.5"),
    ]


@given(
    st.builds(
        message,
        body=st.text(),
        media_url=st.lists(st.text(), max_size=3).map(tuple),
        send_as_mms=st.none() | st.booleans(),
        validity_period=st.none() | st.integers(-(2**40), 2**40),
        attempt=st.none() | st.integers(0, 9),
        max_price=st.none() | st.sampled_from([0.0, 0.25, 1.0]),
        send_at=st.none() | st.text(),
    )
)
def test_a_form_reads_back_as_the_message(subject: CreateMessage) -> None:
    fields, faults = parse_form(form_pairs(subject))
    assert faults == []
    assert CreateMessage(**fields) == subject


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("Colour", "red", Fault("Colour", "Create Message has no such parameter", 20001)),
        ("body", "x", Fault("body", "Create Message has no such parameter: did you mean Body?", 20001)),
        ("ValidityPeriod", "1h", Fault("ValidityPeriod", "'1h' is not a whole number", 20422)),
        ("SendAsMms", "yes", Fault("SendAsMms", "'yes' is not true or false", 20422)),
        ("MaxPrice", "free", Fault("MaxPrice", "'free' is not a number", 20422)),
    ],
)
def test_what_a_form_cannot_hold(name: str, text: str, expected: Fault) -> None:
    assert parse_form([(name, text)]) == ({}, [expected])


def test_a_recipients_request() -> None:
    content = Content(
        body="Hi {{ name }}", media_urls=(IMAGE,), options={"ValidityPeriod": " 60", "RiskCheck": "disable"}
    )
    rendered = compile_content(content).render({"name": "Ann"})
    subject, faults = message_for(content, rendered, to=TO, from_=FROM, messaging_service_sid=SERVICE)
    assert faults == []
    assert subject == message(
        messaging_service_sid=SERVICE,
        body="Hi Ann",
        media_url=(IMAGE,),
        validity_period=60,
        risk_check="disable",
    )


@pytest.mark.parametrize(
    ("content", "from_", "service", "expected"),
    [
        (Content(body="{{ a }}" + "x" * 1600), FROM, None, []),
        (Content(body="x"), f"whatsapp:{FROM}", None, []),
        (Content(body="x"), None, SERVICE, []),
        (Content(content_sid=TEMPLATE_SID, content_variables={"1": "{{ a }}"}), None, SERVICE, []),
        (Content(body="x"), None, None, ["From"]),
        (Content(body="x", content_sid=TEMPLATE_SID), FROM, None, ["Body"]),
        (Content(body="x", options={"To": TO, "Colour": "red"}), FROM, None, ["Colour", "To"]),
        (Content(body="x", options={"ShortenUrls": "true"}), FROM, None, ["ShortenUrls"]),
    ],
)
def test_content_is_checked_whoever_the_recipient_is(
    content: Content, from_: str | None, service: str | None, expected: list[str]
) -> None:
    faults = check_content(content, from_=from_, messaging_service_sid=service, now=NOW.timestamp())
    assert [fault.parameter for fault in faults] == expected


def test_a_message_survives_msgpack() -> None:
    subject = message(media_url=(IMAGE,), validity_period=60)
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(subject), type=CreateMessage) == subject
