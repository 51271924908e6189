"""The peers: what a team would otherwise put together, in environments of their own, run one at a time.

`tests/bench/peers/` has their programs and, name==version, what they need; that is installed once, into a
folder that is kept.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from benching.registry import BENCHES, missing_in_words
from pinning import MEASURED, on_core

FOLDER: Final = BENCHES / "peers"
#: The variable that names the folder of the peers' environments.
CACHE: Final = "BROADCASTER_BENCH_CACHE"
#: The word of a command in whose place the number of messages goes.
COUNT: Final = "COUNT"
#: How many messages a peer of no warm-up sends, and ours beside it.
FIRST_MESSAGES: Final = 10_000
#: Where a peer that hangs is given up.
_LIMIT_SECONDS: Final = 300.0
#: How long an installation may take.
_INSTALL_SECONDS: Final = 900.0


@dataclass(frozen=True, slots=True)
class Peer:
    """One peer: its row's id, the words that run it, and so many messages that it takes some seconds."""

    id: str
    what: str
    environment: str
    words: tuple[str, ...]
    messages: int
    tls: bool = False
    note: str = ""


class Told(msgspec.Struct, frozen=True):
    """What a peer's program prints at its end."""

    messages: int
    seconds: float
    cpu_seconds: float

    @property
    def rate(self) -> float:
        """Messages a second."""
        return self.messages / self.seconds

    @property
    def cpu_us(self) -> float:
        """Microseconds of CPU a message, of the sending process."""
        return self.cpu_seconds / self.messages * 1e6


class NotRunError(RuntimeError):
    """A peer can't be run here; the message says why."""


_LOOPS: Final = (("httpx", 3_000), ("httpx2", 8_000), ("aiohttp", 40_000), ("pyreqwest", 80_000))
PEERS: Final = (
    Peer("peer.celery", "Celery + twilio-python, 32 threads", "celery", ("celery_run.py",), 4_000),
    Peer("peer.arq.httpx", "arq, a job per recipient, httpx", "python", ("arq_run.py", "httpx"), 4_000),
    Peer("peer.arq.aiohttp", "arq, a job per recipient, aiohttp", "python", ("arq_run.py", "aiohttp"), 8_000),
    Peer("peer.saq", "SAQ, a job per recipient, aiohttp", "python", ("saq_run.py",), 6_000),
    Peer("peer.bullmq", "BullMQ + undici", "node", ("bullmq_run.mjs",), 30_000),
    Peer(
        "peer.bullmq.first",
        "BullMQ + undici, counted from the first message on",
        "node",
        ("bullmq_run.mjs", "0"),
        FIRST_MESSAGES,
        note=f"{FIRST_MESSAGES:,} messages, as its budget's figure was measured: Node compiles meanwhile",
    ),
    Peer("peer.asynq", "asynq + net/http", "go", ("asynq_run.go",), 20_000, note="v0.24"),
    *(
        Peer(
            f"peer.loop.go{'.tls' if tls else ''}",
            f"bare loop: Go's net/http{' over TLS' if tls else ''}",
            "go_alone",
            ("loop_run.go",),
            80_000,
            tls,
            "no queue, no ledger",
        )
        for tls in (False, True)
    ),
    *(
        Peer(
            f"peer.loop.{name}{'.tls' if tls else ''}",
            f"bare loop: {name}{' over TLS' if tls else ''}",
            "python",
            ("loop_run.py", name),
            messages,
            tls,
            "no queue, no ledger",
        )
        for tls in (False, True)
        for name, messages in _LOOPS
    ),
)


def default_cache() -> Path:
    """Return where the peers' environments are kept: what `CACHE` names, else in the person's cache."""
    if chosen := os.environ.get(CACHE):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "broadcaster-bench"


def command_in(cache: Path, peer: Peer) -> list[str]:
    """Return the command of a peer, made ready, with `COUNT`. Raises `NotRunError` with what is missing."""
    if peer.environment in ("go", "go_alone"):
        return [str(_go_program(cache, peer)), COUNT]
    if peer.environment == "node":
        return ["node", str(FOLDER / peer.words[0]), str(_node_folder(cache)), COUNT, *peer.words[1:]]
    return [str(_python(cache, peer.environment)), str(FOLDER / peer.words[0]), COUNT, *peer.words[1:]]


def words_to_run(command: list[str], messages: int) -> list[str]:
    """Return a command with its number of messages, on the core that is measured."""
    return [*on_core(MEASURED), *(str(messages) if word == COUNT else word for word in command)]


