"""Verifications: every fault told before Twilio is asked; nothing of codes and people in what is printed."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from conformity import FORM, Request, faults

from broadcaster.api.verification_shapes import CodeToCheck, NewVerification
from broadcaster.domain.verification_rules import check_faults, start_faults
from broadcaster.domain.verifications import Start, masked
from broadcaster.domain.verify_services import ServiceChange, change_faults
from broadcaster.operations.verifications import Key
from broadcaster.twilio.codes import CODES
from broadcaster.twilio.verify import Verification, doubtful, moment
from broadcaster.twilio.wire import TwilioError, TwilioUnreachable

TO = "+14155550100"
VE = "VE" + "1" * 32
HJ = "HJ" + "2" * 32


@pytest.mark.parametrize(
    ("to", "channel", "region", "form"),
    [
        (TO, None, None, (TO, "sms")),
        ("whatsapp:" + TO, None, None, (TO, "whatsapp")),
        ("whatsapp:+1 415 555-0100", "whatsapp", None, (TO, "whatsapp")),
        ("(415) 555-0100", "call", "US", (TO, "call")),
        (" ada@example.com ", None, None, ("ada@example.com", "email")),
        ("ada@example.com", "email", None, ("ada@example.com", "email")),
        (TO, "auto", None, (TO, "auto")),
        (TO, "sna", None, (TO, "sna")),
    ],
)
def test_whom_and_how(to: str, channel: str | None, region: str | None, form: tuple[str, str]) -> None:
    start = Start(to, channel)
    assert list(start_faults(start, region)) == []
    found = start.resolved(region).form()
    assert (found.pop("To"), found.pop("Channel"), found) == (*form, {})


FULL: dict[str, Any] = {
    "locale": "pt-BR",
    "template_sid": HJ,
    "template_substitutions": {"name": "Ada"},
    "custom_friendly_name": "Owl & Co.",
    "custom_code": "9876",
    "rate_limits": {"user": "a7", "tries": 3},
    "app_hash": "He42w354ol9",
    "device_ip": "2001:db8::1",
    "risk_check": "disable",
    "amount": "€39.99",
    "payee": "Acme",
    "tags": {"shop": "7"},
}


def described(start: Start) -> list[str]:
    """Return what of a start is not as Twilio's OpenAPI file has it."""
    body = urlencode(start.resolved(None).form()).encode()
    return faults(Request("POST", f"/v2/Services/VA{'1' * 32}/Verifications", "", FORM, body))


def test_every_field_becomes_twilios_parameter() -> None:
    start = Start(TO, **FULL)
    assert list(start_faults(start, None)) == []
    assert described(start) == []
    assert start.resolved(None).form() == {
        "To": TO,
        "Channel": "sms",
        "Locale": "pt-BR",
        "TemplateSid": HJ,
        "TemplateCustomSubstitutions": '{"name":"Ada"}',
        "CustomFriendlyName": "Owl & Co.",
        "CustomCode": "9876",
        "RateLimits": '{"user":"a7","tries":3}',
        "AppHash": "He42w354ol9",
        "DeviceIp": "2001:db8::1",
        "RiskCheck": "disable",
        "Amount": "€39.99",
        "Payee": "Acme",
        "Tags": '{"shop":"7"}',
    }
    mail = Start("a@b.example", channel_configuration={"from": "owl@b.example", "from_name": "Owl"})
    assert list(start_faults(mail, None)) == []
    assert mail.resolved(None).form()["ChannelConfiguration"] == '{"from":"owl@b.example","from_name":"Owl"}'
    called = Start(TO, "call", send_digits="ww1#")
    assert list(start_faults(called, None)) == []
    assert described(mail) == described(called) == []
    silent = Start(TO, "sna", sna_client_token=True)
    assert list(start_faults(silent, None)) == []
    assert described(silent) == []
    assert silent.resolved(None).form()["EnableSnaClientToken"] == "true"


