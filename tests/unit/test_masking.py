"""Attempts to get a number, a secret or a message's text past the masking."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.telemetry.masking import HIDDEN, Masking, is_dropped

TOKEN = "f00dfeedf00dfeedf00dfeedf00dfeed"
ACCOUNT = "AC" + "0a" * 16
NUMBER = "14155550100"

ATTEMPTS_ON_A_NUMBER = [
    "+14155550100",
    "14155550100",
    "to14155550100",
    "phone14155550100x",
    "whatsapp:+14155550100",
    "whatsapp%3A%2B14155550100",
    "To=%2B14155550100&From=x",
    "+1 (415) 555-0100",
    "+1-415-555-0100",
    "1.415.555.0100",
    "415-555-0100",
    "+1\u00a0415\u00a0555\u00a00100",
    "+1\u200b415\u200b555\u200b0100",
    "\uff0b14155550100",
    "+\uff11\uff14\uff11\uff15\uff15\uff15\uff15\uff10\uff11\uff10\uff10",
    "+١٤١٥٥٥٥٠١٠٠",
    "broadcaster:lane:+14155550100",
    "tel:+1/415/555/0100",
    '{"to": "+14155550100"}',
    "b'+14155550100'",
    "2026-11-21 +14155550100",
    "0014155550100",
    "14155550100,14155550100",
    "http://127.0.0.1/Messages.json?To=%2B14155550100",
]


@pytest.mark.parametrize("text", ATTEMPTS_ON_A_NUMBER)
def test_no_spelling_of_a_number_gets_through(text: str) -> None:
    masked = Masking().text(text)
    digits = "".join(str(int(c)) for c in masked if c.isdigit())
    assert HIDDEN in masked
    assert "5550100" not in digits
    assert "55501" not in digits


@pytest.mark.parametrize(
    "value",
    [
        {"to": NUMBER},
        {f"+{NUMBER}": 3},
        [{"x": [f"+{NUMBER}"]}],
        ({"digits": 14155550100},),
        {14155550100: 1},
        {f"+{NUMBER}"},
        ValueError(f"bad +{NUMBER}"),
        type("Odd", (), {"__repr__": lambda _: f"<Odd +{NUMBER}>"})(),
        f"+{NUMBER}".encode(),
        bytearray(b"body=Hello"),
        int(NUMBER),
    ],
)
def test_no_container_hides_one(value: Any) -> None:
    text = str(Masking().value(value))
    assert NUMBER not in text
    assert "Hello" not in text


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-21T10:00:00Z",
        "2026-11-21 10:00:00.123456",
        "SM" + "0123456789" * 3 + "ab",
        "550e8400-e29b-41d4-a716-446655440000",
        "192.168.100.200",
        "0.12345678901234",
        "error 21610 after 3 attempts of 500 in 12.5 s",
        "127.0.0.1:6379",
        "v=7.0.15",
    ],
)
def test_what_is_no_number_stays_readable(text: str) -> None:
    assert Masking().text(text) == text


def test_times_and_sizes_stay_readable() -> None:
    times = {"started_at": 1795255200, "used_bytes": 4_000_000_000, "clock_ms": 1795255200000, "n": 12}
    assert Masking().mapping(times) == times


def test_names_of_ours_stay_readable_unless_a_number_is_in_them() -> None:
    line = {"worker": "ip-10-0-12-200-12345-0a1b2c", "broadcast": "1m7yttc9tbrqyy", "batch": "0.12345678901"}
    line["instance"] = "929dc43731234567"
    assert Masking().mapping(line) == line
    assert NUMBER not in str(Masking().mapping({"worker": f"+{NUMBER}"}))


@pytest.mark.parametrize("name", ["worker", "host", "broadcast", "batch", "instance"])
def test_what_others_put_under_a_name_of_ours_is_masked(name: str) -> None:
    """As a parameter of a request's path; and what the process knows for a secret is hidden anywhere."""
    shown = Masking([TOKEN]).mapping({"parameters": {name: NUMBER}, "some": [{name: NUMBER}], name: TOKEN})
    assert NUMBER not in str(shown)
    assert TOKEN not in str(shown)


