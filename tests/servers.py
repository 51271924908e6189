"""Real servers that lose their last writes, everything, or the primary they followed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from conftest import server_under_test
from redis import Redis
from redis.exceptions import RedisError

from broadcaster.store.embedded import _DIE_WITH_PARENT, EmbeddedServer
from broadcaster.store.local_sockets import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from broadcaster.store.server_binary import ServerBinary

#: What the sentinels call the primary they watch.
SERVICE: Final = "campaigns"
DOWN_AFTER_MS: Final = 700
FAILOVER_TIMEOUT_MS: Final = 3000
#: Where a server keeps its append-only file, and its snapshot.
AOF_FOLDER: Final = "appendonlydir"
RDB: Final = "dump.rdb"


def wait_for(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """Return the first true value; a server that doesn't answer yet is no answer."""
    deadline = time.monotonic() + seconds
    value: Any = None
    while time.monotonic() < deadline:
        try:
            value = condition()
        except (RedisError, OSError) as error:
            value = None
            last: Any = error
        else:
            last = value
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"{what}: not so after {seconds:g} s ({last!r})")


@dataclass(frozen=True, slots=True)
class Tls:
    """A server program that speaks TLS, its settings for that, and the CA for clients."""

    binary: ServerBinary
    ca: Path
    lines: dict[str, str]


class Server(EmbeddedServer):
    """A server on loopback whose data can be copied, put back and shortened; `tls`: its port speaks that."""

    def __init__(self, folder: Path, *, tls: Tls | None = None, **options: str) -> None:
        chosen = {"repl-diskless-sync-delay": "0", **options}
        program, port = (tls.binary, free_port()) if tls else (server_under_test(), 0)
        if tls:
            chosen |= {"port": "0", "tls-port": str(port), **tls.lines}
        super().__init__(folder, binary=program, port=port, options=chosen)

    def ask(self) -> Redis:
        """Return a client of this very server, whoever is the primary."""
        return Redis(unix_socket_path=str(self.socket_path), socket_timeout=5)

    def info(self, section: str) -> dict[str, Any]:
        """Read a section of INFO."""
        with self.ask() as redis:
            found: dict[str, Any] = redis.info(section)
            return found

    # -- backups

    def back_up_files(self, to: Path) -> None:
        """Copy the append-only folder while the server writes on, as the Redis manual says (persistence)."""
        with self.ask() as redis:
            redis.config_set("auto-aof-rewrite-percentage", 0)
            wait_for(lambda: not self.info("persistence")["aof_rewrite_in_progress"], 10, "no rewrite")
            shutil.copytree(self.data_dir / AOF_FOLDER, to)
            redis.config_set("auto-aof-rewrite-percentage", 100)

    def back_up_snapshot(self, to: Path) -> None:
        """Let the server write a snapshot and copy that."""
        with self.ask() as redis:
            redis.bgsave()
            wait_for(lambda: not self.info("persistence")["rdb_bgsave_in_progress"], 10, "snapshot written")
        to.mkdir()
        shutil.copy(self.data_dir / RDB, to)

    def put_back(self, backup: Path) -> None:
        """Kill the server, put a backup of either kind in its data's place, start it."""
        self.kill()
        shutil.rmtree(self.data_dir / AOF_FOLDER, ignore_errors=True)
        (self.data_dir / RDB).unlink(missing_ok=True)
        if not (backup / RDB).exists():
            shutil.copytree(backup, self.data_dir / AOF_FOLDER)
            self.start()
            return
        shutil.copy(backup / RDB, self.data_dir)
        usual, self._options = self._options, {**self._options, "appendonly": "no"}
        self.start()
        self._options = usual
        with self.ask() as redis:
            redis.config_set("appendonly", "yes")
        wait_for(lambda: self.info("persistence")["aof_enabled"], 5, "append-only file begun")
        wait_for(lambda: not self.info("persistence")["aof_rewrite_in_progress"], 10, "and written")

    # -- losing what was not on disk

    def _newest(self) -> Path:
        files = (self.data_dir / AOF_FOLDER).glob("*.incr.aof")
        return max(files, key=lambda path: int(path.name.split(".")[-3]))

    def written(self) -> int:
        """Return how long the append-only file is now, in bytes."""
        return self._newest().stat().st_size

    def lose_what_follows(self, size: int) -> int:
        """Kill the server and shorten its append-only file, as a power cut does; return the bytes lost.

        A transaction that was cut through is left out by the server as it starts.
        """
        self.kill()
        lost = self.written() - size
        os.truncate(self._newest(), size)
        return lost


