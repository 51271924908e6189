"""One request of Twilio to a customer: where it goes, what the URL's fragment orders, and its bytes.

Source: Twilio's pages on webhook requests and on connection overrides (`#rc=…&rp=…`).
"""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache
from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from broadcaster.simulator.signing import encoded, signature

if TYPE_CHECKING:
    from collections.abc import Mapping

POLICIES: Final = frozenset({"4xx", "5xx", "ct", "rt"})
MOST_RETRIES: Final = 5
_HEAD: Final = "User-Agent: TwilioProxy/1.1\r\nAccept: */*\r\nX-Home-Region: us1\r\n"
_FORM: Final = "Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\nContent-Length: "


class Overrides(NamedTuple):
    """What a fragment may order: retries 0 to 5, on which failures, and times."""

    retries: int = 1
    policy: frozenset[str] = frozenset({"ct"})
    connect_seconds: float = 5.0
    read_seconds: float = 15.0
    total_seconds: float = 15.0


class Origin(NamedTuple):
    """Whom to connect to, and the header lines that all requests to it share."""

    tls: bool
    host: str
    port: int
    head: str


class Webhook(NamedTuple):
    """A request that is ready to be written, as often as its overrides allow."""

    origin: Origin
    overrides: Overrides
    request: bytes


def webhook(
    url: str, params: Mapping[str, str], *, token: str, idempotency: str, method: str = "POST"
) -> Webhook:
    """Make Twilio's signed request of these parameters; the URL's fragment is obeyed and not sent.

    Raises ValueError where the URL names no host.
    """
    address, _, fragment = url.partition("#")
    scheme, _, rest = address.partition("://")
    netloc, _, path = rest.partition("/")
    if "?" in netloc:  # a query and no path
        netloc, _, query = rest.partition("?")
        path = f"?{query}"
    origin = _origin(scheme, netloc)
    if not path.isascii() or " " in path:
        path = quote(path, safe="/?&=%+:;,@!$'()*~")
    body = encoded(params)
    if method == "GET":
        path, body, params = f"{path}{'&' if '?' in path else '?'}{body.decode()}", b"", {}
    signed = signature(token, f"{scheme}://{netloc}/{path}", params)
    head = (
        f"{method} /{path} HTTP/1.1\r\nX-Twilio-Signature: {signed}\r\n"
        f"I-Twilio-Idempotency-Token: {idempotency}\r\n{origin.head}"
    )
    head += "\r\n" if method == "GET" else f"{_FORM}{len(body)}\r\n\r\n"
    return Webhook(origin, overrides(fragment), head.encode() + body)


@lru_cache(maxsize=256)
def _origin(scheme: str, netloc: str) -> Origin:
    parts = urlsplit(f"{scheme}://{netloc}")
    if scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{scheme}://{netloc} is no address to send a webhook to")
    tls = scheme == "https"
    login, _, host = netloc.rpartition("@")
    head = f"Host: {host}\r\n{_HEAD}"
    if login:  # no line can be added this way: a URL with a break in it was refused when it was given
        head += f"Authorization: Basic {b64encode(unquote(login).encode()).decode()}\r\n"
    return Origin(tls, parts.hostname, parts.port or (443 if tls else 80), head)


@lru_cache(maxsize=256)
def overrides(fragment: str) -> Overrides:
    """Read a fragment; what it doesn't name or names wrongly keeps Twilio's default."""
    given = dict(parse_qsl(fragment))
    policy = set(given.get("rp", "ct").split(",")) & {*POLICIES, "all"}
    return Overrides(
        retries=_within(given.get("rc"), 1, 0, MOST_RETRIES),
        policy=POLICIES if "all" in policy else frozenset(policy or {"ct"}),
        connect_seconds=_within(given.get("ct"), 5_000, 100, 10_000) / 1000,
        read_seconds=_within(given.get("rt"), 15_000, 100, 15_000) / 1000,
        total_seconds=_within(given.get("tt"), 15_000, 100, 15_000) / 1000,
    )


def _within(text: str | None, default: int, least: int, most: int) -> int:
    return min(max(int(text), least), most) if text is not None and text.isdecimal() else default
