"""A person forgotten in events on their way: in the stream, and in deliveries that wait or are parked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgpack
import msgspec

from broadcaster.domain.forgotten import FORGOTTEN
from broadcaster.events.expiring import rewrite
from broadcaster.store.scripts import packed
from broadcaster.store.swapping import swap

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from broadcaster.store.connection import Store

_AT_ONCE: Final = 500
#: What may stay of an event's data: nothing that a person or a caller wrote.
_KEPT: Final = frozenset(
    ("id", "broadcast", "sender", "state", "code", "meaning", "class", "sid", "attempts", "scope", "change")
)
#: Where an event names a person.
_NAMES: Final = frozenset(("to", "from", "address"))
_BODY: Final = 4


async def forget_in_events(store: Store, addresses: Sequence[str]) -> int:
    """Take a person out of what endpoints will be told; answers how many deliveries and entries changed.

    The deliveries stay, with a tombstone. It may be done again. Raises redis' errors and `StoreError`.
    """
    digits = addresses[0].removeprefix("+").encode()
    changed = 0
    for raw in await store.redis.hkeys(store.keys.plain("endpoints")):
        changed += await _in_deliveries(store, raw.decode(), digits)
    return changed + await _in_stream(store, digits)


async def events_about(store: Store, number: str) -> int:
    """Count what would name a person to endpoints: deliveries that wait or are parked, and what becomes some.

    Raises redis' errors.
    """
    digits, found = number.removeprefix("+").encode(), 0
    for raw in await store.redis.hkeys(store.keys.plain("endpoints")):
        bodies = store.keys.endpoint(raw.decode(), ":bodies")
        found += len(
            {name async for name, body in store.redis.hscan_iter(bodies, count=_AT_ONCE) if digits in body}
        )
    return found + len([name async for name, _ in _entries_with(store, digits)])


async def _in_deliveries(store: Store, endpoint: str, digits: bytes) -> int:
    changed = 0
    bodies = store.keys.endpoint(endpoint, ":bodies")
    async for name, raw in store.redis.hscan_iter(bodies, count=_AT_ONCE):
        if digits in raw:
            delivery = msgpack.unpackb(raw, raw=True)
            delivery[_BODY] = without_person(delivery[_BODY])
            changed += await store.run(
                swap(f"endpoint:{endpoint}:bodies", name.decode(), raw, packed(delivery))
            )
    return changed


def without_person(body: bytes) -> bytes:
    """Return an event's body with a tombstone for its person, and nothing that they or a caller wrote."""
    event: dict[str, Any] = msgspec.json.decode(body)
    data: dict[str, Any] = event.get("data", {})
    event["data"] = {
        name: FORGOTTEN if name in _NAMES else value if name in _KEPT else None
        for name, value in data.items()
    }
    return msgspec.json.encode(event)


async def _in_stream(store: Store, digits: bytes) -> int:
    found: dict[str, bytes] = {}
    async for name, raw in _entries_with(store, digits):
        items = msgpack.unpackb(raw, raw=True)
        found[name] = packed([_tombstoned(item, digits) for item in items])
    return await store.run(rewrite(found)) if found else 0


async def _entries_with(store: Store, digits: bytes) -> AsyncIterator[tuple[str, bytes]]:
    """Yield the stream's entries with these digits in them."""
    last = "-"
    while some := await store.redis.xrange(store.keys.plain("events"), min=last, count=_AT_ONCE):
        for name, fields in some:
            if digits in fields[b"e"]:
                yield name.decode(), fields[b"e"]
        last = f"({some[-1][0].decode()}"


def _tombstoned(item: list[Any], digits: bytes) -> list[Any]:
    """Return one event of the stream without a person, as far as it names one."""
    if not _names(item, digits):
        return item
    kind, *facts = item
    return [kind, *(_emptied(fact, digits) for fact in facts)]


def _names(value: Any, digits: bytes) -> bool:
    if isinstance(value, bytes):
        return digits in value
    return isinstance(value, list) and any(_names(one, digits) for one in value)


def _emptied(value: Any, digits: bytes) -> Any:
    if isinstance(value, list):
        return [_emptied(one, digits) for one in value]
    if isinstance(value, bytes) and digits in value:
        scope, bar, _ = value.partition(b"|")
        return scope + bar + FORGOTTEN.encode() if bar else FORGOTTEN.encode()
    return value
