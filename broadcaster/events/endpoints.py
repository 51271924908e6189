"""Endpoints: where a customer wants to be told of what, signed with which secret.

Standard Webhooks (spec/standard-webhooks.md): a secret is `whsec_` and 24 to 64 bytes in base64; while it is
being changed every request carries a signature by the new and one by the old.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import secrets
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

import msgspec

from broadcaster.outside.addresses import forbidden_because
from broadcaster.store.errors import StoreError
from broadcaster.store.scripts import Call, packed, text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from broadcaster.store.connection import Store

#: What an endpoint can be told of.
KINDS: Final = (
    "message.accepted",
    "message.delivered",
    "message.failed",
    "message.in_doubt",
    "reply.received",
    "opt_out.changed",
    "broadcast.started",
    "broadcast.paused",
    "broadcast.completed",
)
#: Each is asked for a second's work by every worker, every second.
ENDPOINTS_MOST: Final = 100
#: How long after a rotation requests are signed with the old secret, too.
OVERLAP_SECONDS: Final = 86_400
_SECRET_BYTES: Final = 32
_LONGEST_URL: Final = 2000
_LONGEST_NOTE: Final = 200
_TRIES: Final = 5


class EndpointError(ValueError):
    """What was asked of an endpoint can't be. `field` names the part that is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Endpoint(msgspec.Struct, frozen=True):
    """One endpoint. Times are unix seconds; `disabled` says why it is told nothing, '' while it is."""

    url: str
    types: tuple[str, ...]
    secret: str
    created: int
    description: str = ""
    previous_secret: str = ""
    previous_until: int = 0
    disabled: str = ""

    def __repr__(self) -> str:
        return f"Endpoint({self.shown_url!r}, {self.types})"

    @property
    def shown_url(self) -> str:
        """The URL without its query, which may hold a key."""
        return self.url.partition("?")[0] + ("?…" if "?" in self.url else "")

    def secrets_at(self, now: float) -> tuple[str, ...]:
        """Return the secrets to sign with, the newest first."""
        if self.previous_secret and now < self.previous_until:
            return (self.secret, self.previous_secret)
        return (self.secret,)


class Place(msgspec.Struct, frozen=True):
    """How far an endpoint is, and how it does. Times are unix seconds, 0 for none or never.

    `behind`: entries of the stream (what one call of a script did) that it has not been given yet; `lost`:
    entries that were dropped before that, `dropped`: parked deliveries that were.
    """

    waiting: int = 0
    parked: int = 0
    behind: int = 0
    delivered: int = 0
    lost: int = 0
    dropped: int = 0
    failing_since: int = 0
    held_until: float = 0.0
    last_answer: str = ""
    last_at: int = 0


def new_endpoint(
    url: str,
    types: Iterable[str],
    now: float,
    *,
    description: str = "",
    allow_http: bool = False,
    allow_private: bool = False,
) -> Endpoint:
    """Make an endpoint with a new secret. Raises `EndpointError`."""
    chosen = tuple(dict.fromkeys(types))
    if not chosen:
        raise EndpointError("types", "name at least one type: " + ", ".join(KINDS))
    for kind in chosen:
        if kind not in KINDS:
            raise EndpointError("types", f"there is no type {kind!r}; there are: " + ", ".join(KINDS))
    if len(description) > _LONGEST_NOTE:
        raise EndpointError("description", f"must have at most {_LONGEST_NOTE} characters")
    check_url(url, allow_http=allow_http, allow_private=allow_private)
    return Endpoint(url, chosen, new_secret(), int(now), description)


def check_url(url: str, *, allow_http: bool, allow_private: bool) -> SplitResult:
    """Return a URL's parts if we may post there; a name is looked up and judged at each delivery.

    Raises `EndpointError`.
    """
    if len(url) > _LONGEST_URL or not url.isascii() or any(c <= " " or c == "\x7f" for c in url):
        raise EndpointError(
            "url", f"must be a URL of at most {_LONGEST_URL} ASCII characters, without spaces"
        )
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise EndpointError("url", "is no URL: its host or port cannot be read") from None
    schemes = ("https", "http") if allow_http else ("https",)
    if parts.scheme not in schemes or not host:
        raise EndpointError("url", "must start with " + " or ".join(f"{s}://HOST" for s in schemes))
    if parts.username is not None or parts.password is not None:
        raise EndpointError("url", "must not hold a user or password; check our signature instead")
    if parts.fragment:
        raise EndpointError("url", "must not have a part behind #: it is not sent")
    if not allow_private:
        try:
            literal = ipaddress.ip_address(host)
        except ValueError:
            literal = None
        if literal is not None and (why := forbidden_because(literal)):
            raise EndpointError("url", f"{host} is {why}; requests go to public addresses only")
    return parts


