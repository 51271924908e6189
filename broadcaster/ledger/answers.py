"""A person forgotten in what is kept of requests for a while: answers to them, callbacks not found yet.

An answer that is kept for an Idempotency-Key goes if it names the person. What was asked for stays, so the
same request is carried out again under the same nonce, which changes nothing and answers with a tombstone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broadcaster.ledger.strays import KEY
from broadcaster.store.swapping import swap

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

_AT_ONCE: Final = 2000


async def forget_in_answers(store: Store, number: str) -> int:
    """Remove kept answers with a number in them; answers how many. It may be done again.

    Raises redis' errors and `StoreError`.
    """
    prefix, digits, removed = store.keys.prefix, number.removeprefix("+").encode(), 0
    async for key in store.redis.scan_iter(f"{prefix}once:*", count=_AT_ONCE, _type="hash"):
        answer = await store.redis.hget(key, "answer")
        if answer is not None and digits in answer:
            name = key.decode().removeprefix(prefix)
            removed += await store.run(swap(name, "answer", answer, b""))
    return removed


async def forget_in_strays(store: Store, number: str) -> int:
    """Remove callbacks about a number that wait for their message; answers how many. It may be done again."""
    found = await strays_about(store, number)
    removed = 0
    for start in range(0, len(found), _AT_ONCE):
        removed += await store.redis.zrem(store.keys.plain(KEY), *found[start : start + _AT_ONCE])
    return removed


async def strays_about(store: Store, number: str) -> list[bytes]:
    """Return the callbacks about a number that wait for their message, as they are kept."""
    key, digits = store.keys.plain(KEY), number.removeprefix("+").encode()
    found = {raw async for raw, _ in store.redis.zscan_iter(key, count=_AT_ONCE) if digits in raw}
    return list(found)
