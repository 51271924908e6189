"""The real command in a folder of its own, against a simulated Twilio: as subprocess, or in this process."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import urllib.request
from contextlib import chdir, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from unittest import mock

import structlog

from broadcaster.cli.root import run
from broadcaster.simulator.config import ACCOUNT_SID
from broadcaster.telemetry.logs import masked_beside_output

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SENDER = "12345"


@dataclass
class Desk:
    """A folder with a list, settings, and the command."""

    folder: Path
    twilio: str
    more: dict[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, str]:
        """What the command finds in its environment."""
        return {
            "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
            "TWILIO_AUTH_TOKEN": "simulator",
            "TWILIO_API_BASE_URL": self.twilio,
            "TWILIO_PHONE_NUMBER": SENDER,
            "BROADCASTER_METRICS_PORT": "0",
            "BROADCASTER_LOG_FORMAT": "json",
            "BROADCASTER_CHECK_MEDIA": "off",  # no name of a test is looked for in a real DNS
            **self.more,
        }

    def _environment(self) -> dict[str, str]:
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith(("TWILIO_", "REDIS_", "BROADCASTER_"))
        }
        return kept | {name: value for name, value in self.settings.items() if value}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start the command."""
        return subprocess.Popen(
            [sys.executable, "-m", "broadcaster", *arguments],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, stdin: str = "", timeout: float = 30) -> tuple[int, str, str]:
        """Run the command to its end: exit code, standard output, standard error."""
        with self.start(*arguments) as process:
            out, err = process.communicate(stdin, timeout=timeout)
            return process.returncode, out, err

    def on_a_terminal(
        self, *arguments: str, expect: str = "", answer: str = "", terminal: str = "dumb"
    ) -> tuple[str, int]:
        """Run the command on a terminal and answer its question; return the screen and the exit code."""
        ours, theirs = os.openpty()
        with subprocess.Popen(
            [sys.executable, "-m", "broadcaster", *arguments],
            cwd=self.folder,
            env=self._environment() | {"TERM": terminal, "COLUMNS": "200"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        ) as process:
            os.close(theirs)
            screen = b""
            with contextlib.suppress(OSError):  # how Linux tells that the other side has ended
                while part := os.read(ours, 65536):
                    screen += part
                    if expect.encode() in screen and answer:
                        os.write(ours, answer.encode())
                        answer = ""
            os.close(ours)
            return screen.decode(), process.wait(10)

    def call(self, *arguments: str) -> tuple[int, str, str]:
        """Do as `run` does, but in this process: ten times as fast."""
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ, self._environment(), clear=True),
            chdir(self.folder),
            redirect_stdout(out),
            redirect_stderr(err),
        ):
            structlog.reset_defaults()  # a test before may have set where lines go; others here may log, too
            masked_beside_output(
                os.environ.get("BROADCASTER_LOG_LEVEL") or "warning",
                as_json=os.environ.get("BROADCASTER_LOG_FORMAT") == "json",
            )
            code = run(list(arguments))
            structlog.reset_defaults()
        return code, out.getvalue(), err.getvalue()

    def json(self, *arguments: str) -> Any:
        """Call a command that prints JSON and must work."""
        code, out, err = self.call(*arguments, "--json")
        assert code == 0, err
        return json.loads(out)

    def write(self, name: str, *lines: str) -> str:
        """Write a list; return its name."""
        (self.folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return name

    def people(self, count: int, name: str = "people.csv") -> str:
        """Write a list of numbered people; return its name."""
        return self.write(name, "to,name", *(f"+1415555{i:04d},P{i}" for i in range(count)))

    @contextmanager
    def worker(self) -> Iterator[subprocess.Popen[str]]:
        """Run a worker for as long as needed."""
        log = (self.folder / "worker.log").open("ab")
        with log, subprocess.Popen(
            [sys.executable, "-m", "broadcaster", "worker", "--concurrency", "8"],
            cwd=self.folder,
            env=self._environment(),
            stdout=log,
            stderr=log,
            text=True,
        ) as process:  # fmt: skip
            try:
                yield process
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(20)


@contextmanager
def simulated_twilio(**config: Any) -> Iterator[str]:
    """Run a simulator process; give its URL."""
    with subprocess.Popen(
        [sys.executable, "-m", "broadcaster.simulator", "--config", json.dumps(config)],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()
            process.wait(10)


def accepted(twilio: str) -> list[dict[str, Any]]:
    """Return what the simulator accepted, in order."""
    with urllib.request.urlopen(f"{twilio}/_simulator/accepted", timeout=10) as answer:  # noqa: S310
        return [json.loads(line) for line in answer.read().splitlines() if line]
