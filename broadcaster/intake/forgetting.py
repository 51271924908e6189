"""A person forgotten in what is kept of lists beside their batches: rejected rows, addresses of drafts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broadcaster.intake.addressing import Seen
from broadcaster.intake.rejects import names_person, pack_block, unpack_block
from broadcaster.store.swapping import swap

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from broadcaster.store.connection import Store

_LISTS_AT_ONCE: Final = 200
_BLOCKS_AT_ONCE: Final = 8
_FORGOTTEN: Final = "the person was forgotten"


async def forget_in_lists(store: Store, addresses: Sequence[str]) -> int:
    """Take a person out of rejected rows and of what drafts have seen; answers how many places changed.

    It may be done again. Raises redis' errors and `StoreError`.
    """
    changed = 0
    async for broadcast in _with_any(store):
        changed += await _in_rejects(store, broadcast, addresses[0])
        changed += await _in_seen(store, broadcast, addresses)
    return changed


async def _with_any(store: Store) -> AsyncIterator[str]:
    ids = [raw.decode() for raw in await store.redis.zrange(store.keys.plain("bcs"), 0, -1)]
    for start in range(0, len(ids), _LISTS_AT_ONCE):
        some = ids[start : start + _LISTS_AT_ONCE]
        async with store.redis.pipeline(transaction=False) as pipe:
            for one in some:
                pipe.exists(store.keys.broadcast(one, ":rejects"), store.keys.broadcast(one, ":seen"))
            there = await pipe.execute()
        for one, count in zip(some, there, strict=True):
            if count:
                yield one


async def _in_rejects(store: Store, broadcast: str, number: str) -> int:
    """Empty rows that may hold a number in whatever spelling: its digits, or most of them, at the end."""
    key, start, changed = store.keys.broadcast(broadcast, ":rejects"), 0, 0
    while blocks := await store.redis.lrange(key, start, start + _BLOCKS_AT_ONCE - 1):
        for index, raw in enumerate(blocks, start):
            columns, rows = unpack_block(raw)
            new = [
                (line, _FORGOTTEN, [""] * len(values)) if names_person(number, (reason, *values)) else row
                for row in rows
                for line, reason, values in (row,)
            ]
            if new != rows:
                name = f"bc:{broadcast}:rejects"
                changed += await store.run(swap(name, index, raw, pack_block(columns, new)))
        start += len(blocks)
    return changed


async def _in_seen(store: Store, broadcast: str, addresses: Sequence[str]) -> int:
    changed = 0
    raws = await store.redis.lrange(store.keys.broadcast(broadcast, ":seen"), 0, -1)
    for index, raw in enumerate(raws):
        seen = Seen()
        seen.add(raw)
        for address in addresses:
            seen.forget(address)
        new = seen.dumped()
        if new != raw:
            changed += await store.run(swap(f"bc:{broadcast}:seen", index, raw, new))
    return changed
