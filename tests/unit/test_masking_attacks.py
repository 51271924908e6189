"""Tricks by which a number, a secret or a message's text might get into a log line all the same."""

from __future__ import annotations

import base64
import enum
import json
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote, quote_plus

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.telemetry.masking import HIDDEN, Masking

if TYPE_CHECKING:
    from collections.abc import Callable

TOKEN = "f00dfeedf00dfeedf00dfeedf00dfeed"
MIXED = "Zq7+wX/9bT4kLmN0pRsUvYaC"
ACCOUNT = "AC" + "0a" * 16
NUMBER = "14155550100"
TEXT = "Hushhush the water rises"
FIRST = "Hushhush"
#: The parts of a text that would give it away.
GIVEAWAYS = ("Hush", "water", "rises")


def digits(text: str) -> str:
    """Every digit of a text, in whatever script."""
    return "".join(str(unicodedata.digit(c)) for c in text if unicodedata.digit(c, None) is not None)


def circled(number: str) -> str:
    return "".join("⓪①②③④⑤⑥⑦⑧⑨"[int(c)] for c in number)


NUMBERS: dict[str, str] = {
    "underscores": "+1_415_555_0100",
    "commas": "1,415,555,0100",
    "spaced dashes": "415 - 555 - 0100",
    "pipes": "+1|415|555|0100",
    "bullets": "1·415·555·0100",
    "a date that is none": "1415-55-50100",
    "a date with more": "2014-12-30-14155550100",
    "a decimal": "14155550100.0",
    "percent-encoded digits": "".join(f"%{ord(c):02x}" for c in "+" + NUMBER),
    "percent-encoded twice": quote(quote("whatsapp:+", safe=""), safe="") + NUMBER,
    "JSON escapes": "".join(f"\\u{ord(c):04x}" for c in NUMBER),
    "repr escapes": "".join(f"\\x{ord(c):02x}" for c in NUMBER),
    "HTML": "&#43;" + "".join(f"&#{ord(c)};" for c in NUMBER),
    "keycaps": "".join(f"{c}\ufe0f\u20e3" for c in NUMBER),
    "circled": circled(NUMBER),
    "superscript": NUMBER.translate({ord(str(d)): "⁰¹²³⁴⁵⁶⁷⁸⁹"[d] for d in range(10)}),
    "mathematical": "".join(chr(0x1D7CE + int(c)) for c in NUMBER),
    "Arabic-Indic": "".join(chr(0x660 + int(c)) for c in NUMBER),
    "Devanagari": "".join(chr(0x966 + int(c)) for c in NUMBER),
    "zero-width between all": "\u200b".join(NUMBER),
    "word joiners": "\u2060".join(NUMBER),
    "soft hyphens": "\u00ad".join(NUMBER),
    "right to left marks": "\u202e".join(NUMBER),
    "line ends": "1415\n555\n0100",
    "tabs": "1415\t555\t0100",
    "in a key of Redis": f"bc:lane:+{NUMBER}:flow",
    "behind letters": f"to{NUMBER}now",
    "whatsapp": f"whatsapp:+{NUMBER}",
    "in JSON": json.dumps({"to": f"+{NUMBER}"}),
    "in JSON in JSON": json.dumps(json.dumps({"to": f"+{NUMBER}"})),
    "in a query": f"https://example.com/x?To=%2B{NUMBER}",
    "in a bytes' repr": repr(f"+{NUMBER}".encode()),
    "at the cut of a long text": "x" * 16_378 + f"+{NUMBER}",
}


@pytest.mark.parametrize("text", NUMBERS.values(), ids=NUMBERS.keys())
def test_no_trick_shows_a_number(text: str) -> None:
    masked = Masking().text(text)
    assert "5550100" not in digits(masked)
    assert "4155550" not in digits(masked)


