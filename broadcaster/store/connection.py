"""One connection to one Redis primary, and what must be true of it before anything is trusted to it."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING, Any, Final, TypeVar

import structlog
from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection
from redis.exceptions import AuthenticationError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from broadcaster.domain import redis_tls
from broadcaster.domain.data_format import KNOWN
from broadcaster.domain.sentinel_url import under_sentinel
from broadcaster.store.epochs import RESTORED, check_format, epoch_after, epochs_before
from broadcaster.store.errors import EpochChanged, StoreError, Unreachable, WrongServer
from broadcaster.store.guard import Guard
from broadcaster.store.keys import Keys
from broadcaster.store.scripts import CONFIRM, Scripts
from broadcaster.store.sentinel import primary_pool
from broadcaster.store.witness import Witness

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from broadcaster.store.scripts import Call, Heard

log = structlog.get_logger("store")

T = TypeVar("T")
OLDEST_SERVER: Final = (7, 0)
SOCKET_TIMEOUT_SECONDS: Final = 10.0


class Store:
    """The door to Redis: a client, the key names, and the scripts under the installation's epoch."""

    def __init__(self, redis: Redis, prefix: str, epoch: str, url: str, *, replicas: int = 0) -> None:
        self.redis: Any = redis  # redis-py types replies as "awaitable or value"; only the first happens here
        self.keys = Keys(prefix)
        self.epoch = epoch
        self.url = url
        self.replicas = replicas
        #: BROADCASTER_PEOPLE_KEY, else the installation's own once it was read (ledger/people_key.py).
        self.people_secret = ""
        #: Whether it is the one that people were forgotten with.
        self.people_known = False
        #: The data format up to which older programs are known to be kept out (store/raising.py).
        self.fenced = 1
        self._scripts = Scripts(
            redis, prefix, epoch, replicas=replicas, before_loading=self._before_loading, follow=self.follow
        )
        self.guard = Guard(redis, self._scripts.run, replicas=replicas)
        #: Epochs that this process was under.
        self._former: list[str] = []

    def tell(self, heard: Heard) -> None:
        """Tell somebody, who must not raise, of every script call with its answer or error."""
        self._scripts.heard = heard

    async def _before_loading(self) -> None:
        """Find out whether a server that doesn't know our scripts is one that has lost writes."""
        self.guard.forget_server()
        await self.guard.look(run=self._scripts.run_unloaded)

    async def run(self, call: Call[T]) -> T:
        """Carry out one script call. Raises `StoreError`; `Unreachable` may have been carried out."""
        return await self._scripts.run(call)

    async def run_all(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """Carry out several script calls in one round trip, in order."""
        return await self._scripts.run_all(calls)

    async def run_each(self, calls: Sequence[Call[Any]]) -> list[Any]:
        """Carry out several script calls in one round trip; a refused call's answer is its `StoreError`."""
        return await self._scripts.run_each(calls)

    async def confirm(self) -> None:
        """Return when as many replicas as must have all that was written; `Unconfirmed` if they don't."""
        await self.run(CONFIRM)

    async def check_epoch(self) -> None:
        """Raise `EpochChanged` if the installation is not the one that was joined; or redis' errors."""
        if await self.redis.get(self.keys.plain("epoch")) != self.epoch.encode() and not await self.follow():
            raise EpochChanged

    async def follow(self) -> bool:
        """Go on under the epoch that took the place of ours when the data format was raised.

        Where replicas confirm, only once they have it. If a failover, or a backup, undoes the raising all the
        same, back under one that this process was under: the guard sees whether the data is older, as it
        would had nothing been raised. False where it is another installation. Raises NewerData where this
        program doesn't know that format, and `Unreachable`: then nothing has changed.
        """
        prefix, undone = self.keys.prefix, False
        epoch = await epoch_after(self.redis, prefix, self.epoch)
        for former in self._former:
            if epoch is None:
                epoch = await epoch_after(self.redis, prefix, former)
                undone = epoch is not None
        if epoch is None:
            return False
        if epoch == self.epoch:
            return True
        before = await epochs_before(self.redis, prefix, epoch)
        there = self._scripts.before_joining(epoch)
        try:
            if undone:  # nothing else is asked of that data before
                self.fenced = 1
                await self.guard.look(run=there.run_unloaded)
            if self.replicas:
                await there.run(CONFIRM)
        except EpochChanged as error:
            raise Unreachable("the installation's epoch changed again meanwhile") from error
        if undone:
            log.warning("format.raising_undone")
        if self.epoch not in (epoch, *self._former):  # another task may have followed meanwhile
            self._former.append(self.epoch)
        self.epoch = epoch
        self._scripts.under(epoch)
        self.guard.under(epoch, before)
        return True

    async def remember_in(self, path: Path) -> None:
        """Keep on this host what the guard knows, and begin with what was. Raises `Unreachable`."""
        before = await epochs_before(self.redis, self.keys.prefix, self.epoch)
        self.guard.remember_in(Witness(path, self.epoch, before))

    async def with_new_epoch(self) -> Store:
        """Begin another epoch: whoever was here before is refused everything. Raises redis' errors."""
        epoch = secrets.token_hex(8)
        async with self.redis.pipeline(transaction=True) as pipe:
            pipe.hset(self.keys.plain("raised"), f"{RESTORED}{epoch}", self.epoch)
            pipe.set(self.keys.plain("epoch"), epoch)
            await pipe.execute()
        return self.under(epoch)

    def under(self, epoch: str) -> Store:
        """Return a store over the same connections for the epoch that the installation has now."""
        store = Store(self.redis, self.keys.prefix, epoch, self.url, replicas=self.replicas)
        store.people_secret = self.people_secret
        return store

    async def close(self) -> None:
        """Close the connections."""
        await self.redis.aclose()


class _Lost:
    """Tells the loss of a connection as redis-py's own error.

    Where the other side has ended the connection between two commands uvloop raises `RuntimeError` ("the
    handler is closed"), asyncio an `OSError`; it would get past everybody who waits for Redis.
    """

    async def send_packed_command(self, command: Any, check_health: bool = True) -> None:  # noqa: FBT001, FBT002 - redis-py's
        try:
            await super().send_packed_command(command, check_health)  # type: ignore[misc]
        except RuntimeError as error:
            raise RedisConnectionError(f"the connection was closed while writing: {error}") from error


class _Tcp(_Lost, Connection):
    pass


class _Tls(_Lost, SSLConnection):
    pass


class _Unix(_Lost, UnixDomainSocketConnection):
    pass


class _Primary(_Lost, SentinelManagedConnection):
    pass


class _PrimaryTls(_Lost, SentinelManagedSSLConnection):
    pass


_TELLING: Final[dict[type, type[Any]]] = {
    Connection: _Tcp,
    SSLConnection: _Tls,
    UnixDomainSocketConnection: _Unix,
}
_PRIMARY: Final[dict[bool, type[Any]]] = {False: _Primary, True: _PrimaryTls}


def client(url: str, *, connections: int = 32) -> Redis:
    """Make a client with explicit time-outs and a bounded pool; nothing is retried behind our back."""
    bounds: dict[str, Any] = {"max_connections": connections, "timeout": SOCKET_TIMEOUT_SECONDS}
    options: dict[str, Any] = {"socket_timeout": SOCKET_TIMEOUT_SECONDS}
    if not url.startswith("unix:"):
        options |= {"socket_connect_timeout": 5.0, "socket_keepalive": True}
    if under_sentinel(url):
        pool: BlockingConnectionPool = primary_pool(url, connections=_PRIMARY, pool=bounds, options=options)
    else:
        if redis_tls.encrypted(url):  # redis-py checks the certificate's name only if told to
            options["ssl_check_hostname"] = redis_tls.options(redis_tls.query_of(url))["ssl_check_hostname"]
        pool = BlockingConnectionPool.from_url(url, **bounds, **options)
        pool.connection_class = _TELLING[pool.connection_class]
    return Redis.from_pool(pool)


async def open_store(url: str, prefix: str = "bc:", *, replicas: int = 0) -> Store:
    """Connect, check the server, and join the installation under `prefix` (beginning one if there is none).

    `replicas` must have an intent before it counts.

    Raises `Unreachable`, `WrongServer` for a server that is too old or a Cluster, or `NewerData`.
    """
    redis = client(url)
    try:
        await check_server(redis, url)
        epoch = await _join(redis, prefix)
    except BaseException:
        await redis.aclose()
        raise
    return Store(redis, prefix, epoch, url, replicas=replicas)


async def check_server(redis: Redis, url: str = "") -> dict[str, Any]:
    """Return INFO of the server at `url` if we can work with it. Raises `Unreachable` or `WrongServer`."""
    try:
        info: dict[str, Any] = await redis.info()
    except AuthenticationError as error:
        raise WrongServer(f"Redis refused the password in REDIS_URL: {error}") from error
    except (RedisConnectionError, RedisTimeoutError, OSError) as error:
        if why := redis_tls.meaning(error, url or "unix:"):
            raise Unreachable(f"There is no connection to Redis: {why}.") from error
        raise Unreachable(
            f"Redis does not answer ({_without_password(str(error))}). "
            "Check REDIS_URL, or unset it to use the built-in server."
        ) from error
    except RedisError as error:
        raise StoreError(f"Redis refused INFO: {error}") from error
    version = tuple(int(part) for part in re.findall(r"\d+", str(info.get("redis_version", "0")))[:2])
    if version < OLDEST_SERVER:
        raise WrongServer(
            f"Redis {info.get('redis_version')} is too old: 7.0 or newer, or Valkey 7.2 or newer, is needed."
        )
    if info.get("redis_mode") == "cluster" or info.get("cluster_enabled"):
        raise WrongServer(
            "This is a Redis Cluster. Broadcaster needs one primary (with replicas or Sentinel if you like)."
        )
    return info


async def _join(redis: Any, prefix: str) -> str:
    try:
        # read first: with its memory full a server refuses even a SET that would change nothing
        if not await redis.exists(f"{prefix}format"):
            began = await redis.set(f"{prefix}format", KNOWN, nx=True)
            if began:  # nobody older can have joined it
                await redis.hset(f"{prefix}raised", "fenced", str(KNOWN))
        check_format(await redis.get(f"{prefix}format"))
        if not await redis.exists(f"{prefix}epoch"):
            await redis.set(f"{prefix}epoch", secrets.token_hex(8), nx=True)
        epoch = await redis.get(f"{prefix}epoch")
    except (RedisConnectionError, RedisTimeoutError, OSError) as error:
        raise Unreachable(f"Redis does not answer: {error}") from error
    except RedisError as error:
        raise StoreError(f"Redis refused to begin an installation: {error}") from error
    return str(epoch.decode())


def _without_password(message: str) -> str:
    return re.sub(r"://[^@/]*@", "://…@", message)
