"""A broadcast in doubt that another version wrote, and this one can't read: it is left, and holds up no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import pytest
from loading import counts, number
from test_settle_rounds import doubtful, scene

from broadcaster.domain.evidence import Listed
from broadcaster.domain.record import State
from broadcaster.operations.before_deleting import settle_by
from broadcaster.operations.errors import Conflict

if TYPE_CHECKING:
    from broadcaster.store.connection import Store


async def unreadable(store: Store, bid: str) -> None:
    """Let its priority be one that only a newer version knows."""
    await store.redis.hset(store.keys.broadcast(bid), "spec", msgspec.msgpack.encode({"priority": "newer"}))


async def test_nobody_elses_doubt_is_held_up(store: Store) -> None:
    async with scene(store) as it:
        bad, good = await doubtful(store), await doubtful(store, worker="w2")
        await unreadable(store, bad)
        await it.round()
        assert await counts(store, bad) == {State.IN_DOUBT: 1}
        assert await counts(store, good) == {State.RETRY: 1}


async def test_what_may_be_its_message_is_nobody_elses_either(store: Store) -> None:
    async with scene(store) as it:
        bad, good = await doubtful(store), await doubtful(store, worker="w2")
        await it.post(number(0))
        await unreadable(store, bad)
        await it.round()
        assert await counts(store, bad) == await counts(store, good) == {State.IN_DOUBT: 1}


async def test_what_may_be_its_message_is_not_deleted(store: Store) -> None:
    await unreadable(store, await doubtful(store))
    seconds, _ = await store.redis.time()
    listed = Listed("SM" + "0" * 32, number(0), None, None, "outbound-api", "hello", seconds, None)
    with pytest.raises(Conflict, match="may be a message of ours"):
        await settle_by(store, listed, seconds)
