"""Twilio's signature of its webhooks (docs: usage/webhooks/webhooks-security), made and checked.

base64(HMAC-SHA1(auth token, URL + every parameter's name and value)), names sorted, nothing between; of a
name that repeats the distinct values, sorted. The URL is the one that Twilio was given, without its fragment.
Bytes throughout: what is signed is what came, whatever it would be as text.
"""

from __future__ import annotations

import hashlib
import re
from binascii import b2a_base64
from hmac import compare_digest, digest
from itertools import chain
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: A form's parameters, percent-decoded, in any order.
Pairs = list[tuple[bytes, bytes]]
_BLOCK: Final = 64
_DEFAULT_PORTS: Final = {b"https": b":443", b"http": b":80"}
#: Scheme; credentials and host (an IPv6 address in brackets); port; the rest.
_split: Final = re.compile(
    rb"([a-z][a-z0-9+.-]*)://((?:[^/?#@]*@)?(?:\[[^\]/?#]*\]|[^:/?#]*))(:\d*)?(.*)", re.DOTALL
).fullmatch
_body_hash: Final = re.compile(rb"(?:^|&)bodySHA256=([0-9a-f]{64})(?=&|$)").search


def sign(token: str, url: str, params: Iterable[tuple[str, str]] = ()) -> str:
    """Return the signature of a request to `url` (without fragment) with these form parameters."""
    pairs = [(name.encode(), value.encode()) for name, value in params]
    return b2a_base64(digest(token.encode(), url.encode() + _joined(pairs), "sha1"), newline=False).decode()


class _Hmac:
    """HMAC-SHA1 under one key (RFC 2104), its two halves begun once: a third of `hmac.digest`'s time."""

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        short = hashlib.sha1(key).digest() if len(key) > _BLOCK else key  # noqa: S324 - Twilio's choice
        block = short.ljust(_BLOCK, b"\0")
        self._inner = hashlib.sha1(bytes(byte ^ 0x36 for byte in block))  # noqa: S324
        self._outer = hashlib.sha1(bytes(byte ^ 0x5C for byte in block))  # noqa: S324

    def digest(self, text: bytes) -> bytes:
        """Return the 20 bytes for a text."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(text)
        outer.update(inner.digest())
        return outer.digest()


class Validator:
    """Checks signatures. `tokens`: the account's auth token, and a secondary one while it is being changed.

    Without a token nothing is genuine. `public_url` is what Twilio was told to call, where a proxy stands
    before us; without it the request's own Host is taken for that, with either scheme.
    """

    def __init__(self, tokens: Sequence[str], public_url: str | None = None) -> None:
        self._tokens = [_Hmac(token.encode()) for token in tokens]
        self._origins = [public_url.encode()] if public_url else None

    def __repr__(self) -> str:
        return f"Validator({len(self._tokens)} tokens)"

    def genuine(self, signature: bytes, host: bytes, target: bytes, pairs: Pairs) -> bool:
        """Whether Twilio signed a request for `target` (path and query as they came) with this form."""
        tail = target + _joined(pairs)
        origins = self._origins or [b"https://" + host, b"http://" + host]
        for origin in origins:
            if self._by_any(signature, origin + tail):
                return True
        # Twilio adds the scheme's port, or leaves a port out, and nobody knows when
        for origin in origins:
            for other in _other_ports(origin):
                if self._by_any(signature, other + tail):
                    return True
        return False

    def genuine_body(self, signature: bytes, host: bytes, target: bytes, body: bytes) -> bool:
        """Whether Twilio signed a request whose body is no form: its URL names the body's SHA-256."""
        shown = _body_hash(target.partition(b"?")[2])
        if shown is None or not compare_digest(hashlib.sha256(body).hexdigest().encode(), shown[1]):
            return False
        return self.genuine(signature, host, target, [])

    def _by_any(self, signature: bytes, text: bytes) -> bool:
        for token in self._tokens:
            if compare_digest(b2a_base64(token.digest(text), newline=False), signature):
                return True
        return False


def _joined(pairs: Pairs) -> bytes:
    # by name, and of one name by value: a set drops what is there twice
    return b"".join(chain.from_iterable(sorted(set(pairs))))


def _other_ports(origin: bytes) -> list[bytes]:
    """Return an origin with the scheme's port where it has none, else without its port."""
    parts = _split(origin)
    if parts is None:
        return []
    scheme, host, port, rest = parts.groups()
    other = b"" if port else _DEFAULT_PORTS.get(scheme, b"")
    return [scheme + b"://" + host + other + rest]
