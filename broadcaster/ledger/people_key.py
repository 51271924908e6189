"""Forgotten people are known again only by a keyed hash of their address.

The key is BROADCASTER_PEOPLE_KEY where that is set, else the installation's own, made once. With another key
the hashes mean nobody any more.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

#: Stands before a hash where an address would stand; no address begins with it.
HASHED: Final = "~"
_HASH_BYTES: Final = 16
_KEY_BYTES: Final = 32


async def people_key(store: Store) -> bytes:
    """Return the key, 32 bytes. Raises redis' errors."""
    if not store.people_secret:
        name = store.keys.plain("people:key")
        found = await store.redis.get(name)
        if found is None:
            await store.redis.set(name, secrets.token_urlsafe(_KEY_BYTES), nx=True)
            found = await store.redis.get(name)
        store.people_secret = found.decode()
    return hashlib.blake2b(store.people_secret.encode(), digest_size=_KEY_BYTES).digest()


async def key_in_use(store: Store) -> bytes:
    """Return the key if anybody can be known by it, else b"". Writes nothing. Raises redis' errors."""
    if not store.people_secret and not await store.redis.exists(store.keys.plain("people:key")):
        return b""
    return await people_key(store)


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