@pytest.mark.parametrize(
    ("given", "faulty"),
    [
        ({"to": "12"}, ["to"]),
        ({"to": "ada@example"}, ["to"]),
        ({"to": "a b@example.com"}, ["to"]),
        ({"to": "a@" + "b" * 300 + ".com"}, ["to"]),
        ({"to": "4155550100"}, ["to"]),
        ({"to": "ada@example.com", "channel": "sms"}, ["to"]),
        ({"to": TO, "channel": "email"}, ["to"]),
        ({"to": "whatsapp:" + TO, "channel": "call"}, ["to"]),
        ({"channel": "pigeon"}, ["channel"]),
        ({"channel": "pigeon", "to": "12"}, ["channel", "to"]),
        ({"channel": "whatsapp", "template_sid": HJ}, ["template_sid"]),
        ({"template_sid": "HX" + "2" * 32}, ["template_sid"]),
        ({"channel": "call", "app_hash": "He42w354ol9"}, ["app_hash"]),
        ({"send_digits": "1"}, ["send_digits"]),
        ({"channel": "call", "send_digits": "one"}, ["send_digits"]),
        ({"channel_configuration": {"from": "x"}}, ["channel_configuration"] * 2),
        ({"to": "a@b.example", "channel_configuration": {"from": "x"}}, ["channel_configuration"]),
        ({"custom_code": "123"}, ["custom_code"]),
        ({"custom_code": "12345678901"}, ["custom_code"]),
        ({"custom_code": "12 45"}, ["custom_code"]),
        ({"custom_friendly_name": "x" * 33}, ["custom_friendly_name"]),
        ({"custom_friendly_name": "a\nb"}, ["custom_friendly_name"]),
        ({"locale": "german!"}, ["locale"]),
        ({"rate_limits": {"user": {"id": 1}}}, ["rate_limits"]),
        ({"tags": {str(i): "x" for i in range(11)}}, ["tags"]),
        ({"tags": {"x": "y" * 129}}, ["tags"]),
        ({"tags": {"x": 1}}, ["tags"]),
        ({"device_ip": "example.com"}, ["device_ip"]),
        ({"risk_check": "off"}, ["risk_check"]),
        ({"amount": "1"}, ["payee"]),
        ({"sna_client_token": True}, ["sna_client_token"]),
        ({"to": "12", "custom_code": "1", "locale": "?"}, ["to", "locale", "custom_code"]),
    ],
)
def test_every_fault_of_a_start_is_told(given: dict[str, Any], faulty: list[str]) -> None:
    wrong = list(start_faults(Start(**{"to": TO, **given}), None))
    assert [one.field for one in wrong] == faulty
    assert all("--" not in one.words for one in wrong)
    assert "12 45" not in str(wrong)


@pytest.mark.parametrize(
    ("to", "sid", "code", "faulty"),
    [
        (TO, None, "123456", []),
        ("ada@example.com", None, "abcd", []),
        (None, VE, "1234567890", []),
        (None, None, "123456", ["to"]),
        (TO, VE, "123456", ["to"]),
        ("12", None, "123", ["to", "code"]),
        (None, "VA" + "1" * 32, "123456", ["sid"]),
        (TO, None, None, ["code"]),
        (TO, None, "", ["code"]),
        (TO, None, "12345678901", ["code"]),
    ],
)
def test_every_fault_of_a_check_is_told(
    to: str | None, sid: str | None, code: str | None, faulty: list[str]
) -> None:
    assert [one.field for one in check_faults(to, sid, code, None)] == faulty


@pytest.mark.parametrize(
    ("change", "new", "faulty"),
    [
        ({"friendly_name": "Owl Shop_1-2"}, True, []),
        ({}, True, ["friendly_name"]),
        ({}, False, [""]),
        ({"code_length": 4}, False, []),
        ({"friendly_name": "Owl & Co."}, True, ["friendly_name"]),
        ({"friendly_name": "Call 12345"}, True, ["friendly_name"]),
        ({"friendly_name": "x" * 33}, False, ["friendly_name"]),
        ({"code_length": 3}, False, ["code_length"]),
        ({"code_length": 11}, False, ["code_length"]),
        ({"friendly_name": "Owl", "skip_sms_to_landlines": True}, True, ["skip_sms_to_landlines"]),
        ({"skip_sms_to_landlines": True}, False, []),
        ({"skip_sms_to_landlines": True, "lookup_enabled": False}, False, ["skip_sms_to_landlines"]),
        ({"default_template_sid": "HX1"}, False, ["default_template_sid"]),
        ({"whatsapp_from": TO}, False, ["whatsapp_from"]),
        ({"whatsapp_from": "whatsapp:" + TO}, False, []),
        ({"friendly_name": "Owl", "whatsapp_from": "whatsapp:" + TO}, True, ["whatsapp_from"]),
        ({"whatsapp_messaging_service_sid": "MG"}, False, ["whatsapp_messaging_service_sid"]),
    ],
)
def test_every_fault_of_a_service_is_told(change: dict[str, Any], new: bool, faulty: list[str]) -> None:  # noqa: FBT001
    assert [one.field for one in change_faults(ServiceChange(**change), new=new)] == faulty


