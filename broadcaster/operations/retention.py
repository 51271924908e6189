"""How long people are known: what is removed by age, and what stays.

A broadcast's people go `retention_days` after its end (BROADCASTER_RETENTION_DAYS where it names none), and
those of a draft that nobody started as long after it was made: addresses, variables, texts, references,
records, histories, rejected rows, replies to them, and their entries in the person index. Its name, senders,
times and counts by state and code stay. So do messages that are still open or in doubt: they have not ended.
Replies go BROADCASTER_RETENTION_DAYS after they came where they have not gone with their broadcast, but those
to one that is kept longer stay with it. Events that no endpoint took go by the same days, single messages
with their stream (intake/streams.py), SMS in place of WhatsApp messages with the broadcast of those, stored
answers with their day.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from broadcaster.domain.broadcast import BroadcastSpec
from broadcaster.events import expiring
from broadcaster.intake.streams import remove_fallbacks
from broadcaster.ledger.removing import mark, remove_marked
from broadcaster.ledger.removing_replies import remove_older

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broadcaster.store.connection import Store

DAY_SECONDS: Final = 86_400
_AT_ONCE: Final = 200
_ENDED: Final = (b"completed", b"canceled", b"failed")


class Removed(NamedTuple):
    """What a round removed: people of so many broadcasts, events that nobody took, replies."""

    broadcasts: int = 0
    events: int = 0
    replies: int = 0


async def remove_old(store: Store, days: int, now_s: float | None = None) -> Removed:
    """Remove people's data that are older than they may be; `days` for broadcasts that name none.

    It may be done twice, by several, and may die anywhere: what was begun is found again. Raises redis'
    errors and `StoreError`. `now_s` is Redis' clock unless it is given.
    """
    if now_s is None:
        now_s, _ = await store.redis.time()
    removed = 0
    async for broadcast, spec, left in _ended(store, now_s - DAY_SECONDS):
        kept = spec.retention_days or days
        reason = f"nobody started it within {kept} days, so its list was removed"
        cutoff = now_s - kept * DAY_SECONDS
        if left > cutoff:
            continue
        marked = await store.run(mark(broadcast, spec, ended_before=cutoff, reason=reason))
        removed += marked.verdict == "ok"
    # what was begun before too; all together, as their replies are found by one walk
    marks = sorted(raw.decode() for raw in await store.redis.smembers(store.keys.plain("removing")))
    await remove_fallbacks(store, marks)
    replies = await remove_marked(store, *marks) if marks else 0
    before_s = now_s - days * DAY_SECONDS
    events = await expiring.remove_older(store, before_s)
    return Removed(removed, events, replies + await remove_older(store, before_s, days))


async def _ended(store: Store, before_s: float) -> AsyncIterator[tuple[str, BroadcastSpec, float]]:
    """Yield broadcasts that ended before a second, or are drafts from before it, and still know people.

    With each the second until which Twilio kept its messages back; 0.0 if they were sent at once, or never.
    """
    keys = store.keys
    ids = await store.redis.zrangebyscore(keys.plain("bcs"), "-inf", before_s * 1_000_000)
    for start in range(0, len(ids), _AT_ONCE):
        some = [raw.decode() for raw in ids[start : start + _AT_ONCE]]
        async with store.redis.pipeline(transaction=False) as pipe:
            for broadcast in some:
                pipe.hmget(keys.broadcast(broadcast), "removed", "state", "finished")
            told = await pipe.execute()
        for broadcast, (removed, state, finished) in zip(some, told, strict=True):
            over = state == b"draft" or (state in _ENDED and float(finished or 0) <= before_s)
            if removed is None and over:
                raw = await store.redis.hget(keys.broadcast(broadcast), "spec")
                if raw is not None:
                    spec = msgspec.msgpack.decode(raw, type=BroadcastSpec)
                    yield broadcast, spec, spec.send_at if state == b"completed" else 0.0
