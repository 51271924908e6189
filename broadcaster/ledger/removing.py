"""People's data of a broadcast removed: its lists, texts, records, histories, replies; its counts stay.

What is marked (`remove.lua`) can't be sent again, and is a member of `removing` until all else of it is gone:
whoever finds it there goes on, so it may be done twice, by several, and may die anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from broadcaster.domain.broadcast import BroadcastSpec
from broadcaster.domain.content import Content
from broadcaster.ledger.people import forget
from broadcaster.ledger.removing_replies import remove_answering
from broadcaster.store.scripts import Call, packed

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

#: Redis is busy with so many batches for about a millisecond, mostly with names of histories.
_BATCHES_AT_ONCE: Final = 2
#: What goes with the batches; counts by state and code (`:codes`) and the senders (`:lanes`) stay.
_PARTS: Final = (
    ":rejects",
    ":seen",
    ":chunks",
    ":dead",
    ":doubt",
    ":looks",
    ":polled",
    ":unasked",
    ":run",
    ":importer",
)
REMOVED: Final = "removed"


class Marked(NamedTuple):
    """'ok', 'removed' (it was before), or what forbids it (`remove.lua`); `at` is since when it is marked."""

    verdict: str
    at: int


def without_content(spec: BroadcastSpec) -> BroadcastSpec:
    """Return what reporting needs of a spec, without a word of what was said."""
    return msgspec.structs.replace(spec, content=Content())


def mark(
    broadcast: str,
    spec: BroadcastSpec,
    *,
    ended_before: float | None = None,
    ended_at: int | None = None,
    reason: str = "",
) -> Call[Marked]:
    """Mark a broadcast that has ended: before a time (then also a draft that was made before), or at one.

    `reason` says why a draft is canceled.
    """
    arguments = (
        broadcast,
        msgspec.msgpack.encode(without_content(spec)),
        "" if ended_before is None else int(ended_before),
        "" if ended_at is None else ended_at,
        reason,
    )
    return Call("remove", arguments, lambda r: Marked(r[0].decode(), int(r[1])), lasting=True)


def unlay(broadcast: str, batches: list[str]) -> Call[int]:
    """Remove some batches of a marked broadcast; answers how many were there, -1 if it isn't marked."""
    return Call("unlay", (broadcast, packed(batches)), int)


async def read_spec(store: Store, broadcast: str) -> BroadcastSpec | None:
    """Read a broadcast's spec; None if there is no such. Raises redis' errors."""
    raw = await store.redis.hget(store.keys.broadcast(broadcast), "spec")
    return None if raw is None else msgspec.msgpack.decode(raw, type=BroadcastSpec)


async def removed_at(store: Store, broadcast: str) -> int | None:
    """Return since when a broadcast's messages are removed; None if they aren't. Raises redis' errors."""
    raw = await store.redis.hget(store.keys.broadcast(broadcast), REMOVED)
    return None if raw is None else int(raw)


async def remove_marked(store: Store, *broadcasts: str) -> int:
    """Remove what is left of marked broadcasts' people; answers how many replies to them went.

    The index first: what is found there leads to nothing that is half gone, and no reply is taken for an
    answer to them any more. Raises redis' errors and `StoreError`.
    """
    keys = store.keys
    async with store.redis.pipeline(transaction=False) as pipe:
        for broadcast in broadcasts:
            pipe.hmget(keys.broadcast(broadcast), "serial", REMOVED)
        told = await pipe.execute()
    serials = {
        broadcast: serial
        for broadcast, (serial, marked) in zip(broadcasts, told, strict=True)
        if marked is not None
    }
    await forget(store, [int(serial) for serial in serials.values() if serial])
    replies = await remove_answering(store, serials) if serials else 0
    for broadcast in broadcasts:
        if broadcast in serials:
            await _remove_lists(store, broadcast)
        await store.redis.srem(keys.plain("removing"), broadcast)
    return replies


async def _remove_lists(store: Store, broadcast: str) -> None:
    keys = store.keys
    lanes = [raw.decode() for raw in await store.redis.lrange(keys.broadcast(broadcast, ":lanes"), 0, -1)]
    for index, lane in enumerate(lanes):
        count = int(await store.redis.hget(keys.flow(broadcast, lane), "n") or 0)
        for start in range(0, count, _BATCHES_AT_ONCE):
            numbers = range(start, min(start + _BATCHES_AT_ONCE, count))
            await store.run(unlay(broadcast, [f"{index}.{n}" for n in numbers]))
    # a flow says how many batches there were, so it goes behind them
    flows = [keys.flow(broadcast, lane, part) for lane in lanes for part in ("", ":back", ":retry")]
    await store.redis.unlink(*flows, *(keys.broadcast(broadcast, part) for part in _PARTS))
    await store.redis.srem(keys.plain("doubtful"), broadcast)
    await store.redis.zrem(keys.plain("polls"), broadcast)
