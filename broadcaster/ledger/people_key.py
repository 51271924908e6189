"""Forgotten people are known again only by a keyed hash of their address.

The key is BROADCASTER_PEOPLE_KEY where that is set, else the installation's own, made once. With another key
the hashes mean nobody any more, and those people would be written to: so Redis keeps a mark of the key that
people were forgotten with, and who comes with another is refused.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import TYPE_CHECKING, Final

from broadcaster.store.errors import StoreError

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

#: Stands before a hash where an address would stand; no address begins with it.
HASHED: Final = "~"
_HASH_BYTES: Final = 16
_KEY_BYTES: Final = 32
_MARK_BYTES: Final = 8
_MARK: Final = "people:mark"


class OtherKey(StoreError):  # noqa: N818 - reads as the state it names
    """People were forgotten with another key: nobody could tell any more who of them opted out."""

    def __init__(self) -> None:
        super().__init__(
            "people were forgotten with another BROADCASTER_PEOPLE_KEY (or with none): who of them opted out "
            "can't be told with this one, so nothing is sent. Set the one of before, everywhere"
        )


async def people_key(store: Store) -> bytes:
    """Return the key, 32 bytes. Raises `OtherKey`, and redis' errors."""
    key = await _read_key(store)
    if not store.people_known:
        mark = await store.redis.get(store.keys.plain(_MARK))
        if mark is not None and mark != _mark_of(key):
            raise OtherKey
        store.people_known = mark is not None
    return key


async def key_to_forget_with(store: Store) -> bytes:
    """Return the key, which must be the one from now on. Raises `OtherKey`, and redis' errors."""
    await store.redis.set(store.keys.plain(_MARK), _mark_of(await _read_key(store)), nx=True)
    return await people_key(store)


def _mark_of(key: bytes) -> bytes:
    return hashlib.blake2b(b"mark", key=key, digest_size=_MARK_BYTES).hexdigest().encode()


async def _read_key(store: Store) -> bytes:
    if not store.people_secret:
        name = store.keys.plain("people:key")
        found = await store.redis.get(name)
        if found is None:
            await store.redis.set(name, secrets.token_urlsafe(_KEY_BYTES), nx=True)
            found = await store.redis.get(name)
        store.people_secret = found.decode()
    return hashlib.blake2b(store.people_secret.encode(), digest_size=_KEY_BYTES).digest()


async def key_in_use(store: Store) -> bytes:
    """Return the key if anybody can be known by it, else b"". Writes nothing. Raises redis' errors.

    With another key nobody can: who writes STOP is opted out by number all the same.
    """
    if not store.people_secret and not await store.redis.exists(store.keys.plain("people:key")):
        return b""
    try:
        return await people_key(store)
    except OtherKey:
        return b""


def digest(key: bytes, address: str) -> bytes:
    """Return the keyed BLAKE2b of an address, 16 bytes."""
    return hashlib.blake2b(address.encode(), key=key, digest_size=_HASH_BYTES).digest()


def hashed(key: bytes, address: str) -> str:
    """Return `~` and the `digest` of an address in URL-safe base64 without padding."""
    return written(digest(key, address))


def written(raw: bytes) -> str:
    """Return a digest as Redis and people have it."""
    return HASHED + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def digest_in(text: str) -> bytes:
    """Return the digest that `written` wrote."""
    return base64.urlsafe_b64decode(text[1:] + "==")


def is_hashed(text: str) -> bool:
    """Tell whether this stands for somebody who was forgotten, as `hashed` writes it."""
    if not text.startswith(HASHED):
        return False
    try:
        return written(digest_in(text)) == text and len(digest_in(text)) == _HASH_BYTES
    except ValueError:
        return False
