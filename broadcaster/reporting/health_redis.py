"""Is this Redis one that keeps our promises: version, memory, what is on disk when, and how fast that is."""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import RedisError

from broadcaster.domain.owner import Owner
from broadcaster.reporting.health import Check, fail, ok, skew, warn
from broadcaster.reporting.health_connection import connection
from broadcaster.reporting.waits import refused_by_twilio, stopped_by
from broadcaster.store.connection import check_server, client
from broadcaster.store.errors import StoreError, WrongServer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_ROUNDS: Final = 15
#: A single message's way from acceptance to Twilio takes two writes; above this they are felt.
_SLOW_FSYNC_MS: Final = 10.0
_NEARLY_FULL: Final = 0.8
_VALUE: Final = b"x" * 512


async def check_redis(
    url: str, prefix: str, *, embedded: bool = False, asks: Owner | None = None
) -> list[Check]:
    """Check the server at `url`; `prefix` is the installation's, `asks` the account set here. Raises nothing.

    With an `embedded` server no worker needs to run: `send` starts one for itself.
    """
    redis: Any = client(url, connections=2)
    try:
        checks = [*await _check(redis, prefix, url), await _owner(redis, prefix, asks)]
        return checks if embedded else [*checks, await _workers(redis, prefix)]
    except WrongServer as error:
        return [fail("redis", str(error), "Use a Redis from 7.0 on, or Valkey from 7.2 on: one primary.")]
    except StoreError as error:
        return [fail("redis", str(error), "Start it, or correct REDIS_URL.")]
    except (RedisError, OSError) as error:
        return [fail("redis", f"it refused or broke off: {error}", "Look into its log and its ACLs.")]
    finally:
        await redis.aclose()


async def _check(redis: Any, prefix: str, url: str) -> list[Check]:
    info = await check_server(redis, url)
    checks = [_server(info), connection(url)]
    if info.get("role") not in (None, "master"):
        advice = "Put the primary's address into REDIS_URL."
        return [*checks, fail("redis role", "a replica, which takes no writes", advice)]
    checks += [_eviction(info), *_memory(info)]
    fsync = await _setting(redis, "appendfsync")
    checks += [_append_only(info), _appendfsync(info, fsync), *_broken_writes(info)]
    checks.append(await _write_time(redis, prefix, always=info.get("aof_enabled") == 1 and fsync == "always"))
    checks.append(await _clock(redis))
    return [*checks, *await _stopped(redis, prefix)]


def _server(info: dict[str, Any]) -> Check:
    valkey = info.get("valkey_version")
    return ok("redis", f"Valkey {valkey}" if valkey else f"Redis {info.get('redis_version')}")


def _eviction(info: dict[str, Any]) -> Check:
    name, policy = "redis eviction", str(info.get("maxmemory_policy", "unknown"))
    if policy == "noeviction":
        return ok(name, "noeviction: nothing is dropped when memory runs out")
    advice = "CONFIG SET maxmemory-policy noeviction, and the same in its configuration file."
    if info.get("maxmemory"):
        return fail(name, f"{policy}: recipients and records are dropped when memory runs out", advice)
    return warn(name, f"{policy}: would drop records, but no maxmemory is set", advice)


def _memory(info: dict[str, Any]) -> list[Check]:
    limit, used = int(info.get("maxmemory") or 0), int(info.get("used_memory") or 0)
    if not limit or used < limit * _NEARLY_FULL:
        return []
    found = f"{used / limit:.0%} of maxmemory is used: lists are refused when it is full"
    return [warn("redis memory", found, "Raise maxmemory; ten million recipients need about 1 GB.")]


def _append_only(info: dict[str, Any]) -> Check:
    if info.get("aof_enabled") == 1:
        return ok("redis append-only file", "on: what was recorded survives a restart")
    found = "off: a restart forgets what was sent since the last snapshot, and it would be sent again"
    return fail(
        "redis append-only file", found, "CONFIG SET appendonly yes, and the same in its configuration."
    )


