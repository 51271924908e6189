"""API keys: made, listed, revoked. A key is shown once; only its digest is kept."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from broadcaster.domain.api_keys import DEFAULT_RATE, ApiKey, Scope, digest, new_key
from broadcaster.operations import audit
from broadcaster.operations.errors import NotFound
from broadcaster.store.scripts import Call

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broadcaster.operations.actor import Actor
    from broadcaster.store.connection import Store


@dataclass(frozen=True, slots=True)
class KeyView:
    """A key and when it was last used (to the minute), in unix seconds; None if never."""

    key: ApiKey
    used: int | None

    def summary(self) -> dict[str, Any]:
        """Return it in JSON's types."""
        key = self.key
        return {
            "id": key.id,
            "name": key.name,
            "scopes": [scope.value for scope in key.scopes],
            "state": key.dead_since(time.time()) or "active",
            "rate": key.rate,
            "created_at": key.created,
            "expires_at": key.expires,
            "revoked_at": key.revoked,
            "last_used_at": self.used,
        }


def keep(key: ApiKey, *, known: bool = False) -> Call[int]:
    """Keep a key; with `known` only if there is one of its id."""
    return Call("key", (key.id, msgspec.msgpack.encode(key), int(known)), int, lasting=True)


async def create(
    store: Store,
    actor: Actor,
    *,
    name: str,
    scopes: Iterable[Scope],
    expires_in_seconds: float | None = None,
    rate: float = DEFAULT_RATE,
) -> tuple[KeyView, str]:
    """Make a key; also return its text, which nobody can be shown again."""
    id_, secret, text = new_key()
    now = int(time.time())
    key = ApiKey(
        id=id_,
        name=name,
        scopes=tuple(scopes),
        digest=digest(secret),
        created=now,
        expires=None if expires_in_seconds is None else now + int(expires_in_seconds),
        rate=rate,
    )
    await store.run(keep(key))
    view = KeyView(key, None)
    await audit.record(store, actor, "key.create", key.id, new=view.summary())
    return view, text


async def read_keys(store: Store) -> dict[str, ApiKey]:
    """Return every key by id, revoked and expired ones too."""
    raw = await store.redis.hgetall(store.keys.plain("keys"))
    return {name.decode(): msgspec.msgpack.decode(value, type=ApiKey) for name, value in raw.items()}


async def list_keys(store: Store) -> list[KeyView]:
    """Return every key, the newest first."""
    keys = await read_keys(store)
    used = await store.redis.hgetall(store.keys.plain("keys:used"))
    views = [KeyView(key, int(used.get(name.encode(), 0)) or None) for name, key in keys.items()]
    return sorted(views, key=lambda view: (-view.key.created, view.key.id))


async def revoke(store: Store, actor: Actor, name: str) -> KeyView:
    """Let a key, by id, open nothing any more, from the next request on. Raises NotFound."""
    key = (await read_keys(store)).get(name)
    if key is None:
        raise NotFound("key", name)
    if key.revoked is None:
        before = key.dead_since(time.time()) or "active"
        key = msgspec.structs.replace(key, revoked=int(time.time()))
        await store.run(keep(key, known=True))
        await audit.record(store, actor, "key.revoke", key.id, old=before, new="revoked")
    return KeyView(key, None)
