"""Whether the process behind a lost lease is gone: only then can nothing of it still reach Twilio.

A lease that ran out proves nothing about its owner: stopped and continued, it sends what its HTTP client had
already taken. A process on the same host sees whether that pid with that start time is still there; elsewhere
only time tells (`owner_gone_seconds` since its last renewal).
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import structlog
from redis.exceptions import RedisError

from broadcaster.store.scripts import unpacked
from workers.redis_clock import trusted_since

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broadcaster.store.connection import Store

log = structlog.get_logger("owner")

_PROC: Final = Path("/proc")
#: Fields of /proc/PID/stat after the command's closing parenthesis (proc(5): state is 3, starttime 22).
_STATE, _STARTED = 0, 19
_LOOK_SECONDS: Final = 1.0


def identity() -> dict[str, Any]:
    """Return what tells this process from every other: empty where there is no /proc to say it."""
    host = _host()
    stat = _stat(os.getpid())
    return {} if host is None or stat is None else {"kernel": host, "started": int(stat[_STARTED])}


def surely_gone(about: Mapping[str, Any]) -> bool:
    """Tell whether the process that `about` describes is seen to be gone; False where it can't be seen."""
    host = _host()
    if host is None or about.get("kernel") != host:
        return False
    stat = _stat(int(about["pid"]))
    if stat is None and _stat(1) is None:  # a /proc that hides others' processes (hidepid=) hides living ones
        return False
    if stat is None or int(stat[_STARTED]) != about.get("started"):
        return True
    return stat[_STATE] in ("Z", "X") and _threads(int(about["pid"])) <= 1


async def note_gone(store: Store, owner_gone_seconds: float) -> None:
    """Write down since when owners of doubtful messages are known to be gone. Raises redis' errors."""
    keys = store.keys
    owners = [raw.decode() for raw in await store.redis.smembers(keys.plain("owners"))]
    if not owners:
        return
    # a Redis that went back to older data has forgotten who was seen until then
    rewound = int(await store.redis.hget(keys.plain("rewound"), "at") or 0)
    trusted = max(await trusted_since(store), rewound)
    now, _ = await store.redis.time()
    for owner in owners:
        about, seen, gone = await store.redis.hmget(keys.worker(owner), "about", "seen", "gone")
        if seen is not None and gone is None:
            since = None
            if about is not None and surely_gone(_decoded(about)):
                since = now
            elif max(int(seen), trusted) + owner_gone_seconds <= now:
                since = max(int(seen), trusted) + int(owner_gone_seconds)
            if since is None:
                continue
            await store.redis.hsetnx(keys.worker(owner), "gone", since)
            log.info("owner.gone", worker=owner)
        await store.redis.srem(keys.plain("owners"), owner)


async def say_done(store: Store, worker: str, ended: asyncio.Event) -> None:
    """Write down that nothing will leave any more under a name whose lease was lost, once that is so.

    Its process lives, so nobody else could say it: what it had asked for and got no answer to would be in
    doubt for `owner_gone_seconds`.
    """
    await ended.wait()
    while True:
        try:
            now, _ = await store.redis.time()
            await store.redis.hsetnx(store.keys.worker(worker), "gone", now)
        except (RedisError, OSError):
            await asyncio.sleep(_LOOK_SECONDS)
            continue
        log.info("owner.done", worker=worker)
        return


async def watch_owners(store: Store, owner_gone_seconds: float) -> None:
    """Look every second until cancelled; each process must, since it sees only its own host's."""
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        try:
            await note_gone(store, owner_gone_seconds)
        except (RedisError, OSError):
            continue


def _decoded(raw: bytes) -> dict[str, Any]:
    about = {_text(key): _text(value) for key, value in unpacked(raw).items()}
    return about if isinstance(about.get("pid"), int) else {}


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value


def _host() -> str | None:
    """Return the boot and the pid namespace this process lives in: only there do pids compare."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {(_PROC / 'self/ns/pid').readlink()}"
    except OSError:
        return None


def _stat(pid: int) -> list[str] | None:
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _threads(pid: int) -> int:
    try:
        return len(list((_PROC / str(pid) / "task").iterdir()))
    except OSError:
        return 0