def _appendfsync(info: dict[str, Any], fsync: str | None) -> Check:
    name = "redis appendfsync"
    advice = "CONFIG SET appendfsync always; it costs next to nothing here, as writes travel in groups."
    if fsync is None:
        return warn(name, "can't be read (CONFIG is not allowed)", "Ask whoever runs it; `always` is best.")
    if info.get("aof_enabled") != 1:
        return warn(name, f"{fsync}, without an append-only file", "Switch that on first.")
    if fsync == "always":
        return ok(name, "always: an intent is on disk before its message leaves")
    lost = "the last second" if fsync == "everysec" else "up to half a minute"
    return warn(name, f"{fsync}: a crash of the machine may lose {lost} of records", advice)


def _broken_writes(info: dict[str, Any]) -> list[Check]:
    named = {
        "aof_last_write_status": "its last write to the append-only file failed",
        "aof_last_bgrewrite_status": "its last rewrite of the append-only file failed",
        "rdb_last_bgsave_status": "its last snapshot failed, after which it may refuse writes",
    }
    advice = "Look at its disk: full, or not writable. Its log says which."
    return [
        fail("redis disk", told, advice) for field, told in named.items() if info.get(field, "ok") != "ok"
    ]


async def _write_time(redis: Any, prefix: str, *, always: bool) -> Check:
    """Measure what a write takes beyond a round trip: the fsync, where each write waits for it."""
    name, key = "redis write", f"{prefix}doctor"
    trip = await _milliseconds(redis.ping)
    write = await _milliseconds(lambda: redis.set(key, _VALUE, ex=60))
    await redis.delete(key)
    if not always:
        return ok(name, f"{write:.2f} ms for a round trip; it does not wait for the disk")
    fsync = max(0.0, write - trip)
    found = f"{fsync:.2f} ms until it is on disk, after a round trip of {trip:.2f} ms"
    if fsync <= _SLOW_FSYNC_MS:
        return ok(name, found)
    return warn(name, f"{found}: single messages leave late", "Put its append-only file on a faster disk.")


async def _milliseconds(call: Callable[[], Awaitable[Any]]) -> float:
    times = []
    for _ in range(_ROUNDS):
        began = time.perf_counter()
        await call()
        times.append(time.perf_counter() - began)
    return median(times) * 1000


async def _clock(redis: Any) -> Check:
    before = time.time()
    seconds, micros = await redis.time()
    after = time.time()
    return skew(
        "redis clock", seconds + micros / 1e6 - (before + after) / 2, exact_to=max(0.05, after - before)
    )


async def _owner(redis: Any, prefix: str, asks: Owner | None) -> Check:
    """Say which Twilio account the installation belongs to, and whether that is ours."""
    name, kept = "installation", await redis.get(f"{prefix}owner")
    if kept is None:
        return ok(name, "nobody's yet: the first worker, API or send takes it for its account")
    owner = Owner.read(kept.decode())
    found = f"belongs to {owner.told}"
    if asks in (None, owner):
        return ok(name, found)
    advice = "Set that account; or another BROADCASTER_KEY_PREFIX; or: broadcaster config account --change"
    return fail(name, f"{found}, not to {asks.told}, which is set here: nothing starts", advice)


async def _workers(redis: Any, prefix: str) -> Check:
    seconds, micros = await redis.time()
    workers = await redis.zcount(f"{prefix}workers", seconds * 1_000_000 + micros, "+inf")
    if workers:
        return ok("workers", f"{workers:,} running")
    return warn("workers", "none is running: what is queued waits", "Start one: broadcaster worker")


async def _stopped(redis: Any, prefix: str) -> list[Check]:
    """Say whether somebody, or Twilio's refusal, has stopped everything. A refusal does not end by itself."""
    raw, rewind = await redis.hmget(f"{prefix}account", "paused", "rewind")
    paused = (raw or b"").decode()
    found = stopped_by(paused, int(rewind or 0))
    if not found:
        return []
    if refused_by_twilio(paused):
        advice = (
            "Put right what the code says (for 20003 the credentials, then restart); then: broadcaster resume"
        )
        refused = found if not rewind else f"{found}; then everything is stopped: {paused}"
        return [fail("sending", refused, advice)]
    advice = "A worker does that by itself." if rewind else "When that is put right: broadcaster resume"
    return [warn("sending", found, advice)]


async def _setting(redis: Any, name: str) -> str | None:
    """Return a setting of the server, None where CONFIG is not allowed."""
    try:
        found = await redis.config_get(name)
    except RedisError:
        return None
    value = found.get(name)
    return value.decode() if isinstance(value, bytes) else value
