"""Replies that go with the broadcast that they answer, or by age.

A reply keeps the id of the message that it most likely answers (`Reply.message`): its broadcast's retention
is the reply's, too. All this may be done twice, by several, and may die anywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from broadcaster.domain.broadcast import BroadcastSpec
from broadcaster.ledger.replies import remove_replies

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

    from broadcaster.store.connection import Store

_AT_ONCE: Final = 500


class _Answering(msgspec.Struct, frozen=True):
    """What is read of a reply's facts."""

    message: str = ""


_decode: Final = msgspec.json.Decoder(_Answering).decode


async def remove_answering(store: Store, broadcasts: Collection[str]) -> int:
    """Remove the replies to messages of these broadcasts, in one walk from the first one's start.

    Answers how many went. Raises redis' errors and `StoreError`.
    """
    gone = 0
    async for slice_ in _answering(store, broadcasts):
        gone += await remove_replies(store, [reply for reply, _ in slice_])
    return gone


async def replies_to(store: Store, broadcast: str) -> dict[str, list[str]]:
    """Return the ids of the replies to each message of a broadcast, the oldest first; messages by their id.

    Raises redis' errors.
    """
    found: dict[str, list[str]] = {}
    async for slice_ in _answering(store, [broadcast]):
        for reply, message in slice_:
            found.setdefault(message, []).append(reply)
    return found


async def _answering(store: Store, broadcasts: Collection[str]) -> AsyncIterator[list[tuple[str, str]]]:
    """Yield (reply, message) of replies to messages of these; one may be told twice."""
    names = set(broadcasts)
    async with store.redis.pipeline(transaction=False) as pipe:
        for broadcast in names:
            pipe.hget(store.keys.broadcast(broadcast), "created")
        created = [int(float(raw) * 1000) for raw in await pipe.execute() if raw is not None]
    if not created:
        return
    async for slice_ in _walk(store, min(created), "+inf"):
        messages = await _messages_of(store, slice_)
        if some := [(reply, name) for reply, name in messages if name.partition(".")[0] in names]:
            yield some


async def remove_older(store: Store, before_s: float, days: int = 0) -> int:
    """Remove the replies that came before a time (unix seconds); return how many. Raises a store error.

    Those that answer a broadcast whose people are kept longer than `days` stay: they go with it.
    """
    gone = 0
    longer: dict[str, bool] = {}
    async for slice_ in _walk(store, "-inf", f"({int(before_s * 1000)}"):
        messages = [(reply, name.partition(".")[0]) for reply, name in await _messages_of(store, slice_)]
        new = {broadcast for _, broadcast in messages if broadcast} - longer.keys()
        longer |= await _kept_longer(store, new, days)
        kept = {reply for reply, broadcast in messages if longer.get(broadcast)}
        gone += await remove_replies(store, [reply for reply in slice_ if reply not in kept])
    return gone


async def _kept_longer(store: Store, broadcasts: Collection[str], days: int) -> dict[str, bool]:
    """Tell which of them still know their people, and do so for more than `days`."""
    names = list(broadcasts)
    async with store.redis.pipeline(transaction=False) as pipe:
        for broadcast in names:
            pipe.hmget(store.keys.broadcast(broadcast), "spec", "removed")
        told = await pipe.execute()
    return {
        broadcast: spec is not None
        and removed is None
        and (msgspec.msgpack.decode(spec, type=BroadcastSpec).retention_days or 0) > days
        for broadcast, (spec, removed) in zip(names, told, strict=True)
    }


async def _walk(store: Store, since: int | str, until: float | str) -> AsyncIterator[list[str]]:
    """Yield the ids of replies by when they came, in slices, though some are removed on the way.

    One that stands at a slice's last millisecond may be told twice.
    """
    skipped = 0
    while True:
        raw = await store.redis.zrange(
            store.keys.plain("replies"),
            since,
            until,
            byscore=True,
            offset=skipped,
            num=_AT_ONCE,
            withscores=True,
        )
        if not raw:
            return
        names, last = [name for name, _ in raw], int(raw[-1][1])
        yield [name.decode() for name in names]
        if len(raw) < _AT_ONCE:
            return
        if last != since:
            since, skipped = last, 0
        else:  # so many of one millisecond: behind those that were left
            left = await store.redis.zmscore(store.keys.plain("replies"), names)
            skipped += sum(mark is not None for mark in left)


async def _messages_of(store: Store, replies: Sequence[str]) -> list[tuple[str, str]]:
    """Return each reply with the id of the message that it answers; those that are gone are left out."""
    async with store.redis.pipeline(transaction=False) as pipe:
        for reply in replies:
            pipe.hget(store.keys.reply(reply), "facts")
        found = await pipe.execute()
    return [
        (reply, _decode(facts).message)
        for reply, facts in zip(replies, found, strict=True)
        if facts is not None
    ]
