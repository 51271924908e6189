"""The processes of `broadcaster up`: each is kept alive, and ended when its turn comes."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING, Final

from broadcaster.cli.home import STOP_WITH_PARENT
from broadcaster.cli.output import say
from broadcaster.cli.own_programs import PYTHON, finding_us

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

#: The wait before a process is started again; it doubles each time, until the process has lived so long.
FIRST_WAIT_SECONDS: Final = 0.5
LONGEST_WAIT_SECONDS: Final = 30.0
LIVED_SECONDS: Final = 60.0


class Part:
    """One program of ours, `python -m` and `arguments`, whose log lines go where ours do."""

    def __init__(
        self, name: str, arguments: Sequence[str], variables: Mapping[str, str], folder: Path
    ) -> None:
        self.name = name
        self._arguments = list(arguments)
        self._variables = dict(variables)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._began = 0.0
        self._wait = 0.0
        self._again_at = 0.0

    @property
    def alive(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self.ended is None

    @property
    def ended(self) -> int | None:
        """Its exit code, None while it lives."""
        return self._process.poll() if self._process is not None else None

    def start(self) -> None:
        """Start it. On Linux it is told to stop when this process ends, however it does."""
        self._began = time.monotonic()
        command = [*PYTHON, "-c", STOP_WITH_PARENT, str(os.getpid()), *PYTHON, "-m"]
        self._process = subprocess.Popen(  # noqa: S603 - our own arguments, no shell
            [*command, *self._arguments],
            cwd=self._folder,
            env=finding_us(self._variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us: each is ended in its turn
        )

    def keep(self) -> None:
        """Start it again if it has ended, after a wait that grows while it doesn't live long."""
        now = time.monotonic()
        code = self.ended
        if code is None:
            if now - self._began > LIVED_SECONDS:
                self._wait = 0.0
            return
        if not self._again_at:
            self._wait = min(LONGEST_WAIT_SECONDS, self._wait * 2 or FIRST_WAIT_SECONDS)
            self._again_at = now + self._wait
            say(f"The {self.name} ended ({_how(code)}); it is started again in {self._wait:g} s.")
        elif now >= self._again_at:
            self._again_at = 0.0
            self.start()

    def tell_to_stop(self) -> None:
        """Let it end in order."""
        if self._process is not None and self.alive:
            self._process.terminate()

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None and self.alive:
            self._process.kill()


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
