"""The name of arq's queue, and how its jobs are packed: as data, never as pickles."""

from __future__ import annotations

from typing import Any

import msgpack


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