def new_secret() -> str:
    """Return a fresh `whsec_…`."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def rotated(endpoint: Endpoint, now: float) -> Endpoint:
    """Return it with a new secret; the old one signs, too, for `OVERLAP_SECONDS`."""
    return msgspec.structs.replace(
        endpoint,
        secret=new_secret(),
        previous_secret=endpoint.secret,
        previous_until=int(now) + OVERLAP_SECONDS,
    )


async def create(store: Store, endpoint: Endpoint, nonce: str = "") -> tuple[str, Endpoint]:
    """Store a new endpoint; returns its id and what is there, "" if there are `ENDPOINTS_MOST` already.

    With the same nonce it is made once; another one with that nonce is another. Raises `StoreError`.
    """
    endpoint_id = "ep_" + (_asked(endpoint, nonce) if nonce else secrets.token_hex(8))
    verdict = await store.run(_write(endpoint_id, endpoint, b""))
    if verdict == "changed" and (there := await read_endpoint(store, endpoint_id)) is not None:
        return endpoint_id, there
    return (endpoint_id if verdict == "ok" else ""), endpoint


def _asked(endpoint: Endpoint, nonce: str) -> str:
    """Return what is the same whenever the same is asked for with this nonce."""
    asked = msgspec.json.encode([nonce, endpoint.url, endpoint.types, endpoint.description])
    return hashlib.sha256(asked).hexdigest()[:16]


async def change(
    store: Store, endpoint_id: str, how: Callable[[Endpoint], Endpoint | None]
) -> Endpoint | None:
    """Change an endpoint, or remove it (`how` returns None), whatever others do to it meanwhile.

    Returns what it was before, None if there is no such. Raises `StoreError`.
    """
    for _ in range(_TRIES):
        raw = await store.redis.hget(store.keys.plain("endpoints"), endpoint_id)
        if raw is None:
            return None
        found = _unpack(raw)
        if await store.run(_write(endpoint_id, how(found), raw)) == "ok":
            return found
    raise StoreError(f"the endpoint {endpoint_id} is being changed by others all the time: try again")


def _write(endpoint_id: str, new: Endpoint | None, old: bytes) -> Call[str]:
    written = b"" if new is None else packed(msgspec.to_builtins(new))
    return Call("endpoint", (endpoint_id, written, old, ENDPOINTS_MOST), text, lasting=True)


async def read_endpoint(store: Store, endpoint_id: str) -> Endpoint | None:
    """Read one endpoint, None if there is no such."""
    raw = await store.redis.hget(store.keys.plain("endpoints"), endpoint_id)
    return _unpack(raw) if raw else None


async def read_endpoints(store: Store) -> dict[str, Endpoint]:
    """Read all endpoints by id, the oldest first."""
    found = await store.redis.hgetall(store.keys.plain("endpoints"))
    read = {name.decode(): _unpack(raw) for name, raw in found.items()}
    return dict(sorted(read.items(), key=lambda item: (item[1].created, item[0])))


async def read_place(store: Store, endpoint_id: str) -> Place:
    """Read how far an endpoint is."""
    at, events = store.keys.endpoint(endpoint_id), store.keys.plain("events")
    async with store.redis.pipeline(transaction=False) as pipe:
        pipe.hgetall(at)
        pipe.zcard(store.keys.endpoint(endpoint_id, ":queue"))
        pipe.zcard(store.keys.endpoint(endpoint_id, ":parked"))
        pipe.exists(events)
        pipe.xinfo_stream(events)
        raw, waiting, parked, exists, info = await pipe.execute(raise_on_error=False)
    fields = {name.decode(): value.decode() for name, value in raw.items()}
    added = int(info["entries-added"]) if exists else 0
    return Place(
        waiting=waiting,
        parked=parked,
        behind=max(0, added - int(fields.get("read", added))),
        delivered=int(fields.get("delivered", 0)),
        lost=int(fields.get("lost", 0)),
        dropped=int(fields.get("dropped", 0)),
        failing_since=int(fields.get("failing", 0)),
        held_until=float(fields.get("hold", 0)),
        last_answer=fields.get("last", ""),
        last_at=int(fields.get("last_at", 0)),
    )


def _unpack(raw: bytes) -> Endpoint:
    return msgspec.msgpack.decode(raw, type=Endpoint)
