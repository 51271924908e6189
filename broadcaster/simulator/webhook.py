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
_HEAD: Final = (
    b"%s %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: TwilioProxy/1.1\r\nAccept: */*\r\n"
    b"X-Twilio-Signature: %s\r\nI-Twilio-Idempotency-Token: %s\r\nX-Home-Region: us1\r\n%s"
)
_FORM: Final = b"Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\nContent-Length: %d\r\n\r\n"


class Overrides(NamedTuple):
    """What a fragment may order: retries 0 to 5, on which failures, and times."""

    retries: int = 1
    policy: frozenset[str] = frozenset({"ct"})
    connect_seconds: float = 5.0
    read_seconds: float = 15.0
    total_seconds: float = 15.0


class Origin(NamedTuple):
    """Whom to connect to. `authorization` is a header line for `user:password@` in a URL."""

    tls: bool
    host: str
    port: int
    netloc: bytes
    authorization: bytes


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
    ends = min(place for place in (rest.find("/"), rest.find("?"), len(rest)) if place >= 0)
    origin = _origin(scheme, rest[:ends])
    path = rest[ends:] if rest[ends:].startswith("/") else f"/{rest[ends:]}"
    if method == "GET":
        path += ("&" if "?" in path else "?") + encoded(params).decode()
    address = f"{scheme}://{rest[:ends]}{path}"
    if not path.isascii() or " " in path:
        path = quote(path, safe="/?&=%+:;,@!$'()*~")
    signed = signature(token, address, {} if method == "GET" else params)
    body = b"" if method == "GET" else encoded(params)
    head = _HEAD % (
        method.encode(),
        path.encode(),
        origin.netloc,
        signed,
        idempotency.encode(),
        origin.authorization,
    )
    head += b"\r\n" if method == "GET" else _FORM % len(body)
    return Webhook(origin, overrides(fragment), head + body)


@lru_cache(maxsize=256)
def _origin(scheme: str, netloc: str) -> Origin:
    parts = urlsplit(f"{scheme}://{netloc}")
    if scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{scheme}://{netloc} is no address to send a webhook to")
    tls = scheme == "https"
    who = netloc.rpartition("@")
    # Header injection is not possible: a URL with a line break was refused when it was given.
    login = b64encode(unquote(who[0]).encode())
    authorization = b"Authorization: Basic %s\r\n" % login if who[1] else b""
    return Origin(tls, parts.hostname, parts.port or (443 if tls else 80), who[2].encode(), authorization)


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
