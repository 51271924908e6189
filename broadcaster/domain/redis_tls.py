"""TLS to Redis: which URLs speak it, the files it takes, and what a failed handshake means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, urlencode

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SCHEMES: Final = ("rediss", "rediss+sentinel")
_CHECK: Final = "ssl_check_hostname"
_NO: Final = ("false", "0", "no", "n", "f")
#: What OpenSSL and Redis say, and what that means; the first that fits.
_MEANINGS: Final[dict[tuple[str, ...], str]] = {
    ("Hostname mismatch", "IP address mismatch"): (
        "its certificate is for another name than the one it was called by. Call it by a name in its "
        "certificate (under Sentinel: the address that sentinels tell), or have one made for this name; "
        "?ssl_check_hostname=false in REDIS_URL goes without that check"
    ),
    ("certificate has expired",): "its certificate has expired: renew it, then restart Redis",
    ("certificate is not yet valid",): "its certificate is not valid yet: compare the clocks",
    ("CERTIFICATE_VERIFY_FAILED",): (
        "its certificate was signed by nobody who is trusted here: name the file with its CA's certificate "
        "in REDIS_TLS_CA"
    ),
    ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE"): (
        "it wants a certificate of ours: name the files in REDIS_TLS_CERT and REDIS_TLS_KEY"
    ),
    ("ALERT_UNKNOWN_CA", "ALERT_BAD_CERTIFICATE", "ALERT_CERTIFICATE_UNKNOWN"): (
        "it does not trust the certificate in REDIS_TLS_CERT: its tls-ca-cert-file must hold that one's CA"
    ),
    ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"): "it speaks no TLS at this port: use its TLS port",
}
_CLOSED: Final = ("Connection closed by server", "Connection reset by peer", "Connection lost")
_CLOSED_PLAIN: Final = (
    "it closes the connection at once. If it speaks TLS at this port, REDIS_URL begins with rediss://"
)
_CLOSED_WITHOUT: Final = (
    "it closes the connection after the handshake. If it wants a certificate of ours, name the files in "
    "REDIS_TLS_CERT and REDIS_TLS_KEY"
)
_CLOSED_WITH: Final = (
    "it closes the connection after the handshake. Does its tls-ca-cert-file hold the CA of REDIS_TLS_CERT?"
)
_SILENT: Final = "it does not answer. If it speaks no TLS at this port, REDIS_URL begins with redis://"


def encrypted(url: str) -> bool:
    """Tell whether a Redis URL speaks TLS."""
    return url.partition("://")[0] in SCHEMES


def with_files(url: str, *, ca: Path | None, certificate: Path | None, key: Path | None) -> str:
    """Return the URL with these files in its query; what it names itself stays."""
    named = {"ssl_ca_certs": ca, "ssl_certfile": certificate, "ssl_keyfile": key}
    base, _, query = url.partition("?")
    there = dict(parse_qsl(query))
    more = {name: str(path.absolute()) for name, path in named.items() if path and name not in there}
    return url if not more else f"{base}?{query}{'&' if query else ''}{urlencode(more)}"


def options(query: Mapping[str, str]) -> dict[str, Any]:
    """Return redis-py's options for TLS out of a query's; the certificate's name is checked by default."""
    found: dict[str, Any] = {name: value for name, value in query.items() if name.startswith("ssl_")}
    unchecked = found.get("ssl_cert_reqs") == "none" or str(found.get(_CHECK)).lower() in _NO
    return found | {_CHECK: not unchecked}


def query_of(url: str) -> dict[str, str]:
    """Return the options in a URL's query."""
    return dict(parse_qsl(url.partition("?")[2]))


def meaning(error: BaseException, url: str) -> str:
    """Return what a failed connection says about TLS, as half a sentence about Redis; empty if nothing."""
    told = " ".join(str(one) for one in _chain(error))
    for marks, what in _MEANINGS.items():
        if any(mark in told or mark.replace("_", " ").lower() in told.lower() for mark in marks):
            return what
    closed = any(mark in told for mark in _CLOSED)
    if encrypted(url):
        if closed:
            return _CLOSED_WITH if "ssl_certfile" in query_of(url) else _CLOSED_WITHOUT
        return _SILENT if "Timeout connecting" in told else ""
    return _CLOSED_PLAIN if closed and not url.startswith("unix:") else ""


def _chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