class Sentinel:
    """One sentinel process."""

    def __init__(self, folder: Path, watched: int, quorum: int, tls: Tls | None = None) -> None:
        self.port = free_port()
        self._tls = tls
        folder.mkdir(parents=True)
        file = folder / "sentinel.conf"
        listens = f"port {self.port}\n" if tls is None else f"port 0\ntls-port {self.port}\n"
        listens += "".join(f"{name} {value}\n" for name, value in (tls.lines if tls else {}).items())
        file.write_text(
            f"{listens}bind 127.0.0.1\ndir {folder}\nlogfile {folder / 'sentinel.log'}\n"
            f"sentinel monitor {SERVICE} 127.0.0.1 {watched} {quorum}\n"
            f"sentinel down-after-milliseconds {SERVICE} {DOWN_AFTER_MS}\n"
            f"sentinel failover-timeout {SERVICE} {FAILOVER_TIMEOUT_MS}\n"
        )
        program = tls.binary if tls else server_under_test()
        command = [str(program.path), str(file), "--sentinel"]
        self.process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def about(self) -> dict[str, Any]:
        """Return what it knows of the primary."""
        safe: dict[str, Any] = {"ssl": True, "ssl_ca_certs": str(self._tls.ca)} if self._tls else {}
        with Redis(port=self.port, socket_timeout=2, decode_responses=True, **safe) as redis:
            reply: Any = redis.execute_command("SENTINEL", "MASTER", SERVICE)
            return dict(reply) if isinstance(reply, dict) else dict(zip(reply[::2], reply[1::2], strict=True))

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


@dataclass
class Replicated:
    """A primary, its replicas, and the sentinels that replace it."""

    servers: list[Server]
    sentinels: list[Sentinel] = field(default_factory=list)
    tls: Tls | None = None

    @property
    def url(self) -> str:
        """The REDIS_URL of whoever is the primary."""
        hosts = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis{'s' if self.tls else ''}+sentinel://{hosts}/{SERVICE}/0"

    @property
    def primary(self) -> Server:
        """The server that the sentinels name."""
        port = int(self.sentinels[0].about()["port"])
        return next(server for server in self.servers if server.port == port)

    def follow(self, replica: Server, port: int) -> None:
        """Let a server replicate from a port, and wait until it has everything."""
        with replica.ask() as redis:
            redis.execute_command("REPLICAOF", "127.0.0.1", port)
        wait_for(lambda: replica.info("replication")["master_link_status"] == "up", 20, "replica in step")

    def rejoin(self, killed: Server, primary: Server) -> None:
        """Start a killed server as a replica, as Sentinel would make it within ten seconds."""
        assert primary.port
        killed.start()
        self.follow(killed, primary.port)

    def failed_over(self, before: Server, seconds: float = 20) -> Server:
        """Wait until another server is the primary, and takes writes; return it."""
        wait_for(lambda: self.primary is not before, seconds, "another primary is named")
        wait_for(lambda: self.primary.info("replication")["role"] == "master", seconds, "it knows")
        # until they are connected to it the sentinels name it, but redis-py doesn't believe them
        wait_for(lambda: all(s.about()["flags"] == "master" for s in self.sentinels), seconds, "it is up")
        return self.primary


@contextmanager
def replicated(
    folder: Path, *, replicas: int = 1, sentinels: int = 3, tls: Tls | None = None, **options: str
) -> Iterator[Replicated]:
    """Run a primary, replicas in step with it, and sentinels that know of each other; `tls`: all in it."""
    made = Replicated(
        [Server(folder / f"redis-{i}", tls=tls, **options) for i in range(replicas + 1)], tls=tls
    )
    try:
        for server in made.servers:
            server.start()
        primary = made.servers[0]
        assert primary.port
        for replica in made.servers[1:]:
            made.follow(replica, primary.port)
        for i in range(sentinels):
            made.sentinels.append(Sentinel(folder / f"sentinel-{i}", primary.port, sentinels // 2 + 1, tls))
        wanted = {"num-slaves": str(replicas), "num-other-sentinels": str(sentinels - 1), "flags": "master"}
        for sentinel in made.sentinels:
            wait_for(lambda s=sentinel: wanted.items() <= s.about().items(), 20, "sentinels know each other")  # type: ignore[misc]
        yield made
    finally:
        for sentinel in made.sentinels:
            sentinel.stop()
        for server in made.servers:
            server.kill()