SPELLED: dict[str, Callable[[str], str]] = {
    "plain": str,
    "in a word": lambda s: f"x{s}x",
    "upper case": str.upper,
    "percent": lambda s: quote(s, safe=""),
    "plus": quote_plus,
    "every character percent-encoded": lambda s: "".join(f"%{ord(c):02X}" for c in s),
    "percent-encoded twice": lambda s: quote(quote(s, safe=""), safe=""),
    "JSON escapes": lambda s: "".join(f"\\u{ord(c):04x}" for c in s),
    "hexadecimal escapes": lambda s: "".join(f"\\x{ord(c):02x}" for c in s),
    "broken by a line end": lambda s: f"{s[:9]}\n{s[9:]}",
    "broken by a written line end": lambda s: repr(f"{s[:9]}\n{s[9:]}"),
    "broken by spaces": " ".join,
    "joined of two": lambda s: f"'{s[:10]}' + '{s[10:]}'",
    "zero-width": "\u200b".join,
    "fullwidth": lambda s: "".join(chr(ord(c) + 0xFEE0) for c in s),
    "base64": lambda s: base64.b64encode(s.encode()).decode(),
    "base64, one before": lambda s: base64.b64encode(f"a{s}b".encode()).decode(),
    "base64, two before": lambda s: base64.b64encode(f"ab{s}cd".encode()).decode(),
    "base64 for URLs": lambda s: base64.urlsafe_b64encode(f"{ACCOUNT}:{s}".encode()).decode(),
    "basic": lambda s: "Basic " + base64.b64encode(f"{ACCOUNT}:{s}".encode()).decode(),
    "basic in lines": lambda s: "Basic " + base64.encodebytes(f"{ACCOUNT}:{s}".encode()).decode(),
    "basic in written lines": lambda s: repr(b"Basic " + base64.encodebytes(f"{ACCOUNT}:{s}".encode())),
    "user info": lambda s: f"https://{ACCOUNT}:{s}@api.twilio.com/2010",
    "user info with a slash": lambda s: f"redis://:pa/{s}@host:6379/0",
    "a query": lambda s: f"https://example.com/x?token={s}&a=1",
    "at the cut of a long text": lambda s: "x" * 16_370 + s,
}


@pytest.mark.parametrize("secret", [TOKEN, MIXED])
@pytest.mark.parametrize("spell", SPELLED.values(), ids=SPELLED.keys())
def test_no_spelling_shows_a_secret(spell: Callable[[str], str], secret: str) -> None:
    masked = Masking([secret]).text(spell(secret))
    flat = "".join(unicodedata.normalize("NFKC", masked).split()).replace("\u200b", "").lower()
    assert HIDDEN in masked
    assert secret[:9].lower() not in flat
    assert secret[-9:].lower() not in flat
    for core in (base64.b64encode(("x" * n + secret).encode()).decode()[8:28] for n in range(3)):
        assert core not in masked


KEYED: dict[str, str] = {
    "camel case": f'{{"accessToken": "{TEXT}"}}',
    "a dash": f"x-api-key: {FIRST}",
    "JSON": json.dumps({"body": TEXT, "x": 1}),
    "JSON in JSON": json.dumps(json.dumps({"body": TEXT})),
    "JSON in JSON in JSON": json.dumps(json.dumps(json.dumps({"body": TEXT}))),
    "nested variables": f"variables={{'a': {{'b': '{TEXT}'}}, 'c': '{TEXT}'}}",
    "a bracket in quotes": f"variables={{'a': '}} {TEXT}'}}",
    "a list": f"media_urls=['https://a', '{TEXT}']",
    "a call": f"CreateMessage(body=Text('{TEXT}'), to=1)",
    "bytes": f"body=b'{TEXT}'",
    "a form": f"x=1&Body={quote_plus(TEXT)}&To=2",
    "an encoded form": quote(f"x=1&Body={TEXT}&To=2", safe=""),
    "encoded JSON": quote(json.dumps({"body": TEXT}), safe=""),
    "without quotes": f"body: {TEXT}",
    "an arrow": f'"body" => "{TEXT}"',
    "an index": f"form['Body'] = '{TEXT}'",
    "an open end": f'{{"body": "{TEXT}',
    "an escaped end": json.dumps({"body": f'a "quoted" {TEXT} \\'}),
    "an argument": f"post(to=1, body='{TEXT}', x=2)",
    "a header": "Authorization: Bearer " + FIRST,
    "a digest": "authorization: Digest " + FIRST,
    "a cookie": f"Cookie: {FIRST}=1",
    "a JWT": "got eyJhbGciOiJIUzI1NiJ9.eyJIdXNoIjoiSHVzaCJ9.Hushhush_x here",
    "a key of ours": "used bc_Hushhush_waterrises",
    "an endpoint's secret": "whsec_Hushhushwaterrises=",
}


