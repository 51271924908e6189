"""The embedded server: a real Redis or Valkey in a data directory of ours.

For the demo, `up`, `send` without `REDIS_URL`, and the tests. Every server started here has its
append-only file on with `appendfsync always` and never evicts: an intent is on disk before its POST
leaves. It listens on a Unix socket in the data directory, and on 127.0.0.1 if a port is asked for.

The lock file's lock is held by the *server process* (it inherits the descriptor), so it is held
exactly as long as somebody may write to the directory, also when whoever started it is gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Final, Self

from broadcaster.store.local_sockets import ask, free_port, short_socket_path
from broadcaster.store.server_binary import EmbeddedServerError, ServerBinary, find_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

#: How long a server may take until it answers or starts reading its data back.
START_SECONDS: Final = 15.0
#: How long it may take to read its append-only file back.
LOADING_SECONDS: Final = 900.0
#: How long a stopping server may take to write what it holds.
STOP_SECONDS: Final = 20.0
#: Longest path a Unix socket may have on every system we run on (macOS: 104 with the end mark).
_SOCKET_PATH_BYTES: Final = 100
_PDEATHSIG: Final = 1
#: Runs in the child before the server takes its place: ask the kernel for a signal when our parent
#: ends, and leave at once if that has already happened.
_DIE_WITH_PARENT: Final = (
    "import ctypes,os,sys;"
    f"ctypes.CDLL(None).prctl({_PDEATHSIG},{int(signal.SIGTERM)},0,0,0);"
    "os.getppid()==int(sys.argv[1]) or sys.exit(1);"
    "os.execv(sys.argv[2],sys.argv[2:])"
)


class GivenUpError(EmbeddedServerError):
    """Nobody waits any longer for the server to come up."""


class EmbeddedServer:
    """One server over one data directory; starting it again on the same directory keeps the data.

    `port` None: Unix socket only; 0: any free port. With `die_with_parent` (Linux) the server ends
    when this process does, however it does; `start` must then be called in the main thread, because
    the kernel watches the thread. If a server already runs on the directory, `start` uses that one
    when `reuse` is set (`stop` then leaves it running), else refuses. While `start` waits it asks `given_up`:
    once that is true it raises `GivenUpError`, and no server of ours is left.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        binary: ServerBinary | None = None,
        port: int | None = None,
        die_with_parent: bool = True,
        reuse: bool = True,
        options: Mapping[str, str] | None = None,
        given_up: Callable[[], object] | None = None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self.binary = binary
        self.port = port
        self.process: subprocess.Popen[bytes] | None = None
        self.owned = False
        self._die_with_parent = die_with_parent and sys.platform == "linux"
        self._reuse = reuse
        self._options = dict(options or {})
        self._given_up = given_up

    @property
    def socket_path(self) -> Path:
        """Where the server listens; a stand-in under the temporary directory if the path is too long."""
        path = self.data_dir / "redis.sock"
        return path if len(os.fsencode(path)) <= _SOCKET_PATH_BYTES else short_socket_path(path)

    @property
    def url(self) -> str:
        """What redis-py takes: `unix:///…/redis.sock?db=0`."""
        return f"unix://{self.socket_path}?db=0"

    @property
    def tcp_url(self) -> str:
        """The same server over loopback; raises `EmbeddedServerError` if it has no port."""
        if not self.port:
            raise EmbeddedServerError(
                f"The server in {self.data_dir} listens on its socket only: give it a port."
            )
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def log_path(self) -> Path:
        """The server's own log."""
        return self.data_dir / "redis.log"

    def __enter__(self) -> Self:
        """Start the server."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the server if it is ours."""
        self.stop()

    def start(self) -> None:
        """Start the server, or find the one that runs on the directory, and wait until it answers.

        Raises `EmbeddedServerError` with a sentence when there is no server program, when the
        directory is taken, or when the server does not come up.
        """
        if self.process is not None and self.process.poll() is None:
            return
        if self._die_with_parent and threading.current_thread() is not threading.main_thread():
            raise EmbeddedServerError(
                "An embedded server that ends with its parent must be started in the main thread."
            )
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise EmbeddedServerError(
                f"Cannot make the data directory {self.data_dir}: {error.strerror}."
            ) from error
        lock = self._lock()
        if lock is None:
            self.owned = False
            self._await_answer()
            self.port = self._port_in_use()
            return
        try:
            self._spawn(lock)
        finally:
            os.close(lock)
        self.owned = True
        try:
            self._await_answer()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End the server cleanly: it writes what it holds, then exits. A server we found goes on."""
        process = self.process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
        process.wait()
        self.process = None
        self.owned = False

    def kill(self) -> None:
        """End the server the hard way, as a crash would (SIGKILL). `start` brings it back."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
            self.owned = False

    def pause(self) -> None:
        """Freeze the server (SIGSTOP): connections stay open, nothing is answered."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`."""
        self._running().send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Stop cleanly and start again on the same directory."""
        self.stop()
        self.start()

    @property
    def _unwanted(self) -> bool:
        return self._given_up is not None and bool(self._given_up())

    def _go_on_if_wanted(self) -> None:
        if self._unwanted:
            raise GivenUpError("The embedded server was not waited for.")

    def _running(self) -> subprocess.Popen[bytes]:
        if self.process is None:
            raise EmbeddedServerError(f"No server of ours runs in {self.data_dir}: start it first.")
        return self.process

    def _lock(self) -> int | None:
        """Take the directory; None if a running server has it and may be used.

        A server that is just ending (or its rewriting child) holds the lock for a moment, so this
        waits a little before it refuses.
        """
        path = self.data_dir / "lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                answer = ask(self.socket_path, b"PING")
                alive = answer.startswith((b"+PONG", b"-LOADING"))
                if not alive and time.monotonic() < deadline and not self._unwanted:
                    time.sleep(0.02)
                    continue
                os.close(descriptor)
                self._go_on_if_wanted()
                if alive and self._reuse:
                    return None
                raise EmbeddedServerError(
                    f"Another server is using {self.data_dir}. Stop it, or choose another directory "
                    "with BROADCASTER_DATA_DIR."
                ) from None
            return descriptor

    def _spawn(self, lock: int) -> None:
        self.binary = self.binary or find_server()
        if self.port == 0:
            self.port = free_port()
        command = [str(self.binary.path), *self._arguments()]
        if self._die_with_parent:
            command = [sys.executable, "-I", "-S", "-c", _DIE_WITH_PARENT, str(os.getpid()), *command]
        self.process = subprocess.Popen(  # noqa: S603 - our own arguments, no shell
            command,
            cwd=self.data_dir,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(lock,),
            start_new_session=True,  # Ctrl-C is for us: we end it when our own work is written
        )

    def _arguments(self) -> list[str]:
        options = {
            "dir": str(self.data_dir),
            "logfile": str(self.log_path),
            "daemonize": "no",
            "bind": "127.0.0.1",
            "port": str(self.port or 0),
            "unixsocket": str(self.socket_path),
            "unixsocketperm": "700",
            "appendonly": "yes",
            "appendfsync": "always",
            "save": "",
            "maxmemory-policy": "noeviction",
            **self._options,
        }
        return [part for name, value in options.items() for part in (f"--{name}", value)]

    def _await_answer(self) -> None:
        """Return when PING is answered; raise with the end of the server's log when it will not be."""
        started = time.monotonic()
        while True:
            answer = ask(self.socket_path, b"PING")
            if answer.startswith(b"+PONG"):
                return
            self._go_on_if_wanted()
            ended = self.process is not None and self.process.poll() is not None
            limit = LOADING_SECONDS if answer.startswith(b"-LOADING") else START_SECONDS
            if ended or time.monotonic() - started > limit:
                what = "stopped at once" if ended else f"does not answer after {limit:.0f} s"
                raise EmbeddedServerError(
                    f"The embedded server ({self.binary}) {what}. "
                    f"The end of its log, {self.log_path}:\n{self._log_tail()}"
                )
            time.sleep(0.01)

    def _port_in_use(self) -> int | None:
        fields = ask(self.socket_path, b"CONFIG GET port").split(b"\r\n")
        return int(fields[-2]) or None if len(fields) > 2 and fields[-2].isdigit() else None  # noqa: PLR2004

    def _log_tail(self, lines: int = 8) -> str:
        with contextlib.suppress(OSError):
            return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])
        return "(there is no log)"


@contextlib.contextmanager
def redis_for(redis_url: str | None, data_dir: Path, *, port: int | None = None) -> Iterator[str]:
    """Give the URL of the Redis to use: `redis_url` if there is one, else an embedded server's.

    An embedded server that was started here is stopped at the end. Raises `EmbeddedServerError`.
    """
    if redis_url:
        yield redis_url
        return
    with EmbeddedServer(data_dir, port=port) as server:
        yield server.url
