"""The URL of a Redis under Sentinel, which names the sentinels and what the primary is called there.

    redis+sentinel://[user:password@]host[:port][,host[:port]…]/SERVICE[/DB][?sentinel_password=…]

`rediss+sentinel://` speaks TLS, to the sentinels too. Other options of the query are redis-py's connection
options; with the prefix `sentinel_` they are the sentinels' own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

SCHEMES: Final = ("redis+sentinel", "rediss+sentinel")
SENTINEL_PORT: Final = 26379
_OWN: Final = "sentinel_"


@dataclass(frozen=True, slots=True)
class SentinelAddress:
    """Where the sentinels are and what the primary is called there. `options` are for its connections."""

    hosts: tuple[tuple[str, int], ...]
    service: str
    db: int = 0
    tls: bool = False
    options: dict[str, str] = field(default_factory=dict, repr=False)
    sentinel_options: dict[str, str] = field(default_factory=dict, repr=False)


def under_sentinel(url: str) -> bool:
    """Tell whether a URL names a primary by its sentinels."""
    return url.partition("://")[0] in SCHEMES


def parse(url: str) -> SentinelAddress:
    """Read a `redis+sentinel://` URL. Raises `ValueError` with what is wrong; never shows the password."""
    scheme, _, rest = url.partition("://")
    if scheme not in SCHEMES:
        raise ValueError("must start with " + " or ".join(f"{s}://" for s in SCHEMES))
    # newer Pythons take brackets for the only host's: each place is read by itself
    netloc, slash, path = rest.partition("/")
    parts = urlsplit(slash + path)
    login, _, places = netloc.rpartition("@")
    user, _, password = login.partition(":")
    service, _, db = parts.path.strip("/").partition("/")
    if not service or (db and not db.isdigit()):
        raise ValueError("must name the primary as its sentinels do: …/SERVICE or …/SERVICE/DB")
    query = dict(parse_qsl(parts.query))
    options = {name: value for name, value in query.items() if not name.startswith(_OWN)}
    options |= {"username": unquote(user)} if user else {}
    options |= {"password": unquote(password)} if password else {}
    return SentinelAddress(
        hosts=tuple(_place(place) for place in places.split(",")),
        service=service,
        db=int(db or 0),
        tls=scheme == "rediss+sentinel",
        options=options,
        sentinel_options={n.removeprefix(_OWN): v for n, v in query.items() if n.startswith(_OWN)},
    )


def _place(place: str) -> tuple[str, int]:
    host, colon, port = place.rpartition(":")
    if not colon or place.endswith("]"):
        host, port = place, str(SENTINEL_PORT)
    if not host or not port.isdigit():
        raise ValueError("must list its sentinels as host:port, separated by commas")
    return host.strip("[]"), int(port)
