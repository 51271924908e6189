"""The demo's stage: an embedded server, the simulator, a worker, and what Twilio calls; all gone at the end.

Children end with us however we end: on Linux the kernel kills them, elsewhere an orderly end does.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import click
import msgspec

from broadcaster.cli.demo_campaign import CHAT_SENDER, TEMPLATE_SID, TEMPLATE_TEXT
from broadcaster.cli.own_programs import PYTHON, finding_us
from broadcaster.simulator.config import ACCOUNT_SID, SimulatorConfig, TemplateConfig
from broadcaster.store.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from broadcaster.cli.demo_campaign import Campaign

_TOKEN: Final = "simulator"  # noqa: S105 - the fake account's
_STOP_SECONDS: Final = 5.0
_PR_SET_PDEATHSIG: Final = 1
#: Runs in the child before the program: have the kernel kill it with its parent, where the kernel can.
_TOGETHER: Final = f"""
import os, runpy, sys
if sys.platform == "linux":
    import ctypes
    ctypes.CDLL(None).prctl({_PR_SET_PDEATHSIG}, {int(signal.SIGKILL)}, 0, 0, 0)
if os.getppid() != int(sys.argv.pop(1)):
    sys.exit(1)
module = sys.argv.pop(1)
runpy.run_module(module, run_name="__main__", alter_sys=True)
"""


class DemoError(click.ClickException):
    """Something on the stage does not work; the message says what, and shows the end of its log."""


class Child:
    """One Python program of ours in a process of its own; its standard error goes to a file."""

    def __init__(self, name: str, arguments: list[str], *, folder: Path, env: Mapping[str, str]) -> None:
        self.name = name
        self.log_path = folder / f"{name}.log"
        with self.log_path.open("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603 - our own arguments, no shell
                [*PYTHON, "-c", _TOGETHER, str(os.getpid()), *arguments],
                cwd=folder,  # no .env there: what a real account needs stays out of it
                env=finding_us(env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for us; we end it in order
            )

    def first_line(self) -> str:
        """Wait for its first line on standard output. Raises `DemoError` if it ends without one."""
        assert self.process.stdout is not None  # noqa: S101 - it is a pipe
        line = self.process.stdout.readline().decode()
        if not line:
            self.process.wait(_STOP_SECONDS)
            self.check()
        return line

    def check(self) -> None:
        """Raise `DemoError` if it has ended."""
        code = self.process.poll()
        if code is not None:
            lines = self.log_path.read_text(errors="replace").splitlines()[-8:]
            raise DemoError(
                f"The {self.name} ended (exit code {code}). The end of its log:\n" + "\n".join(lines)
            )

    def stop(self) -> None:
        """End it: asked first, then made to."""
        if self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(_STOP_SECONDS)
            self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that runs. `exports` is what another terminal needs to look around."""

    folder: Path
    redis_url: str
    simulator_url: str
    children: tuple[Child, ...]
    exports: dict[str, str]

    def check(self) -> None:
        """Raise `DemoError` if a process has ended."""
        for child in self.children:
            child.check()

    @property
    def env_file(self) -> Path:
        """A file for a shell to read, with `exports`."""
        return self.folder / "env"

    def let_write(self, people: list[str]) -> None:
        """Let people write to us on WhatsApp, so that they can be answered freely. Raises `DemoError`."""
        hook = f"{self.exports['BROADCASTER_PUBLIC_URL']}/webhooks/twilio/inbound"
        self.ask_simulator("config", "POST", {"inbound_url": hook})
        written = [{"from": person, "to": CHAT_SENDER, "body": "Is it safe here?"} for person in people]
        self.ask_simulator("inbound", "POST", written)

    def ask_simulator(self, name: str, method: str = "GET", body: Any = None) -> Any:
        """Return what the simulator's control API answers. Raises `DemoError`."""
        address = urlsplit(self.simulator_url)
        connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
        try:
            connection.request(method, f"/_simulator/{name}", None if body is None else json.dumps(body))
            return json.loads(connection.getresponse().read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise DemoError(f"The simulator does not answer: {error}") from error
        finally:
            connection.close()


@contextlib.contextmanager
def set_stage(data_dir: Path, campaign: Campaign) -> Iterator[Stage]:
    """Start everything in `data_dir`/demo, emptied first; stop everything at the end.

    Raises `DemoError` or `EmbeddedServerError`. Call it in the main thread.
    """
    with contextlib.ExitStack() as ending:
        folder = _fresh_folder(data_dir, ending)
        config = folder / "simulator.json"
        config.write_bytes(msgspec.json.encode(_twilio(campaign)))
        clean = {
            k: v for k, v in os.environ.items() if not k.startswith(("TWILIO_", "BROADCASTER_", "REDIS_"))
        }
        simulator = Child(
            "simulator", ["broadcaster.simulator", "--config", f"@{config}"], folder=folder, env=clean
        )
        ending.callback(simulator.stop)
        server = ending.enter_context(EmbeddedServer(folder / "redis", reuse=False))
        url = str(json.loads(simulator.first_line())["url"])
        exports = {
            "REDIS_URL": server.url,
            "TWILIO_ACCOUNT_SID": ACCOUNT_SID,
            "TWILIO_AUTH_TOKEN": _TOKEN,
            "TWILIO_API_BASE_URL": url,
            "TWILIO_PHONE_NUMBER": "+14155550100",
        }
        tuning = {
            "BROADCASTER_METRICS_PORT": "0",
            "BROADCASTER_LOG_FORMAT": "json",
            "BROADCASTER_SHUTDOWN_SECONDS": "3",
            "BROADCASTER_CONCURRENCY": "128",
            "BROADCASTER_BACKOFF_BASE_SECONDS": "1",
        }
        common = clean | exports | tuning
        webhooks = Child(
            "webhooks",
            ["broadcaster.api", "--port", "0", "--only", "webhooks"],
            folder=folder,
            env=common,
        )
        ending.callback(webhooks.stop)
        exports["BROADCASTER_PUBLIC_URL"] = str(json.loads(webhooks.first_line())["url"])
        worker = Child("worker", ["workers"], folder=folder, env=common | exports)
        ending.callback(worker.stop)
        stage = Stage(folder, server.url, url, (simulator, webhooks, worker), exports)
        _write_exports(stage)
        yield stage


def _twilio(campaign: Campaign) -> SimulatorConfig:
    return SimulatorConfig(
        senders=campaign.rates,
        recipients=dict(campaign.answers),
        magic_numbers=False,
        templates={TEMPLATE_SID: TemplateConfig(body=TEMPLATE_TEXT, name="flood_warning")},
        whatsapp_window=True,
        latency_ms=30.0,
        latency_jitter_ms=30.0,
        retry_after_seconds=3,
        queue_seconds=86_400.0,
        delivery_failures={"30003": 0.01, "30005": 0.005},
        reads=0.5,
        no_receipts=0.1,
        callback_shuffle=True,
        callback_jitter_ms=500.0,
        callback_duplicates=0.05,
    )


def _fresh_folder(data_dir: Path, ending: contextlib.ExitStack) -> Path:
    """Return an empty `data_dir`/demo that is ours until the end. Raises `DemoError`."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = ending.enter_context((data_dir / "demo.lock").open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        folder = (data_dir / "demo").absolute()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
    except BlockingIOError:
        raise DemoError(
            f"Another demo is running in {data_dir}: end it, or choose another folder with "
            "BROADCASTER_DATA_DIR."
        ) from None
    except OSError as error:
        raise DemoError(f"Cannot use {data_dir} for the demo's data: {error.strerror}.") from error
    return folder


def _write_exports(stage: Stage) -> None:
    """Write the file that makes another terminal look at this demo; our programs are on its path."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in stage.exports.items()]
    lines.append(f'export PATH={shlex.quote(str(Path(sys.executable).parent))}:"$PATH"')
    lines.append("unset TWILIO_API_KEY TWILIO_API_SECRET TWILIO_MESSAGING_SERVICE_SID TWILIO_WHATSAPP_FROM")
    stage.env_file.write_text("\n".join(lines) + "\n", encoding="utf-8")
