"""Putting a job on arq's queue. Losing one loses nothing: cron finds the same work from our own keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgpack
from arq.connections import ArqRedis

if TYPE_CHECKING:
    from broadcaster.store.connection import Store


def queue_name(prefix: str) -> str:
    """Return the queue of one installation."""
    return f"{prefix}arq"


def serialize(job: dict[str, Any]) -> bytes:
    """Pack a job as msgpack; unlike pickle it can carry data only."""
    return bytes(msgpack.packb(job, default=str))


def deserialize(raw: bytes) -> dict[str, Any]:
    """Read a job packed by `serialize`."""
    job: dict[str, Any] = msgpack.unpackb(raw)
    return job


JOB_TIMEOUT_SECONDS: Final = 300


class Jobs:
    """Asks workers to do a job soon."""

    def __init__(self, store: Store) -> None:
        self._arq = ArqRedis(
            store.redis.connection_pool,
            job_serializer=serialize,
            job_deserializer=deserialize,
            default_queue_name=queue_name(store.keys.prefix),
        )

    @property
    def arq(self) -> ArqRedis:
        """The connection that a worker is built around."""
        return self._arq

    async def skip_unsent(self, broadcast: str) -> None:
        """Ask for a canceled or expired broadcast's unsent records to be skipped."""
        await self._arq.enqueue_job("skip_unsent", broadcast, _job_id=f"skip:{broadcast}")
