"""What awaits its final state, read from the ledger pass by pass: which messages are due to be asked for.

A pass goes through all batches of one broadcast, in as many rounds as it takes; how far it has come is kept
in Redis, so that a process that dies costs no more than asking some once more.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from broadcaster.domain.broadcast import BroadcastSpec
from broadcaster.domain.polling import AWAITING
from broadcaster.domain.record import RECORD_BYTES, Record, State
from broadcaster.reporting.awaiting import Polled

if TYPE_CHECKING:
    from broadcaster.domain.polling import PollTimes
    from broadcaster.store.connection import Store

_BATCHES_AT_ONCE: Final = 20
_WANTED: Final = frozenset(int(state) for state in AWAITING)
#: A broadcast of which nothing is to be asked for comes again before its marks expire.
LONG_SECONDS: Final = 2 * 86_400
#: How long the marks are kept after the last pass, beyond the time in which is asked at all.
KEPT_SECONDS: Final = 3 * 86_400


class Awaited(NamedTuple):
    """A message that is due to be asked for, as its record stood. `began` is the second of its intent."""

    broadcast: str
    batch: str
    row: int
    attempt: int
    state: State
    began: int
    sid: str


@dataclass(slots=True)
class Gathered:
    """Some of a broadcast's messages to be asked for, and how far its pass is once they are.

    `whole`: the pass is at its end then. `active`: further messages may leave meanwhile.
    """

    broadcast: str
    polled: Polled
    awaited: list[Awaited] = field(default_factory=list)
    whole: bool = False
    active: bool = False

    def note(self, moment: float) -> None:
        """Let the next pass be no later than a moment at which one of its messages is to be asked for."""
        soonest = min(self.polled.soonest or moment, moment)
        self.polled = msgspec.structs.replace(self.polled, soonest=soonest)


async def gather(store: Store, broadcast: str, times: PollTimes, now: float, room: int) -> Gathered:
    """Go on with a broadcast's pass until it is over, or `room` messages are to be asked for.

    Raises redis' errors.
    """
    keys = store.keys
    async with store.redis.pipeline(transaction=False) as pipe:
        pipe.hmget(keys.broadcast(broadcast), "spec", "n0", "n1", "n2", "n3")
        pipe.lrange(keys.broadcast(broadcast, ":lanes"), 0, -1)
        pipe.get(keys.broadcast(broadcast, ":polled"))
        pipe.smembers(keys.broadcast(broadcast, ":unasked"))
        (spec, *open_), lanes, raw, gone = await pipe.execute()
    polled = Polled() if raw is None else msgspec.json.decode(raw, type=Polled)
    if max(polled.done, polled.began) > now:
        polled = Polled()  # the clock was moved back since
    if not polled.began:
        polled = msgspec.structs.replace(polled, began=now, lane=0, batch=0, soonest=0.0, giving_up=0)
    send_at = 0.0 if spec is None else msgspec.msgpack.decode(spec, type=BroadcastSpec).send_at
    reader = _Reader(store, times, send_at, frozenset(gone))
    found = Gathered(broadcast, polled, active=any(int(n or 0) for n in open_))
    for number in range(polled.lane, len(lanes)):
        count = int(await store.redis.hget(keys.flow(broadcast, lanes[number].decode()), "n") or 0)
        first = polled.batch if number == polled.lane else 0
        for start in range(first, count, _BATCHES_AT_ONCE):
            if len(found.awaited) >= room:
                found.polled = msgspec.structs.replace(found.polled, lane=number, batch=start)
                return found
            await reader.read(found, number, range(start, min(count, start + _BATCHES_AT_ONCE)))
    found.whole = True
    return found


async def save(store: Store, found: Gathered, times: PollTimes, now: float) -> None:
    """Write that all that was gathered has been asked for, and when its broadcast's turn is next."""
    polled, keys = found.polled, store.keys
    kept = int(times.until_seconds) + KEPT_SECONDS
    at = 0.0  # it goes on at once
    if found.whole:
        at = polled.soonest or now + LONG_SECONDS
        if found.active:
            at = min(at, now + times.after_seconds)
        polled = msgspec.structs.replace(
            polled, done=polled.began, began=0.0, given_up=polled.giving_up, refused=""
        )
    async with store.redis.pipeline(transaction=True) as pipe:
        pipe.set(keys.broadcast(found.broadcast, ":polled"), msgspec.json.encode(polled), ex=kept)
        pipe.expire(keys.broadcast(found.broadcast, ":unasked"), kept)
        pipe.zadd(keys.plain("polls"), {found.broadcast: at}, xx=True)
        await pipe.execute()


class _Reader:
    """Picks the messages of a broadcast's ledgers of which a moment to ask has passed."""

    def __init__(self, store: Store, times: PollTimes, send_at: float, gone: frozenset[bytes]) -> None:
        self._store = store
        self._times = times
        self._send_at = send_at
        self._gone = gone

    async def read(self, found: Gathered, lane: int, numbers: range) -> None:
        names = [f"{lane}.{number}" for number in numbers]
        keys = [self._store.keys.ledger(found.broadcast, name) for name in names]
        for name, ledger in zip(names, await self._store.redis.mget(keys), strict=True):
            if ledger is not None:
                self._pick(found, name, ledger)
                await asyncio.sleep(0)  # others send meanwhile

    def _pick(self, found: Gathered, batch: str, ledger: bytes) -> None:
        since, until = found.polled.done, found.polled.began
        given_up = 0
        for row, head in enumerate(ledger[::RECORD_BYTES]):
            if head & 15 not in _WANTED:
                continue
            record = Record.unpack(ledger, row * RECORD_BYTES)
            if record.sid is None or record.sid.encode() in self._gone:
                continue
            from_ = max(float(record.changed), self._send_at)
            at = self._times.following(from_, since)
            if at is not None and at <= until:
                where = (found.broadcast, batch, row, record.attempt)
                found.awaited.append(Awaited(*where, record.state, record.began, record.sid))
                at = self._times.following(from_, until)
            if at is None:
                given_up += 1
            else:
                found.note(at)
        if given_up:
            found.polled = msgspec.structs.replace(found.polled, giving_up=found.polled.giving_up + given_up)
