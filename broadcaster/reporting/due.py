"""When messages that wait for another try may go again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.domain.record import RECORD_BYTES, State

if TYPE_CHECKING:
    from broadcaster.store.connection import Store


async def retry_times(store: Store, broadcast: str, lane: str, batch: str, ledger: bytes) -> dict[int, int]:
    """Return the unix second from which each row of a batch in `retry` may go again.

    A row that a worker holds already has none. Raises redis' errors.
    """
    rows = [row for row, head in enumerate(ledger[::RECORD_BYTES]) if head & 15 == State.RETRY]
    if not rows:
        return {}
    number = batch.partition(".")[2]
    members = [f"{number}:{row}" for row in rows]
    scores = await store.redis.zmscore(store.keys.flow(broadcast, lane, ":retry"), members)
    return {row: int(score / 1e6) for row, score in zip(rows, scores, strict=True) if score is not None}