def test_a_service_is_set_by_twilios_parameters() -> None:
    change = ServiceChange(
        friendly_name="Owl", code_length=8, lookup_enabled=True, dtmf_input_required=False,
        whatsapp_messaging_service_sid="MG" + "1" * 32, whatsapp_from="whatsapp:" + TO,
        do_not_share_warning_enabled=True, psd2_enabled=False, tts_name="polly",
    )  # fmt: skip
    body = urlencode(change.form()).encode()
    assert faults(Request("POST", f"/v2/Services/VA{'1' * 32}", "", FORM, body)) == []
    assert change.form() == {
        "FriendlyName": "Owl", "CodeLength": "8", "LookupEnabled": "true", "DtmfInputRequired": "false",
        "DoNotShareWarningEnabled": "true", "Psd2Enabled": "false", "TtsName": "polly",
        "Whatsapp.MsgServiceSid": "MG" + "1" * 32, "Whatsapp.From": "whatsapp:" + TO,
    }  # fmt: skip


def test_a_scope_id_is_no_address() -> None:
    (found,) = start_faults(Start(TO, device_ip="fe80::1%\x1b[31m\r\n"), None)
    assert (found.field, "\x1b" in found.words) == ("device_ip", False)


def test_a_check_by_the_phones_network_has_no_code() -> None:
    assert list(check_faults(TO, None, None, None, sna=True)) == []
    assert [one.field for one in check_faults(TO, None, "123456", None, sna=True)] == ["code"]


def test_nothing_printed_shows_a_code_or_a_person() -> None:
    start = Start(TO, **FULL)
    found = Verification(sid=VE, to=TO, status="pending", sna={"url": "https://proof.example/secret"})
    typed = CodeToCheck(to=TO, code="9876"), NewVerification(to=TO, custom_code="9876")
    assert "9876" not in repr(typed)
    shown = f"{start!r} {start.resolved(None)!r} {found!r} {Key('n1', 'order-4713')!r}"
    for secret in ("9876", "0100", "secret", "4713", "39.99", "a7", "2001:db8"):
        assert secret not in shown
    assert (masked(TO), masked("ada@example.com"), masked("x")) == ("+1415•••0100", "a•••@example.com", "•••")


def test_what_is_asked_for_is_known_again_but_not_told() -> None:
    one, other = Key.of_shell("one"), Key.of_shell("two")
    assert Key.of_shell(None) == Key()
    assert one.nonce != other.nonce
    asked = ["VA1", {"To": TO, "CustomCode": "9876"}]
    assert one.digest(asked) == one.digest(["VA1", {"CustomCode": "9876", "To": TO}])
    assert one.digest(asked) not in (other.digest(asked), one.digest(["VA1", {"To": TO}]))


@pytest.mark.parametrize(
    ("status", "code", "may_be_done"),
    [
        (400, 60200, False), (404, 20404, False), (429, 60203, False), (429, 0, False), (403, 60410, False),
        (401, 20003, False), (404, 0, False), (301, 0, False),
        (500, 20500, True), (503, 0, True), (408, 0, True), (409, 20409, True), (200, 0, True),
    ],
)  # fmt: skip
def test_what_leaves_a_doubt(status: int, code: int, may_be_done: bool) -> None:  # noqa: FBT001
    assert doubtful(TwilioError(status, code)) is may_be_done
    assert doubtful(TwilioUnreachable("a read timeout"))


def test_verifys_codes_have_words() -> None:
    """Those of Twilio's page on Verify's errors that an answer may have."""
    known = [60200, 60202, 60203, 60204, 60205, 60207, 60212, 60217, 60223, 60238, 60242, 60245, 60247]
    assert {*known, 60410, 60605, 25109} <= {number for number, code in CODES.items() if not code.delivery}


def test_dates_of_both_forms_are_read() -> None:
    assert moment("2015-07-30T20:00:00Z") == moment("Thu, 30 Jul 2015 20:00:00 +0000") == 1438286400
    assert moment("2015-07-30T20:00:00") == 1438286400
    assert moment(None) is None
    assert moment("soon") is None
