"""Redis itself, as its INFO tells: does it take writes, keep them, has it room."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import ResponseError

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECTIONS: Final = ("server", "clients", "memory", "persistence", "stats", "replication")
#: How long a setting is taken for unchanged.
_FSYNC_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """Sizes in bytes. `always`: each write is on disk before its answer; None where that can't be known."""

    writable: bool
    used_memory: int
    max_memory: int
    append_only: bool
    always: bool | None
    evicting: bool
    evicted_keys: int
    rejected_connections: int
    clients: int
    replicas: int
    uptime_seconds: int


def read_server(info: Mapping[str, Any], fsync: str | None, *, refused: bool) -> ServerFacts:
    """Return what `info` says; `refused`: it has just refused a write."""
    limit, used = int(info.get("maxmemory") or 0), int(info.get("used_memory") or 0)
    append_only = info.get("aof_enabled") == 1
    broken = append_only and info.get("aof_last_write_status", "ok") != "ok"
    full = bool(limit) and used >= limit
    primary = info.get("role", "master") == "master"
    return ServerFacts(
        writable=primary and not refused and not broken and not full and not info.get("loading"),
        used_memory=used,
        max_memory=limit,
        append_only=append_only,
        always=None if fsync is None else append_only and fsync == "always",
        evicting=str(info.get("maxmemory_policy", "noeviction")) != "noeviction",
        evicted_keys=int(info.get("evicted_keys") or 0),
        rejected_connections=int(info.get("rejected_connections") or 0),
        clients=int(info.get("connected_clients") or 0),
        replicas=int(info.get("connected_slaves") or 0),
        uptime_seconds=int(info.get("uptime_in_seconds") or 0),
    )


class Server:
    """Asks one server, again and again."""

    def __init__(self, redis: Any) -> None:
        self._redis = redis
        self._fsync: str | None = None
        self._asked_at = -_FSYNC_SECONDS

    async def read(self, *, refused: bool) -> tuple[ServerFacts, dict[str, Any]]:
        """Return its facts, and the INFO they are from. Raises redis' errors."""
        info = await self._redis.info(*_SECTIONS)
        if time.monotonic() - self._asked_at >= _FSYNC_SECONDS:
            self._fsync = await self._setting("appendfsync")
            self._asked_at = time.monotonic()
        return read_server(info, self._fsync, refused=refused), info

    async def _setting(self, name: str) -> str | None:
        """Return one of its settings, None where CONFIG is not allowed."""
        try:
            value = (await self._redis.config_get(name)).get(name)
        except ResponseError:
            return None
        return value.decode() if isinstance(value, bytes) else value
