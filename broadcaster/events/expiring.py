"""What happened long ago is told to nobody any more: it names people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broadcaster.store.scripts import Call, packed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broadcaster.store.connection import Store

_AT_ONCE: Final = 500
#: A longer stream is busy, and drops its oldest entries by itself.
_REWRITTEN_MOST: Final = 1000
MICRO: Final = 1_000_000


def expire(endpoint_id: str, before_s: float) -> Call[int]:
    """Drop deliveries that have waited, or been parked, since before a second; answers how many went."""
    return Call("events_expire", (endpoint_id, int(before_s * MICRO), _AT_ONCE), int)


def rewrite(entries: Mapping[str, bytes], before_id: str = "") -> Call[int]:
    """Replace entries of the stream, or leave the oldest out, with every byte; answers how many changed."""
    return Call("events_rewrite", (packed([[name, raw] for name, raw in entries.items()]), before_id), int)


async def remove_older(store: Store, before_s: float) -> int:
    """Drop deliveries and events from before a second; answers how many. Raises redis' errors, `StoreError`.

    It may be done twice, and by several.
    """
    went = 0
    for raw in await store.redis.hkeys(store.keys.plain("endpoints")):
        while some := await store.run(expire(raw.decode(), before_s)):
            went += some
    events, first_kept = store.keys.plain("events"), f"{int(before_s * 1000)}-0"
    if await store.redis.xrange(events, max=f"({first_kept}", count=1):
        if await store.redis.xlen(events) <= _REWRITTEN_MOST:
            return went + await store.run(rewrite({}, first_kept))
        went += await store.redis.xtrim(events, minid=first_kept, approximate=True)
    return went
