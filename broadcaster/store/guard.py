"""Has Redis lost writes? A restart, a failover or a restored backup may bring back an older ledger.

Who finds that out has it said in Redis (`guard.lua`), and nothing leaves until everything unsent is in doubt
(`ledger/rewinding.py`). It is asked before a server is given our scripts, without which nobody can send, and
by every worker every second.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import structlog
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from broadcaster.store.errors import Unreachable
from broadcaster.store.scripts import Call, unpacked

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from broadcaster.store.witness import Witness

log = structlog.get_logger("guard")

#: So often it is read anew how the server writes to disk, which may be changed while it runs.
READ_AGAIN_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Look:
    """What a look found. Times are unix seconds of Redis' clock, 0 where there is none.

    `rewinding_since`: what was sent from then on isn't known and is being put in doubt. `at`: when the last
    rewinding began; `asked`: this worker has yet to say that nothing of before `at` is in flight.
    """

    run_id: str
    count: int
    lost: bool
    rewinding_since: int
    at: int
    asked: bool


class Guard:
    """One process's memory of the server it has last seen."""

    def __init__(self, redis: Any, run: Callable[[Call[Look]], Awaitable[Look]], *, replicas: int) -> None:
        self._redis = redis
        self._run = run
        self._replicas = replicas
        self._known = 0
        self._read_at = -READ_AGAIN_SECONDS
        self._keeps = False
        self._witness: Witness | None = None

    @property
    def known(self) -> int:
        """How often this Redis had been looked at when this process, or one before it here, last looked."""
        return self._known

    def remember_in(self, witness: Witness) -> None:
        """Keep what is known on this host, and begin with what was."""
        self._witness = witness
        self._known = max(self._known, witness.read())

    def under(self, epoch: str, before: Sequence[str]) -> None:
        """Keep what is known under the epoch that the installation has now, and those `before`."""
        if self._witness is not None:
            self._witness.under(epoch, before)
            self._witness.write(self._known)

    @property
    def keeps(self) -> bool:
        """Whether this server can't come back without what it has answered; as far as it is known."""
        return self._keeps

    async def look(
        self,
        worker: str = "",
        *,
        cleared: int = 0,
        rewind_to: float | None = None,
        workers_gone: bool = False,
        run: Callable[[Call[Look]], Awaitable[Look]] | None = None,
    ) -> Look:
        """Ask whether writes are missing. Raises `StoreError`.

        `cleared`: the `at` from before which `worker` has nothing in flight. `rewind_to` says that the data
        is as old as that, whatever it looks like, `workers_gone` that all workers of before have ended.
        """
        call = await self.question(worker, cleared=cleared, rewind_to=rewind_to, workers_gone=workers_gone)
        found = await (run or self._run)(call)
        self.heard(found, told=rewind_to is not None)
        return found

    async def question(
        self,
        worker: str = "",
        *,
        cleared: int = 0,
        rewind_to: float | None = None,
        workers_gone: bool = False,
    ) -> Call[Look]:
        """Return what `look` asks, for who asks other things with it. `heard` takes the answer.

        Now and then how the server writes is read for it; where that fails, at the next question again.
        """
        try:
            known = await self._durability()
        except Unreachable:
            known = ""
        to = "" if rewind_to is None else str(int(rewind_to))
        arguments = (known, self._replicas, self._known, worker, cleared, to, int(workers_gone))
        return Call("guard", arguments, _look, lasting=rewind_to is not None)

    def heard(self, found: Look, *, told: bool = False) -> None:
        """Remember what a look found; `told`: a person had said so."""
        self._known = found.count
        if self._witness is not None:
            self._witness.write(found.count)
        if found.lost:
            log.error("redis.lost_writes", since=found.rewinding_since, told=told)

    async def _durability(self) -> str:
        """Return '1' where every write is on disk before its answer, '0' where not, '' if just read."""
        if time.monotonic() - self._read_at < READ_AGAIN_SECONDS:
            return ""
        try:
            info = await self._redis.info("persistence", "replication")
            setting = await self._redis.config_get("*appendfsync*")
        except ResponseError:  # CONFIG is not allowed: then nobody knows
            info, setting = {}, {}
        except (RedisConnectionError, RedisTimeoutError, OSError) as error:
            raise Unreachable(f"Redis does not answer: {error}") from error
        told = {_text(name): _text(value) for name, value in setting.items()}
        # with `no-appendfsync-on-rewrite` it isn't always: not while the file is written anew
        always = told.get("appendfsync") == "always" and told.get("no-appendfsync-on-rewrite") == "no"
        always = always and info.get("aof_enabled") == 1
        self._keeps = always and not info.get("connected_slaves") and not self._replicas
        self._read_at = time.monotonic()
        return str(int(always))

    def forget_server(self) -> None:
        """Read how the server writes at the next look: it may be another one."""
        self._read_at = -READ_AGAIN_SECONDS


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _look(reply: bytes) -> Look:
    run_id, count, lost, since, at, asked = unpacked(reply)
    return Look(_text(run_id), int(count), bool(lost), int(since), int(at), bool(asked))
