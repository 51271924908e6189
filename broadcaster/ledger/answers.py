"""A person forgotten in what is kept of requests for a while: answers to them, callbacks not found yet.

An answer that is kept for an Idempotency-Key goes if it names the person. What was asked for stays, so the
same request is carried out again under the same nonce, which changes nothing and answers with a tombstone.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final

from broadcaster.ledger.kept_answers import unpack_answer
from broadcaster.ledger.strays import KEY
from broadcaster.store.scripts import Call, packed
from broadcaster.store.swapping import swap

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broadcaster.ledger.kept_answers import Kept
    from broadcaster.store.connection import Store

_AT_ONCE: Final = 2000
_ONCE: Final = "once:"


async def forget_in_answers(store: Store, number: str) -> int:
    """Remove kept answers with a number in them; answers how many. It may be done again.

    Raises redis' errors and `StoreError`.
    """
    prefix, digits, removed = store.keys.prefix, number.removeprefix("+").encode(), 0
    async for names in _turns(store):
        for name, raw in zip(names, await store.redis.mget([prefix + name for name in names]), strict=True):
            if raw is None:  # no string: a turn, or an answer that the version before kept
                removed += await _forget_in_turn(store, name, digits)
                continue
            turn = name.removeprefix(_ONCE)
            kept = unpack_answer(turn, raw)
            if digits in kept.answer.body or any(digits in value for _, value in kept.answer.headers):
                removed += await store.run(_forget(turn, raw, kept))
    return removed


async def _turns(store: Store) -> AsyncIterator[list[str]]:
    """Yield the names of all turns, without the prefix, some at a time; one may come twice."""
    prefix, found = store.keys.prefix, []
    async for key in store.redis.scan_iter(f"{prefix}{_ONCE}*", count=_AT_ONCE):
        found.append(key.decode().removeprefix(prefix))
        if len(found) == _AT_ONCE:
            yield found
            found = []
    if found:
        yield found


async def _forget_in_turn(store: Store, name: str, digits: bytes) -> int:
    answer = await store.redis.hget(store.keys.prefix + name, "answer")
    if answer is None or digits not in answer:
        return 0
    return await store.run(swap(name, "answer", answer, b""))


def _forget(turn: str, raw: bytes, kept: Kept) -> Call[int]:
    """Take an answer away, and put back what it took the place of, as if it had not been kept yet."""
    memo, was = "", b""
    if kept.deed is not None:
        memo, was = kept.deed.memo, packed(("ok", kept.deed.stream, kept.deed.batches, 0))
    seen = hashlib.sha1(raw).hexdigest()  # noqa: S324 - Redis' scripts have no other
    return Call("once", ("forget", turn, seen, 0, kept.asked, was, memo), _done)


def _done(reply: list[bytes]) -> int:
    return int(reply[0] == b"ok")


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
