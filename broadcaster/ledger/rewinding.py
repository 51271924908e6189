"""After Redis has lost writes: everything unsent is put in doubt first, and evidence tells what was sent.

Nothing is claimed and nothing passes the gate from the moment the loss is known (`guard.lua`) until this is
done. It may be done twice and by several.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broadcaster.store.scripts import Call, packed, text

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.store.connection import Store

#: In these states a broadcast may have sent since; one still being imported is given up or goes on by itself.
_STATES: Final = (b"draft", b"scheduled", b"running", b"paused")
BATCHES_AT_ONCE: Final = 20
#: A living worker's request ends by itself in less: connecting and reading have their time-outs.
WORKERS_SECONDS: Final = 90
_PAUSE_SECONDS: Final = 0.2


@dataclass(frozen=True, slots=True)
class Rewound:
    """What was put in doubt: messages of broadcasts; from `since` (unix second) on nothing is known."""

    since: int
    broadcasts: int
    messages: int


async def rewind(store: Store, progress: Callable[[int, int], None] | None = None) -> Rewound | None:
    """Put in doubt what was unsent, if Redis has lost writes; None if not, or if somebody else has ended it.

    `progress` is told broadcasts and messages so far. Raises `StoreError` and redis' errors; then it is to be
    done again.
    """
    keys = store.keys
    since, at = await store.redis.hmget(keys.plain("account"), "rewind", "rewind_at")
    if since is None:
        return None
    broadcasts = messages = 0
    # one after the other: a stream that begins meanwhile has nothing from before
    names = [raw for all_ in ("bcs", "streams") for raw in await store.redis.zrange(keys.plain(all_), 0, -1)]
    for raw in names:
        marked = await _mark(store, raw.decode())
        if marked is None:
            return None
        broadcasts, messages = broadcasts + (marked > 0), messages + marked
        if progress is not None:
            progress(broadcasts, messages)
    ended = Call("rewound", (int(at), WORKERS_SECONDS), text)
    while (verdict := await store.run(ended)) == "waits":  # noqa: ASYNC110 - other processes say so, in Redis
        await asyncio.sleep(_PAUSE_SECONDS)
    return Rewound(int(since), broadcasts, messages) if verdict == "ok" else None


async def _mark(store: Store, broadcast: str) -> int | None:
    """Put one broadcast's unsent messages in doubt; None once there is nothing to be rewound any more."""
    keys = store.keys
    if await store.redis.hget(keys.broadcast(broadcast), "state") not in _STATES:
        return 0
    marked = 0
    for number, raw in enumerate(await store.redis.lrange(keys.broadcast(broadcast, ":lanes"), 0, -1)):
        lane = raw.decode()
        count = int(await store.redis.hget(keys.flow(broadcast, lane), "n") or 0)
        for first in range(0, count, BATCHES_AT_ONCE):
            batches = [f"{number}.{k}" for k in range(first, min(count, first + BATCHES_AT_ONCE))]
            last = count if first + BATCHES_AT_ONCE >= count else 0
            found = await store.run(Call("rewind", (broadcast, lane, packed(batches), last), int))
            if found < 0:
                return None
            marked += found
    return marked
