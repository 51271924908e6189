"""When people last wrote to a sender: marks that replies leave, and that Twilio's list adds to or refutes.

`inbound:SENDER` holds unix seconds for a day, by a digest of the person; `!DIGEST` is the last attempt that
Twilio failed with 63016, whatever we had thought; `@` until when Twilio's list of what was written to the
sender was read to its end. Under a Messaging Service's name stand only refusals: nobody knows which sender it
had taken.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from broadcaster.domain.replies import digest_of
from broadcaster.domain.whatsapp_numbers import folded
from broadcaster.domain.whatsapp_window import Mark, refused_everywhere
from broadcaster.ledger.pools import pool_of
from broadcaster.store.scripts import Call, packed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broadcaster.store.connection import Store

_REFUSED: Final = "!"
_READ: Final = "@"
_AT_ONCE: Final = 2000


class Asked(NamedTuple):
    """Whose marks are wanted: people's with each of the senders that a lane may take (`senders_of`)."""

    lane: str
    senders: Sequence[str]
    people: Sequence[str]


class Known(NamedTuple):
    """What marks say, for each that asked and each of its people, at `now` (Redis' clock, unix seconds)."""

    now: float
    marks: list[list[list[Mark]]]


async def senders_of(store: Store, lane: str) -> tuple[str, ...]:
    """Return the WhatsApp senders that a lane sends from: itself, or all that its pool has.

    () where the pool is not known, or has none.
    """
    if not lane.startswith("MG"):
        return (lane,)
    return whatsapp_of((await pool_of(store, lane)).names)


def whatsapp_of(pool: Sequence[str]) -> tuple[str, ...]:
    """Return the WhatsApp senders of a pool."""
    return tuple(name for name in pool if name.startswith("whatsapp:"))


async def read_marks(store: Store, asked: Sequence[Asked]) -> Known:
    """Return marks, all in one round trip, one command a sender. Raises redis' errors."""
    async with store.redis.pipeline(transaction=False) as pipe:
        pipe.time()
        for one in asked:
            digests = [_digest(person) for person in one.people]
            members = digests + [_REFUSED + digest for digest in digests]
            for name in _keys_of(one):
                pipe.zmscore(store.keys.plain(f"inbound:{name}"), members)
        (seconds, micro), *told = await pipe.execute()
    scores = iter(told)
    return Known(seconds + micro / 1e6, [_of(one, [next(scores) for _ in _keys_of(one)]) for one in asked])


def _keys_of(one: Asked) -> Sequence[str]:
    """Return under whose names there may be marks."""
    if not one.people:
        return ()
    return one.senders if one.lane in one.senders else (*one.senders, one.lane)


def _of(one: Asked, scores: list[list[float | None]]) -> list[list[Mark]]:
    size = len(one.people)
    found: list[list[Mark]] = [[] for _ in one.people]
    for of_sender in scores[: len(one.senders)]:
        for marks, wrote, refused in zip(found, of_sender[:size], of_sender[size:], strict=True):
            marks.append(Mark(int(wrote or 0), int(refused or 0)))
    if len(scores) > len(one.senders):
        of_service = scores[-1][size:]
        return [
            refused_everywhere(m, int(refused or 0)) for m, refused in zip(found, of_service, strict=True)
        ]
    return found


def wrote(sender: str, people: Mapping[str, int]) -> list[Call[int]]:
    """Note when people last wrote to a sender, in unix seconds; answers how many marks that raised."""
    return _raise(sender, _newest(people))


def refused(lane: str, people: Mapping[str, int]) -> list[Call[int]]:
    """Note that Twilio failed attempts of these seconds with 63016. What they write later undoes it."""
    return _raise(lane, {_REFUSED + digest: at for digest, at in _newest(people).items()})


def list_read(sender: str, at: float) -> list[Call[int]]:
    """Note that Twilio's list of what was written to a sender was read to its end, at a unix second."""
    return _raise(sender, {_READ: int(at)})


async def list_read_at(store: Store, sender: str) -> int:
    """Return when Twilio's list was last read to its end, 0 for not in the last day. Raises redis' errors."""
    return int(await store.redis.zscore(store.keys.plain(f"inbound:{sender}"), _READ) or 0)


async def forget_marks(store: Store, people: Sequence[str]) -> int:
    """Remove people's marks with every sender that is known; return how many. Twice changes nothing."""
    keys = store.keys
    names = {raw.decode() for raw in await store.redis.smembers(keys.plain("lanes"))}
    names |= {raw.decode() for raw in await store.redis.hkeys(keys.plain("pools"))}
    digests = [_digest(person) for person in people]
    members = digests + [_REFUSED + digest for digest in digests]
    async with store.redis.pipeline(transaction=False) as pipe:
        for name in sorted(names):
            pipe.zrem(keys.plain(f"inbound:{name}"), *members)
        gone: list[int] = await pipe.execute()
    return sum(gone)


def _digest(person: str) -> str:
    """Return what stands for a person, whichever way WhatsApp writes the number."""
    return digest_of(folded(person))


def _newest(people: Mapping[str, int]) -> dict[str, int]:
    """Return seconds by digest; somebody may be there in two forms."""
    found: dict[str, int] = {}
    for person, at in people.items():
        digest = _digest(person)
        found[digest] = max(at, found.get(digest, 0))
    return found


def _raise(name: str, marks: Mapping[str, int]) -> list[Call[int]]:
    flat = [part for member, at in marks.items() for part in (member, at)]
    return [
        Call("inbound", (name, packed(flat[start : start + 2 * _AT_ONCE])), int)
        for start in range(0, len(flat), 2 * _AT_ONCE)
    ]
