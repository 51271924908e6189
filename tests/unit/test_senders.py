"""Which senders a broadcast has, how fast each is, and which recipient gets which."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.domain.addresses import AddressError, Channel
from broadcaster.domain.senders import (
    MAX_RATE,
    NoSenderError,
    Sender,
    SenderKind,
    SenderShare,
    choose_senders,
    default_rate,
    format_rate,
    pace_warning,
    parse_rate,
    parse_sender,
)

SERVICE = "MG" + "0a" * 16
OTHER_SERVICE = "MG" + "1b" * 16
SMS, WHATSAPP = Channel.SMS, Channel.WHATSAPP


@pytest.mark.parametrize(
    ("text", "expected", "rate"),
    [
        ("+14155550100", Sender("+14155550100", SenderKind.LONG_CODE_US, SMS), 1),
        (" +1 (415) 555-0100", Sender("+14155550100", SenderKind.LONG_CODE_US, SMS), 1),
        ("+18005550100", Sender("+18005550100", SenderKind.TOLL_FREE, SMS), 3),
        ("+18885550100", Sender("+18885550100", SenderKind.TOLL_FREE, SMS), 3),
        ("+18105550100", Sender("+18105550100", SenderKind.LONG_CODE_US, SMS), 1),
        ("+442079460958", Sender("+442079460958", SenderKind.LONG_CODE, SMS), 10),
        ("12345", Sender("12345", SenderKind.SHORT_CODE, SMS), 100),
        ("123456", Sender("123456", SenderKind.SHORT_CODE, SMS), 100),
        ("ACME Water", Sender("ACME Water", SenderKind.ALPHANUMERIC, SMS), 10),
        ("4U", Sender("4U", SenderKind.ALPHANUMERIC, SMS), 10),
        ("whatsapp:+14155550100", Sender("whatsapp:+14155550100", SenderKind.WHATSAPP, WHATSAPP), 80),
        ("WhatsApp:+14155550100", Sender("whatsapp:+14155550100", SenderKind.WHATSAPP, WHATSAPP), 80),
        (
            "whatsapp:+14155238886",
            Sender("whatsapp:+14155238886", SenderKind.WHATSAPP_SANDBOX, WHATSAPP),
            pytest.approx(1 / 3),
        ),
        (SERVICE, Sender(SERVICE, SenderKind.SERVICE, None), 1),
    ],
)
def test_what_a_sender_is(text: str, expected: Sender, rate: float) -> None:
    sender = parse_sender(text)
    assert sender == expected
    assert default_rate(sender.kind) == rate


@pytest.mark.parametrize(
    "text", ["", "  ", "4155550100", "not a number", "MG123", "12", "+1", "whatsapp:ACME", "Ä"]
)
def test_what_is_no_sender(text: str) -> None:
    if text == "MG123":  # short enough to be a name
        assert parse_sender(text).kind is SenderKind.ALPHANUMERIC
        return
    with pytest.raises(AddressError):
        parse_sender(text)


@pytest.mark.parametrize("kind", list(SenderKind))
def test_every_kind_has_a_rate(kind: SenderKind) -> None:
    assert default_rate(kind) > 0


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("50", 50),
        ("0.5", 0.5),
        (".5", 0.5),
        ("50/s", 50),
        ("50 / sec", 50),
        ("50 per second", 50),
        ("1/3s", 1 / 3),
        ("1/3", 1 / 3),
        ("2/0.5s", 4),
        ("100/min", 100 / 60),
        ("100 per 2 minutes", 100 / 120),
        ("3600/h", 1),
        ("86400/day", 1),
        ("100000", 100_000),
        (" 7 ", 7),
    ],
)
def test_rates_read(text: str, rate: float) -> None:
    assert parse_rate(text) == pytest.approx(rate)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "0/s",
        "-1",
        "fast",
        "50/",
        "50/x",
        "/s",
        "1/0s",
        "1/0",
        "100001",
        "1e3",
        "50s",
        "nan",
        "inf",
        "1,5",
        "٣",
    ],
)
def test_rates_refused(text: str) -> None:
    with pytest.raises(ValueError, match="rate"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (50.0, "50/s"),
        (0.5, "1/2s"),
        (1 / 3, "1/3s"),
        (100 / 60, "1.66667/s"),
        (0.7, "42/min"),
        (100_000.0, "100000/s"),
    ],
)
def test_rates_written(rate: float, text: str) -> None:
    assert format_rate(rate) == text


@given(st.floats(1e-6, MAX_RATE))
def test_a_written_rate_reads_as_itself(rate: float) -> None:
    assert parse_rate(format_rate(rate)) == pytest.approx(rate, rel=1e-5)


PHONE, WHATS = "+14155550100", "whatsapp:+14155550100"


def names(
    *given: str,
    service: str | None = None,
    needed: tuple[Channel, ...] = (SMS,),
    default_service: str | None = None,
    default_phone: str | None = None,
    default_whatsapp: str | None = None,
) -> list[str]:
    senders = choose_senders(
        given,
        service,
        default_service=default_service,
        default_phone=default_phone,
        default_whatsapp=default_whatsapp,
        channels_needed=needed,
    )
    return [sender.name for sender in senders]


def test_named_senders_are_taken_once_and_in_order() -> None:
    assert names("12345", PHONE, "+1 415 555 0100", default_service=SERVICE) == ["12345", PHONE]


def test_senders_beside_a_service_are_the_lanes() -> None:
    assert names(PHONE, service=SERVICE) == [PHONE]


def test_a_service_can_be_named_like_a_sender() -> None:
    assert names(SERVICE) == names(SERVICE, service=SERVICE) == [SERVICE]


def test_a_service_serves_every_channel() -> None:
    assert names(service=SERVICE, needed=(SMS, WHATSAPP), default_phone=PHONE) == [SERVICE]


def test_the_environments_service_comes_first() -> None:
    assert names(default_service=SERVICE, default_phone=PHONE) == [SERVICE]


@pytest.mark.parametrize(
    ("needed", "expected"),
    [((SMS,), [PHONE]), ((WHATSAPP,), [WHATS]), ((SMS, WHATSAPP), [PHONE, WHATS]), ((), [PHONE, WHATS])],
)
def test_the_environments_senders_by_channel(needed: tuple[Channel, ...], expected: list[str]) -> None:
    assert names(needed=needed, default_phone=PHONE, default_whatsapp=WHATS) == expected


def test_a_bare_number_in_the_whatsapp_variable_is_meant_as_whatsapp() -> None:
    assert names(needed=(WHATSAPP,), default_whatsapp="+14155550100") == [WHATS]


@pytest.mark.parametrize(
    ("given", "service", "needed", "env", "says"),
    [
        ((), None, (SMS,), {}, "TWILIO_PHONE_NUMBER"),
        ((), None, (WHATSAPP,), {"default_phone": PHONE}, "TWILIO_WHATSAPP_FROM"),
        ((), None, (), {}, "TWILIO_MESSAGING_SERVICE_SID"),
        ((PHONE,), None, (SMS, WHATSAPP), {"default_whatsapp": WHATS}, "whatsapp recipients"),
        ((WHATS,), None, (SMS,), {}, "sms recipients"),
        ((SERVICE, PHONE), None, (SMS,), {}, "stands alone"),
        ((SERVICE,), OTHER_SERVICE, (SMS,), {}, "stands alone"),
    ],
)
def test_nothing_fits(
    given: tuple[str, ...], service: str | None, needed: tuple[Channel, ...], env: dict[str, str], says: str
) -> None:
    with pytest.raises(NoSenderError, match=says):
        names(*given, service=service, needed=needed, **env)


@pytest.mark.parametrize(
    ("service", "env", "says"),
    [
        ("MGxyz", {}, "--messaging-service"),
        (None, {"default_service": "+14155550100"}, "TWILIO_MESSAGING_SERVICE_SID"),
        (None, {"default_phone": "4155550100"}, "TWILIO_PHONE_NUMBER"),
        (None, {"default_phone": WHATS}, "TWILIO_PHONE_NUMBER"),
    ],
)
def test_a_malformed_setting_is_named(service: str | None, env: dict[str, str], says: str) -> None:
    with pytest.raises(AddressError, match=says):
        names(service=service, needed=(), **env)


def test_shares_follow_the_rates() -> None:
    share = SenderShare([("+14155550100", 1.0), ("12345", 3.0), ("ACME", 6.0)])
    counts = Counter(share.pick(f"+1{2_125_550_000 + n}") for n in range(30_000))
    assert [counts[index] / 30_000 for index in range(3)] == pytest.approx([0.1, 0.3, 0.6], abs=0.015)


def test_a_thousand_equal_senders_share_evenly() -> None:
    share = SenderShare([(f"+1415{5_550_000 + n}", 1.0) for n in range(1000)])
    counts = Counter(share.pick(f"+44{7_700_000_000 + n}") for n in range(100_000))
    assert len(counts) == 1000
    assert max(counts.values()) < 170


def test_channels_are_kept_apart_and_a_service_takes_both() -> None:
    share = SenderShare([("+14155550100", 1.0), ("whatsapp:+14155550100", 1.0), (SERVICE, 1.0)])
    assert {share.pick(f"+1212555{n:04}") for n in range(200)} == {0, 2}
    assert {share.pick(f"whatsapp:+1212555{n:04}") for n in range(200)} == {1, 2}


def test_one_sender_takes_all_of_its_channel_and_none_of_the_other() -> None:
    share = SenderShare([("+14155550100", 1.0)])
    assert share.pick("+12125550100") == 0
    with pytest.raises(NoSenderError, match="TWILIO_WHATSAPP_FROM"):
        share.pick("whatsapp:+12125550100")


def test_the_choice_is_the_same_in_every_process() -> None:
    share = SenderShare([("+14155550100", 1.0), ("12345", 1.0)])
    assert [share.pick(f"+1212555010{n}") for n in range(10)] == [1, 1, 0, 0, 1, 1, 0, 0, 1, 1]


@given(st.permutations([("+14155550100", 1.0), ("12345", 2.5), ("ACME", 0.3), (SERVICE, 4.0)]), st.integers())
def test_the_order_of_senders_changes_nothing(senders: list[tuple[str, float]], seed: int) -> None:
    first = SenderShare(sorted(senders))
    second = SenderShare(senders)
    address = f"+1{random.Random(seed).randrange(2_000_000_000, 9_999_999_999)}"
    assert sorted(senders)[first.pick(address)] == senders[second.pick(address)]


def test_the_sandbox_sends_a_message_in_three_seconds() -> None:
    sandbox = parse_sender("whatsapp:+14155238886")
    assert format_rate(default_rate(sandbox.kind)) == "1/3s"
    assert pace_warning(sandbox.name, default_rate(sandbox.kind)) is None
    assert pace_warning(sandbox.name, parse_rate("1/3s")) is None
    assert "1/3s from the WhatsApp sandbox: at 80/s" in (pace_warning(sandbox.name, 80) or "")
    assert pace_warning("whatsapp:+14155550100", 400) is None
