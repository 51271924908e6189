"""What `send` starts itself where no REDIS_URL is set: the embedded server and one worker.

Where `broadcaster up` runs on the data directory, that has both. Else they end with the command. Their data
stays: the next `send`, or `broadcasts watch ID`, goes on with it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final, Self

from broadcaster.cli.exits import CommandFailedError
from broadcaster.cli.own_programs import PYTHON, environment, finding_us
from broadcaster.cli.up_lock import running_up
from broadcaster.runtime import check_owner
from broadcaster.store.embedded import EmbeddedServer

if TYPE_CHECKING:
    from pathlib import Path

    from broadcaster.settings import Settings
    from broadcaster.store.connection import Store

WORKER_STARTS_SECONDS: Final = 20.0
_PDEATHSIG: Final = 1
#: Runs in the child before the worker takes its place: it is told to stop when this process ends.
STOP_WITH_PARENT: Final = (
    "import ctypes,os,sys;"
    f"sys.platform=='linux' and ctypes.CDLL(None).prctl({_PDEATHSIG},{int(signal.SIGTERM)},0,0,0);"
    "os.getppid()==int(sys.argv[1]) or sys.exit(1);"
    "os.execv(sys.argv[2],sys.argv[2:])"
)


async def live_workers(store: Store) -> int:
    """Count the workers whose lease has not run out."""
    seconds, micros = await store.redis.time()
    now = seconds * 1_000_000 + micros
    return int(await store.redis.zcount(store.keys.plain("workers"), now, "+inf"))


def _interrupt(*_: object) -> None:
    signal.raise_signal(signal.SIGINT)


class Home(AbstractContextManager["Home"]):
    """The embedded server of a data directory, and a worker if none lives. Raises `EmbeddedServerError`."""

    def __init__(self, settings: Settings, env_file: Path | None) -> None:
        self._settings = settings
        self._env_file = env_file
        self._server = EmbeddedServer(settings.data_dir)
        self._worker: subprocess.Popen[bytes] | None = None
        self._before: dict[signal.Signals, Any] = {}

    @property
    def url(self) -> str:
        """What redis-py takes."""
        return self._server.url

    @property
    def up(self) -> str:
        """Where the API of a `broadcaster up` is that runs on this data directory; "" if none does."""
        there = running_up(self._settings.data_dir)
        return "" if there is None else str(there.get("api") or "another terminal")

    @property
    def worker_log(self) -> Path:
        """Where the worker's log lines go."""
        return self._settings.data_dir / "worker.log"

    def __enter__(self) -> Self:
        """Start the server, or find the one that runs."""
        for number in (signal.SIGTERM, signal.SIGHUP):  # end in order then, too: like Ctrl-C
            self._before[number] = signal.signal(number, _interrupt)
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the worker, which finishes what is in flight, then the server; what we only found goes on."""
        if self._worker is not None and self._worker.poll() is None:
            self._worker.terminate()
            try:
                self._worker.wait(self._settings.shutdown_seconds + 5)
            except subprocess.TimeoutExpired:
                self._worker.kill()
                self._worker.wait()
        self._server.stop()
        for number, handler in self._before.items():
            signal.signal(number, handler)

    async def ensure(self, store: Store) -> None:
        """Bring back what is gone: the server (somebody else's may have ended), a live worker."""
        if self.up:  # which looks after both
            return
        self._server.start()
        if self._worker is not None and self._worker.poll() is None:
            return
        if await live_workers(store):
            return
        self._settings.credentials()  # says what is missing, where the worker could only log it
        await check_owner(self._settings, store)
        self._worker = self._start_worker()
        deadline = time.monotonic() + WORKER_STARTS_SECONDS
        while not await live_workers(store):
            if self._worker.poll() is not None or time.monotonic() > deadline:
                raise CommandFailedError(
                    f"the worker did not start. The end of {self.worker_log}:\n{self._tail()}"
                )
            await asyncio.sleep(0.05)

    def _start_worker(self) -> subprocess.Popen[bytes]:
        command = [*PYTHON, "-c", STOP_WITH_PARENT, str(os.getpid()), *PYTHON, "-m", "workers"]
        with self.worker_log.open("ab") as log:
            return subprocess.Popen(  # noqa: S603 - our own arguments, no shell
                command,
                env=finding_us(environment(self._env_file, REDIS_URL=self.url)),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us: the worker is stopped in order
            )

    def _tail(self, lines: int = 8) -> str:
        try:
            return "\n".join(self.worker_log.read_text(errors="replace").splitlines()[-lines:])
        except OSError:
            return "(there is no log)"
