"""Twilio's signature: its own vectors, and a thousand requests beside its own package."""

from __future__ import annotations

import hashlib
import random
from urllib.parse import parse_qs, urlencode

import pytest
from twilio.request_validator import RequestValidator  # type: ignore[import-untyped]

from broadcaster.twilio.forms import decode_form
from broadcaster.twilio.signatures import Validator, sign

URL = "https://mycompany.com/myapp.php?foo=1&bar=2"
PARAMS = [
    ("CallSid", "CA1234567890ABCDE"),
    ("Digits", "1234"),
    ("From", "+14158675309"),
    ("To", "+18005551212"),
    ("Caller", "+14158675309"),
]
REPEATED = [
    ("Sid", "CA123"),
    ("SidAccount", "AC123"),
    ("Digits", "5678"),
    ("Digits", "1234"),
    ("Digits", "1234"),
]
#: Letters that forms, URLs and sorting may treat in their own way.
LETTERS = "aAbB01 +&=%?#/\\\"'<>\0\t\n.,-_~éßЖ漢😀"


class Repeating(dict[str, list[str]]):
    """What the package takes for parameters that repeat."""

    def getall(self, name: str) -> list[str]:
        return self[name]


def genuine(validator: Validator, signature: str, url: str, params: list[tuple[str, str]]) -> bool:
    origin, slash, path = url.partition("://")[2].partition("/")
    body = urlencode(params).encode()
    return validator.genuine(
        signature.encode("utf-8", "replace"), origin.encode(), f"{slash}{path}".encode(), decode_form(body)
    )


@pytest.mark.parametrize(
    ("params", "signature"),
    [(PARAMS, "RSOYDt4T1cUTdK1PDd93/VVr8B8="), (REPEATED, "IK+Dwps556ElfBT0I3Rgjkr1wJU=")],
)
def test_twilios_own_vectors(params: list[tuple[str, str]], signature: str) -> None:
    assert sign("12345", URL, params) == signature
    for public in (None, "https://mycompany.com", "https://mycompany.com:443"):
        assert genuine(Validator(["12345"], public), signature, URL, params)
    assert not genuine(Validator(["12346"]), signature, URL, params)
    assert not genuine(Validator(["12345"], "https://mycompany.org"), signature, URL, params)
    assert genuine(Validator(["12346", "12345"]), signature, URL, params), "a token being changed"
    assert not genuine(Validator([]), signature, URL, params)
    assert not genuine(Validator([]), sign("", URL, params), URL, params)


def text(chance: random.Random, most: int) -> str:
    return "".join(chance.choices(LETTERS, k=chance.randrange(most)))


def some_request(chance: random.Random) -> tuple[str, list[tuple[str, str]]]:
    host = chance.choice(["a.example", "deep.b.example.org", "127.0.0.1"])
    port = chance.choice(["", "", ":443", ":80", ":8443"])
    scheme = chance.choice(["https", "https", "http"])
    path = chance.choice(["/webhooks/twilio/status", "/a%20b/c", "/"])
    query = chance.choice(
        [
            "",
            "?r=1nf3r8k2m0t4qa.0.0.1.1.abc",
            "?a=%26&b=c+d&a=",
            "?" + urlencode({"x": text(chance, 6) + "y"}),
        ]
    )
    names = [text(chance, 5) + chance.choice("xyZ") for _ in range(chance.randrange(1, 8))]
    params = [(name, text(chance, 9)) for name in names for _ in range(chance.choice([1, 1, 1, 2, 3]))]
    chance.shuffle(params)
    return f"{scheme}://{host}{port}{path}{query}", params


def test_a_thousand_requests_are_judged_as_twilios_own_package_does() -> None:
    chance = random.Random(7)
    taken = refused = 0
    for _ in range(1000):
        url, params = some_request(chance)
        named = Repeating()
        for name, value in params:
            named.setdefault(name, []).append(value)
        origin = "/".join(url.split("/")[:3])
        token = chance.choice(["12345", "é-token", "x" * 32])
        signed = RequestValidator(token).compute_signature(url, named)
        if "\0" not in url:
            assert sign(token, url, params) == signed
        # what may be wrong about it, and what only looks so
        host = origin.partition("://")[2]
        other = origin.rpartition(":")[0] if ":" in host else origin + (":443" if url[4] == "s" else ":80")
        shown = chance.choice(
            [
                signed,
                signed,
                RequestValidator(token).compute_signature(url.replace(origin, other, 1), named),
                RequestValidator(token).compute_signature(url + "x", named),
                RequestValidator(token + "x").compute_signature(url, named),
                signed[:-1],
                signed.lower(),
                "",
                "é",
            ]
        )
        theirs = RequestValidator(token).validate(url, named, shown)
        validator = Validator([token], origin)
        assert genuine(validator, shown, url, params) == theirs, (url, params, shown)
        taken, refused = taken + theirs, refused + (not theirs)
    assert taken > 300
    assert refused > 300


def test_a_body_that_is_no_form_is_known_by_its_hash() -> None:
    body = '{"a": "ä"}'
    for said in (hashlib.sha256(body.encode()).hexdigest(), hashlib.sha256(b"x").hexdigest(), "", "é"):
        url = f"https://a.example/b?{urlencode({'x': 1, 'bodySHA256': said})}"
        signature = sign("12345", url)
        target = url.removeprefix("https://a.example").encode()
        ours = Validator(["12345"]).genuine_body(signature.encode(), b"a.example", target, body.encode())
        theirs = bool(said) and RequestValidator("12345").validate(url, body, signature)
        assert ours == theirs
    signature = sign("12345", "https://a.example/b")
    assert not Validator(["12345"]).genuine_body(signature.encode(), b"a.example", b"/b", b"{}")


@pytest.mark.parametrize(
    ("public", "signed_for", "taken"),
    [
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]", True),
        ("https://[2001:db8::1]", "https://[2001:db8::1]:443", True),
        ("https://user:pass@a.example:8443", "https://user:pass@a.example", True),
        ("https://user:pass@a.example", "https://user:pass@a.example:443", True),
        ("http://a.example", "http://a.example:80", True),
        ("http://a.example", "http://a.example:443", False),
        ("https://a.example/sub", "https://a.example:443/sub", True),
        ("https://a.example:8443", "https://a.example:443", False),
    ],
)
def test_ports_come_and_go(public: str, signed_for: str, *, taken: bool) -> None:
    signature = sign("12345", signed_for + "/x", [("a", "b")]).encode()
    assert Validator(["12345"], public).genuine(signature, b"any", b"/x", [(b"a", b"b")]) is taken


def test_no_token_is_in_a_repr() -> None:
    assert "secret" not in repr(Validator(["secret"]))


@pytest.mark.parametrize(
    "form",
    [
        b"", b"&", b"&&", b"a", b"a=", b"=", b"=b", b"a=b", b"a=b=c", b"a=%2B1&b=c+d", b"a=%26&b=%3D&c=%25",
        b"a=%zz&b=%", b"a=%C3%A9&b=%ff", b"a=1&a=2&a=", b"+=+", b"%41=%2b", b"a=%2B%00", b";a=b;c=d",
    ],
)  # fmt: skip
def test_forms_are_read_as_the_standard_library_does(form: bytes) -> None:
    theirs: dict[str, list[str]] = parse_qs(form.decode(), keep_blank_values=True, errors="surrogateescape")
    ours: dict[str, list[str]] = {}
    for name, value in decode_form(form):
        ours.setdefault(name.decode("utf-8", "surrogateescape"), []).append(
            value.decode("utf-8", "surrogateescape")
        )
    assert ours == theirs
