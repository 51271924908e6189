"""Redis' files written anew, so that nothing that was removed is left in them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import ResponseError

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

_LOOK_SECONDS: Final = 0.05
_ABOUT: Final = {"aof": "append-only file", "rdb": "snapshot"}


@dataclass(frozen=True, slots=True)
class Rewritten:
    """Which files are new (`done`), and why others are not (`left`, a sentence each)."""

    done: tuple[str, ...]
    left: tuple[str, ...]


async def rewrite_files(store: Store, patience_seconds: float = 600.0) -> Rewritten:
    """Let Redis write its append-only file and its snapshot anew, where it has them, and wait for that.

    Raises redis' errors where Redis is not reached. A server that forbids it (a managed one) is told of.
    """
    redis: Any = store.redis
    facts = await redis.info("persistence")
    done: list[str] = []
    left: list[str] = []
    wanted = []
    if facts.get("aof_enabled"):
        wanted.append(("aof", "BGREWRITEAOF", "aof_rewrite_in_progress", "aof_last_bgrewrite_status"))
    if await _snapshots(redis, facts):
        wanted.append(("rdb", "BGSAVE", "rdb_bgsave_in_progress", "rdb_last_bgsave_status"))
    for name, command, running, status in wanted:
        what = f"{_ABOUT[name]} of Redis"
        until = monotonic() + patience_seconds
        try:
            await _rewrite(redis, command, running, until)
        except ResponseError as error:
            left.append(f"the {what} could not be written anew ({error}): ask for {command} where you may")
            continue
        except TimeoutError:
            left.append(f"the {what} is still being written anew: wait until INFO shows {running}:0")
            continue
        told = (await redis.info("persistence")).get(status)
        if told == "ok":
            done.append(name)
        else:
            left.append(
                f"writing the {what} anew failed ({status}:{told}): see Redis' log, then run this again"
            )
    return Rewritten(tuple(done), tuple(left))


async def _snapshots(redis: Any, facts: dict[str, Any]) -> bool:
    """Whether there may be a snapshot: by save points, or saved by anybody since the server began."""
    if int(facts.get("rdb_saves", 0)) or int(facts.get("rdb_last_load_keys_loaded", 0)):
        return True
    try:
        points = await redis.config_get("save")
    except ResponseError:  # a managed server does not tell
        return True
    return bool(points.get("save"))


async def _rewrite(redis: Any, command: str, running: str, until: float) -> None:
    """Begin it once nothing else is being written, and wait for its end. Raises TimeoutError."""
    await _idle(redis, "aof_rewrite_in_progress", until)
    await _idle(redis, "rdb_bgsave_in_progress", until)
    await redis.execute_command(command)
    await _idle(redis, running, until)


async def _idle(redis: Any, running: str, until: float) -> None:
    scheduled = "aof_rewrite_scheduled"
    while True:
        facts = await redis.info("persistence")
        if not facts.get(running) and not facts.get(scheduled):
            return
        if monotonic() > until:
            raise TimeoutError
        await asyncio.sleep(_LOOK_SECONDS)
