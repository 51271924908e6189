"""Which Messaging Service a sender belongs to: it spends that one's permits, and shares its opt-outs.

A service's pool is what Twilio said when it was last asked, with the time: senders come and go in Twilio's
console, and what a pool holds decides what the list of messages can prove and whose 24 hours count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from broadcaster.domain.shown import goes_elsewhere
from broadcaster.store.scripts import Call, packed

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from broadcaster.store.connection import Store

    PoolReader = Callable[[str], Awaitable[list[str]]]

#: Fields of a service's lane: the names in its pool, one a line, as they were last read; the unix second of
#: that; and since when no reading has found a sender of another channel than the number's own.
_FIELDS: Final = ("members", "members_at", "members_plain")


class Pool(NamedTuple):
    """A service's senders as Twilio listed them at the unix second `read`, 0 where it never was asked.

    Since `plain` none of them was one of another channel, as far as was seen; 0: one is, or nobody knows.
    """

    names: tuple[str, ...] = ()
    read: int = 0
    plain: int = 0

    def was_plain(self, began: float, until: float) -> bool:
        """Whether it was found without other channels both before and after that time (to the second)."""
        return 0 < self.plain <= began and self.read >= int(until)


async def pool_of(store: Store, service: str) -> Pool:
    """Return what is known of a service's pool. Raises redis' errors."""
    names, read, plain = await store.redis.hmget(store.keys.lane(service), *_FIELDS)
    return Pool(tuple((names or b"").decode().split()), int(read or 0), int(plain or 0))


async def read_at(store: Store, services: Sequence[str]) -> list[int]:
    """Return when each of these pools was read (unix seconds, 0: never). Raises redis' errors."""
    async with store.redis.pipeline(transaction=False) as pipe:
        for service in services:
            pipe.hget(store.keys.lane(service), "members_at")
        return [int(raw or 0) for raw in await pipe.execute()]


async def read_anew(store: Store, service: str, read: PoolReader) -> tuple[str, ...]:
    """Ask Twilio for a service's pool and keep it. Raises what `read` raises, redis' errors, `StoreError`."""
    seconds, _ = await store.redis.time()
    names = await read(service)
    await store.run(keep_pool(service, names, seconds))
    return tuple(names)


def share_pool(lane: str, service: str) -> Call[int]:
    """Note that a sender is in the pool of a service; 1 if that is news."""
    return Call("pool", (service, packed([lane]), 0, 0, 0), int, lasting=True)


def keep_pool(service: str, pool: Sequence[str], read: int = 0) -> Call[int]:
    """Note all of a service's senders, as Twilio listed them at `read` (unix second, 0: now).

    Answers how many came or went; what was read earlier than what is known changes nothing.
    """
    elsewhere = int(goes_elsewhere(pool))
    return Call("pool", (service, packed(list(pool)), 1, read, elsewhere), int, lasting=True)
