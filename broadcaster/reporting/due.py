"""When messages that wait for another try may go again."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from broadcaster.domain.record import RECORD_BYTES, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.store.connection import Store

#: What goes again sooner needs no words.
FAR_SECONDS: Final = 60.0


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


def next_try(first: Sequence[tuple[bytes, float]], now: float) -> str:
    """Say when the first of a flow's retries is due (its member and µs, if there is one); '' if soon."""
    at = first[0][1] / 1e6 if first else now
    if at - now < FAR_SECONDS:
        return ""
    return time.strftime("the next try of those that failed: %Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
