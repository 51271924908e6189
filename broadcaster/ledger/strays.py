"""Statuses without a reference of ours, or with one that leads nowhere: parked, and looked for by their SID.

Twilio names whom the message went to; the person index says in which batches that person is; a ledger that
holds the SID has it. Our own 201 may not be written yet, so each is looked for again, ever later, for ten
minutes. `parked` holds no more than `MOST`: an account that others use, too, may send us millions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from broadcaster.domain.record import RECORD_BYTES, Record
from broadcaster.ledger.callbacks import Status
from broadcaster.ledger.people import find_places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.store.connection import Store

KEY: Final = "parked"
MOST: Final = 100_000
#: How long one is looked for, and how soon for the first time.
PATIENCE_SECONDS: Final = 600
FIRST_SECONDS: Final = 2
#: E.164 with a channel in front; WhatsApp may name a user by other letters.
LONGEST_ADDRESS: Final = 100
#: Of one person the newest batches are looked at: whoever is in more, it is not for what was sent just now.
_PLACES: Final = 200
#: A ledger has up to 16 kB, and a round's strays may be of people in tens of thousands of batches.
_LEDGERS_AT_ONCE: Final = 64
_SID_AT: Final = 8


class Stray(NamedTuple):
    """What a callback told: to whom, which message, Twilio's word, its error code."""

    to: str
    sid: str
    status: str
    code: int


class Parked(NamedTuple):
    """A stray that waits. `since` is the unix second it came; `raw` is its member of the zset."""

    raw: bytes
    stray: Stray
    since: int


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(tuple[str, str, str, int, int]).decode


async def park(store: Store, strays: Sequence[Stray]) -> int:
    """Keep strays to be looked for; answers how many had to go for them. Raises redis' errors."""
    now, _ = await store.redis.time()
    members = {_encode((*stray, now)): now + FIRST_SECONDS for stray in strays}
    key = store.keys.plain(KEY)
    async with store.redis.pipeline(transaction=False) as pipe:
        pipe.zadd(key, members, nx=True)
        pipe.zremrangebyrank(key, 0, -(MOST + 1))
        _, dropped = await pipe.execute()
    return int(dropped)


async def due(store: Store, at_most: int) -> list[Parked]:
    """Return those whose turn it is. Raises redis' errors."""
    now, _ = await store.redis.time()
    raws = await store.redis.zrangebyscore(store.keys.plain(KEY), "-inf", now, start=0, num=at_most)
    return [Parked(raw, Stray(*parts[:4]), parts[4]) for raw in raws for parts in (_decode(raw),)]


async def unpark(store: Store, done: Sequence[Parked], later: Sequence[Parked]) -> int:
    """Let go of those that are `done`, and look for the others `later`, twice as late as the last time.

    Answers how many have been looked for long enough, and are given up. Raises redis' errors.
    """
    now, _ = await store.redis.time()
    again = {
        p.raw: now + max(FIRST_SECONDS, now - p.since) for p in later if now - p.since < PATIENCE_SECONDS
    }
    gone = [p.raw for p in (*done, *later) if p.raw not in again]
    key = store.keys.plain(KEY)
    async with store.redis.pipeline(transaction=False) as pipe:
        if gone:
            pipe.zrem(key, *gone)
        if again:
            pipe.zadd(key, again, xx=True)
        await pipe.execute()
    return len(gone) - len(done)


async def find(store: Store, strays: Sequence[Stray]) -> dict[Stray, Status]:
    """Return those whose message there is, as statuses of it. Raises redis' errors."""
    places = await find_places(store, {stray.to for stray in strays})
    asked: dict[tuple[str, str], list[Stray]] = {}
    for stray in strays:
        for place in places[stray.to][:_PLACES]:
            asked.setdefault((place.broadcast, place.batch), []).append(stray)
    found: dict[Stray, Status] = {}
    ats = list(asked)
    for start in range(0, len(ats), _LEDGERS_AT_ONCE):
        some = ats[start : start + _LEDGERS_AT_ONCE]
        raws = await store.redis.mget([store.keys.ledger(*at) for at in some])
        for at, raw in zip(some, raws, strict=True):
            for stray in asked[at] if raw else ():
                row = None if stray in found else _row_of(raw, bytes.fromhex(stray.sid[2:]))
                if row is not None:
                    attempt = Record.unpack(raw, row * RECORD_BYTES).attempt
                    found[stray] = Status(*at, row, attempt, stray.sid, stray.status, stray.code)
    return found


def _row_of(ledger: bytes, sid: bytes) -> int | None:
    """Return the row whose record holds this SID."""
    at = ledger.find(sid)
    while at >= 0:
        if at % RECORD_BYTES == _SID_AT:
            return at // RECORD_BYTES
        at = ledger.find(sid, at + 1)
    return None