def run(command: list[str], messages: int, sink: str, redis_url: str) -> Told:
    """Let a peer send so many messages, on the core that is measured. Raises `NotRunError` if it doesn't."""
    environment = {**os.environ, "SINK": sink, "REDIS_URL": redis_url}
    environment.pop("PYTHONPATH", None)
    try:
        done = subprocess.run(
            words_to_run(command, messages),
            env=environment,
            capture_output=True,
            text=True,
            timeout=_LIMIT_SECONDS,
            check=False,
        )
        lines = done.stdout.splitlines()
        return msgspec.json.decode(lines[-1], type=Told)
    except subprocess.TimeoutExpired as error:
        raise NotRunError(f"it took longer than {_LIMIT_SECONDS:.0f} s") from error
    except (IndexError, msgspec.MsgspecError) as error:
        raise NotRunError(f"it failed: {_last(done.stderr)}") from error


def _python(cache: Path, name: str) -> Path:
    """Return the interpreter of an environment, made anew when its list of packages has changed."""
    folder, wanted = cache / name, (FOLDER / f"{name}.txt").read_text(encoding="utf-8") + sys.version
    python = folder / "bin" / "python"
    if not _has(folder, wanted):
        _install([sys.executable, "-m", "venv", str(folder)])
        pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        _install([*pip, "-r", str(FOLDER / f"{name}.txt")])
        (folder / "installed").write_text(wanted, encoding="utf-8")
    return python


def _node_folder(cache: Path) -> Path:
    if missing := tuple(name for name in ("node", "npm") if shutil.which(name) is None):
        raise NotRunError(missing_in_words(missing))
    folder, wanted = cache / "node", (FOLDER / "node.txt").read_text(encoding="utf-8")
    if not _has(folder, wanted):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text("{}")
        npm = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock", "--silent"]
        _install([*npm, "--prefix", str(folder), *_with_at(wanted)])
        (folder / "installed").write_text(wanted, encoding="utf-8")
    return folder


def _go_program(cache: Path, peer: Peer) -> Path:
    """Return a program in Go, built anew when it or its list of modules has changed.

    Its folder is a Go module of its own; only an environment that has a list needs any module.
    """
    go = _go(cache)
    sources = (FOLDER / peer.words[0], FOLDER / "peer_measure.go")
    listed = FOLDER / f"{peer.environment}.txt"
    modules = listed.read_text(encoding="utf-8") if listed.exists() else ""
    wanted = modules + "".join(source.read_text(encoding="utf-8") for source in sources)
    folder = cache / peer.environment
    program = folder / sources[0].stem
    if not _has(folder, wanted):
        folder.mkdir(parents=True, exist_ok=True)
        for source in sources:
            shutil.copy(source, folder)
        _install([go, "mod", "init", "peer"], folder)
        if modules:
            try:
                _install([go, "get", *_with_at(modules)], folder)
            except NotRunError as error:
                print(error, flush=True)  # with an address of where it looked: not for a page
                raise NotRunError("its modules can't be had here") from error
        build = [go, "build", "-mod=mod", "-o", program.name]
        _install([*build, *(source.name for source in sources)], folder)
        (folder / "installed").write_text(wanted, encoding="utf-8")
    return program


def _go(cache: Path) -> str:
    """Return the machine's Go, else one in an environment of its own."""
    if found := shutil.which("go"):
        return found
    try:
        return str(_python(cache, "go_toolchain").with_name("go").absolute())
    except NotRunError as error:
        raise NotRunError(f"Go is missing here, and {error}") from error


def _with_at(listed: str) -> list[str]:
    """Return what a list of name==version has, as npm and Go write it."""
    return [line.replace("==", "@") for line in listed.splitlines() if not line.startswith("#")]


def _has(folder: Path, wanted: str) -> bool:
    """Whether an environment is what is wanted; removes one that is not."""
    stamp = folder / "installed"
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return True
    shutil.rmtree(folder, ignore_errors=True)
    return False


def _install(command: list[str], folder: Path | None = None) -> None:
    print(f"installing: {' '.join(command[:6])} …", flush=True)
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotRunError(f"its packages can't be installed: {error}") from error
    if done.returncode:
        raise NotRunError(f"its packages can't be installed: {_last(done.stderr + done.stdout)}")


def _last(text: str) -> str:
    return next((line for line in reversed(text.splitlines()) if line.strip()), "it said nothing")[:200]
