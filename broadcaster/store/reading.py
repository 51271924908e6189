"""Joining an installation to read only: nothing is begun, and no scripts are loaded that let anybody send."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from broadcaster.store.connection import check_server
from broadcaster.store.epochs import check_format, epoch_after
from broadcaster.store.keys import Keys
from broadcaster.store.scripts import Call, Scripts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio import Redis

T = TypeVar("T")
#: All that a reader runs. They write nothing but `exporter`, its lease.
READING: Final = ("doubt_since", "exporter", "overview", "standings", "survey_flows", "survey_lanes")


class Reader:
    """The door to one installation for whoever only looks; not usable after another one has begun."""

    def __init__(self, redis: Redis, prefix: str, epoch: str) -> None:
        self.redis: Any = redis
        self.keys = Keys(prefix)
        self.epoch = epoch
        self._scripts = Scripts(redis, prefix, epoch, names=READING, follow=self._follow)

    async def _follow(self) -> bool:
        epoch = await epoch_after(self.redis, self.keys.prefix, self.epoch)
        if epoch is not None:
            self.epoch = epoch
            self._scripts.under(epoch)
        return epoch is not None

    async def run(self, call: Call[T]) -> T:
        """Carry out one of the scripts of `READING`. Raises `StoreError`."""
        return await self._scripts.run(call)

    async def run_each(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """Carry out several in one round trip; a refused call's answer is its `StoreError`."""
        return await self._scripts.run_each(calls)


async def join_to_read(redis: Redis, prefix: str) -> Reader | None:
    """Return the installation in this Redis, None where there is none (nobody has begun one, or FLUSHALL).

    Raises redis' errors, or a `StoreError`: `WrongServer` for one that is too old, a Cluster, or newer data.
    """
    await check_server(redis)
    found: Any = await redis.mget(f"{prefix}epoch", f"{prefix}format")
    epoch, version = found
    if epoch is None:
        return None
    check_format(version)
    return Reader(redis, prefix, epoch.decode())
