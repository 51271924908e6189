"""All messages, of broadcasts and single ones, the newest broadcast first and within it the last batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from broadcaster.reporting.messages import read_batch

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broadcaster.reporting.messages import MessageView
    from broadcaster.store.connection import Store


class Position(NamedTuple):
    """Where a message is among all; `lane` and `batch` are the numbers in its batch's name."""

    broadcast: str
    lane: int
    batch: int
    row: int

    @classmethod
    def of(cls, view: MessageView) -> Position:
        """Return a message's position."""
        lane, _, batch = view.batch.partition(".")
        return cls(view.broadcast, int(lane), int(batch), view.index)


async def newest_messages(store: Store, *, after: Position | None = None) -> AsyncIterator[MessageView]:
    """Yield every message, those behind `after` only if given. Raises redis' errors."""
    for broadcast in await _newest_first(store):
        if after is not None and broadcast > after.broadcast:
            continue
        async for lane, batch in _batches(store, broadcast):
            here = after is not None and broadcast == after.broadcast
            if after is not None and here and (lane, batch) > (after.lane, after.batch):
                continue
            for view in reversed(await read_batch(store, broadcast, f"{lane}.{batch}")):
                if after is None or not here or Position.of(view) < after:
                    yield view


async def _newest_first(store: Store) -> list[str]:
    """Return the ids of broadcasts and streams; they sort by when they were made."""
    ids: list[str] = []
    for name in ("bcs", "streams"):
        ids += [raw.decode() for raw in await store.redis.zrange(store.keys.plain(name), 0, -1)]
    return sorted(ids, reverse=True)


async def _batches(store: Store, broadcast: str) -> AsyncIterator[tuple[int, int]]:
    """Yield the numbers of a broadcast's batches, the last first."""
    lanes = await store.redis.lrange(store.keys.broadcast(broadcast, ":lanes"), 0, -1)
    for lane in range(len(lanes) - 1, -1, -1):
        count = int(await store.redis.hget(store.keys.flow(broadcast, lanes[lane].decode()), "n") or 0)
        for batch in range(count - 1, -1, -1):
            yield lane, batch