@pytest.mark.parametrize("text", KEYED.values(), ids=KEYED.keys())
def test_no_way_to_name_it_shows_a_value(text: str) -> None:
    masked = Masking().text(text)
    assert HIDDEN in masked
    assert not [part for part in GIVEAWAYS if part in masked]


class Inner(msgspec.Struct):
    body: str
    to: str


class Pair(NamedTuple):
    token: str
    to: str


@dataclass
class Outer:
    inner: Inner
    variables: dict[str, Any]
    note: str
    hidden: str = field(default=TEXT, repr=False)


class Kind(enum.Enum):
    SECRET = TEXT


class Silent:
    def __repr__(self) -> str:
        return "Silent()"


class Broken:
    def __repr__(self) -> str:
        raise ValueError(TEXT)


class ToldError(Exception):
    pass


def circle() -> list[Any]:
    found: list[Any] = []
    found.append({"again": found})
    return found


def error() -> Exception:
    told = ToldError({"body": TEXT}, f"+{NUMBER}")
    told.add_note(f"body={TEXT!r}")
    return told


VALUES: dict[str, Callable[[], Any]] = {
    "a struct": lambda: Inner(TEXT, f"+{NUMBER}"),
    "a dataclass": lambda: Outer(Inner(TEXT, NUMBER), {"x": TEXT}, f"+{NUMBER}"),
    "a named tuple": lambda: Pair(TEXT, NUMBER),
    "deep": lambda: [[[[{"a": [{"b": Inner(TEXT, NUMBER)}]}]]]],
    "deeper than anybody goes": lambda: [[[[[[[[[[[[TEXT]]]]]]]]]]]],
    "an enum": lambda: Kind.SECRET,
    "a broken repr": Broken,
    "an exception": error,
    "a circle": circle,
    "bytes": TEXT.encode,
    "a key of bytes": lambda: {f"+{NUMBER}".encode(): 1},
    "a key that is a tuple": lambda: {(f"+{NUMBER}", "body"): 1},
    "a key that is a number": lambda: {int(NUMBER): 1, float(NUMBER): 2},
    "a float": lambda: float(NUMBER),
    "letters": lambda: list(f"+{NUMBER}"),
    "a set": lambda: {f"+{NUMBER}"},
    "a huge number": lambda: 10**5000,
    "no number": lambda: [float("nan"), float("inf")],
    "half a character": lambda: "\ud800",
}


@pytest.mark.parametrize("make", VALUES.values(), ids=VALUES.keys())
def test_no_value_hides_one_and_each_can_be_written(make: Callable[[], Any]) -> None:
    text = json.dumps(Masking().value(make()))
    assert "5550100" not in digits(text)
    assert not [part for part in GIVEAWAYS if part in text]


def test_what_has_a_repr_of_its_own_is_not_taken_apart() -> None:
    assert Masking().value({"x": Silent()}) == {"x": "Silent()"}


@pytest.mark.parametrize(
    "piece", ["://", "Basic aaaaaa\n", "body={", "body='\\", "eyJaaaaaaa.", "1, ", "%31", "\\x31", "²"]
)
def test_the_longest_text_is_looked_at_no_longer_than_its_beginning(piece: str) -> None:
    """A megabyte costs what its cut beginning does, whatever it is made of."""
    whole = (piece * 1_000_000)[:1_000_000]
    masked = Masking([TOKEN]).text(whole)
    assert len(masked) <= 3 * 16_500
    assert masked.endswith("(1000000 characters)")


@given(st.text(max_size=40), st.sampled_from(list(SPELLED)), st.text(max_size=40))
def test_no_neighbours_help_a_secret(before: str, spelling: str, after: str) -> None:
    masked = Masking([TOKEN]).text(before + SPELLED[spelling](TOKEN) + after)
    assert TOKEN not in masked
    assert TOKEN.upper() not in masked


@given(
    st.recursive(
        st.text(max_size=8) | st.just(TEXT),
        lambda x: st.dictionaries(st.sampled_from("abc"), x) | st.lists(x),
    )
)
def test_whatever_variables_hold_their_repr_is_hidden_whole(variables: Any) -> None:
    masked = Masking().text(f"Broadcast(variables={[variables]!r}, to='x')")
    assert masked.startswith(f"Broadcast(variables={HIDDEN}")
    assert not [part for part in GIVEAWAYS if part in masked]