@pytest.mark.parametrize(
    "key",
    [
        *("body", "Body", "message_body", "variables", "ContentVariables", "content-variables", "token"),
        *("TWILIO_AUTH_TOKEN", "authToken", "Authorization", "auth", "api_key", "X-Twilio-Signature"),
        *("Cookie", "password", "client_secret", "media_url", "MediaUrls", "secret_key"),
    ],
)
def test_some_keys_are_never_logged(key: str) -> None:
    assert is_dropped(key)
    assert Masking().mapping({key: "x", "deeper": [{key: "x"}]}) == {"deeper": [{}]}


@pytest.mark.parametrize(
    "key", ["to", "state", "broadcast", "event", "account", "author", "sid", "lane", "platform"]
)
def test_other_keys_are(key: str) -> None:
    assert Masking().mapping({key: "x"}) == {key: "x"}


@pytest.mark.parametrize(
    "text",
    [
        '{"body": "Hush, \\"quoted\\" hush", "x": 1}',
        "{'Body': 'Hush it\\'s', 'x': 1}",
        "Body=Hush%20hush&x=1",
        "CreateMessage(to='x', body='Hush', variables={'name': 'Hush'})",
        'content_variables="{\\"1\\": \\"Hush\\"}"',
        '{\\"body\\": \\"Hush hush\\"}',
        "Authorization: Basic SHVzaEh1c2g6SHVzaA==",
        "authorization: Bearer Hush.Hush-Hush",
        "got Bearer HushHushHush from there",
        f"https://{ACCOUNT}:Hush@api.twilio.com/x",
        "redis://:Hush@host:6379/0",
        "TWILIO_AUTH_TOKEN=Hush",
        "auth_token='Hush'",
        "api_key: Hush",
        "key bc_live_abc_HushHushHush given",
        'body="Hush without an end',
    ],
)
def test_secrets_and_texts_inside_a_text_are_hidden(text: str) -> None:
    masked = Masking().text(text)
    assert HIDDEN in masked
    assert "Hush" not in masked
    assert "SHVza" not in masked


def test_known_secrets_are_hidden_however_they_are_spelled() -> None:
    masking = Masking([TOKEN, "p@ss/word"])
    for text in (TOKEN, f"x{TOKEN}y", "p@ss/word", "p%40ss%2Fword", f"user:{TOKEN}"):
        masked = masking.text(text)
        assert TOKEN not in masked
        assert "word" not in masked
    header = "Basic " + base64.b64encode(f"{ACCOUNT}:{TOKEN}".encode()).decode()
    assert masking.value([header]) == [f"Basic {HIDDEN}"]


def test_a_lone_token_is_hidden_even_if_unknown() -> None:
    assert Masking().text(f"refused {TOKEN}") == f"refused {HIDDEN}"


def test_a_long_text_is_cut_without_showing_half_a_secret() -> None:
    masked = Masking([TOKEN]).text("x" * 16_370 + TOKEN + "y" * 100_000)
    assert len(masked) < 16_500
    assert masked.endswith("characters)")
    assert TOKEN[:8] not in masked


@pytest.mark.parametrize("piece", ["a_", "1 ", 'body="', "body='\\", "+", "AC0", "a-b_", "%2B", '\\"'])
def test_no_text_takes_long_to_mask(piece: str) -> None:
    started = time.perf_counter()
    Masking().text((piece * 16_000)[:16_000])
    assert time.perf_counter() - started < 1.0


@given(st.text(max_size=30), st.from_regex(r"\+[1-9][0-9]{7,13}", fullmatch=True), st.text(max_size=30))
def test_a_number_never_gets_through_whole(before: str, number: str, after: str) -> None:
    assert number not in Masking().text(before + number + after)


@given(
    st.recursive(
        st.text(max_size=20) | st.integers() | st.none(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_masking_never_fails_and_masked_again_changes_nothing_more(value: Any) -> None:
    masked = Masking().value(value)
    json.dumps(masked)
