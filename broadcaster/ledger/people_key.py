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
    text = store.people_secret
    if not text:
        name = store.keys.plain("people:key")
        found = await store.redis.get(name)
        if found is None:
            await store.redis.set(name, secrets.token_urlsafe(_KEY_BYTES), nx=True)
            found = await store.redis.get(name)
        text = found.decode()
    return hashlib.blake2b(text.encode(), digest_size=_KEY_BYTES).digest()


def hashed(key: bytes, address: str) -> str:
    """Return `~` and the keyed BLAKE2b (16 bytes, URL-safe base64 without padding) of an address."""
    digest = hashlib.blake2b(address.encode(), key=key, digest_size=_HASH_BYTES).digest()
    return HASHED + base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def is_hashed(text: str) -> bool:
    """Tell whether this stands for somebody who was forgotten, as `hashed` writes it."""
    if not text.startswith(HASHED):
        return False
    try:
        return len(base64.b64decode(text[1:] + "==", b"-_", validate=True)) == _HASH_BYTES
    except ValueError:
        return False
