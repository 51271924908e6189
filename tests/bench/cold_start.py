"""How long it takes from a command typed to what it is for, with nothing in memory but the files' cache.

    python tests/bench/cold_start.py [--repeats 10] [--quick] [--json FILE]

All on core 0, one after the other, then all again, beside the interpreter that does nothing. CPU is user and
system time of the process; where a machine is busy, only that can be compared.
`python -X importtime -m broadcaster --help` says what is imported.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

sys.path.insert(0, str(Path(__file__).parents[1]))

import httpx
import measured
from loading import load
from pinning import MEASURED, on_core
from serving import free_port

from broadcaster.cli.root import COMMANDS
from broadcaster.store.connection import open_store
from broadcaster.store.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE_SECONDS: Final = 60.0
_PROGRESS: Final = re.compile(r" [1-9]\d* of \d")
_COMMAND: Final = "python tests/bench/cold_start.py"


class Timing:
    """Samples of one thing: wall and CPU milliseconds."""

    def __init__(self, name: str, what: str) -> None:
        self.name, self.what = name, what
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def rows(self) -> list[measured.Row]:
        """Return what was found."""
        rows = [measured.Row(self.name, self.what, "ms", tuple(self.wall), _COMMAND)]
        if self.cpu:
            rows.append(
                measured.Row(f"{self.name}.cpu", f"{self.what}, cost", "CPU-ms", tuple(self.cpu), _COMMAND)
            )
        return rows


def run(timing: Timing, *arguments: str, folder: Path) -> None:
    """Run a Python with these arguments to its end."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [*on_core(MEASURED), sys.executable, *arguments],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd=folder,
        env=_environment(),
    )
    timing.wall.append((time.perf_counter() - began) * 1000)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    timing.cpu.append(spent * 1000)


def _environment(**more: str) -> dict[str, str]:
    ours = ("TWILIO_", "BROADCASTER_", "REDIS_")
    mine = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**mine, "TWILIO_PHONE_NUMBER": "+14155550100", **more}


def _service(url: str) -> dict[str, str]:
    """Return the environment of a process whose Twilio is never there."""
    return _environment(
        REDIS_URL=url,
        BROADCASTER_KEY_PREFIX="cold",
        BROADCASTER_METRICS_PORT="0",
        TWILIO_ACCOUNT_SID="AC" + "0" * 32,
        TWILIO_AUTH_TOKEN="token",
        TWILIO_API_BASE_URL="http://127.0.0.1:9",
    )


@contextlib.contextmanager
def _started(
    arguments: list[str], environment: dict[str, str], folder: Path
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [*on_core(MEASURED), sys.executable, "-m", *arguments],
        env=environment,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def first_claim(timing: Timing, url: str, folder: Path) -> None:
    """From starting a worker to the moment at which a message that waited is no longer queued."""
    store = await open_store(url, "cold:")
    await store.redis.flushdb()
    await store.close()
    store = await open_store(url, "cold:")
    bid = await load(store, {"+14155550100": 1})
    queued = store.keys.broadcast(bid)
    began = time.perf_counter()
    with _started(["workers"], _service(url), folder):
        while await store.redis.hget(queued, "n0") == b"1":
            _patient(began)
            await asyncio.sleep(0.002)
        timing.wall.append((time.perf_counter() - began) * 1000)
    await store.close()


def ready(timing: Timing, url: str, folder: Path) -> None:
    """From starting an API process to its first good answer at /readyz."""
    port, began = free_port(), time.perf_counter()
    with _started(["broadcaster.api", "--port", str(port)], _service(url), folder):
        while not _answers(f"http://127.0.0.1:{port}/readyz"):
            _patient(began)
            time.sleep(0.002)
        timing.wall.append((time.perf_counter() - began) * 1000)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def demo(timing: Timing, folder: Path) -> None:
    """From `broadcaster demo` to the first line that tells of messages (there is one every two seconds)."""
    began = time.perf_counter()
    command = ["broadcaster", "demo", "--exit", "--recipients", "300"]
    with _started(command, _environment(), folder) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if _PROGRESS.search(line):
                timing.wall.append((time.perf_counter() - began) * 1000)
                break
        process.stdout.read()  # it ends by itself, and puts its folder right


def _patient(began: float) -> None:
    if time.perf_counter() - began > PATIENCE_SECONDS:
        raise TimeoutError("it did not start")


def pages(folder: Path, *, all_of_them: bool) -> list[tuple[Timing, Callable[[Timing], None]]]:
    """Return what runs to its end: the interpreter, pages of options, a dry run."""
    rows = folder / "list.csv"
    rows.write_text("to,name\n" + "".join(f"+1415555{n:04},N{n}\n" for n in range(100)))
    found = [
        ("cold.python", "an interpreter that does nothing", ("-c", "pass")),
        ("cold.help", "broadcaster --help", ("-m", "broadcaster", "--help")),
        (
            "cold.dry_run",
            "broadcaster send --dry-run, a hundred rows",
            ("-m", "broadcaster", "send", str(rows), "--body", "Hi {{ name }}", "--dry-run"),
        ),
    ]
    found += [
        (f"cold.help.{name}", f"broadcaster {name} --help", ("-m", "broadcaster", name, "--help"))
        for name in (COMMANDS if all_of_them else ("send", "worker"))
        if name != "simulator"  # a process of its own answers that
    ]

    def runs(words: tuple[str, ...]) -> Callable[[Timing], None]:
        return lambda timing: run(timing, *words, folder=folder)

    return [(Timing(name, what), runs(words)) for name, what, words in found]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--quick", action="store_true", help="once, few commands, no demo")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    services = 1 if options.quick else min(options.repeats, 3)
    claim = Timing("cold.worker", "worker: start to first claim")
    api = Timing("cold.api", "API: start to /readyz")
    show = Timing("cold.demo", "demo: start to the first line that tells of messages")
    with tempfile.TemporaryDirectory() as name, EmbeddedServer(Path(name, "redis"), port=0) as server:
        folder = Path(name)
        every = pages(folder, all_of_them=not options.quick)
        for _ in range(1 if options.quick else options.repeats):
            for timing, work in every:
                work(timing)
        for _ in range(services):
            asyncio.run(first_claim(claim, server.url, folder))
            ready(api, server.url, folder)
            if not options.quick:
                demo(show, folder)
    timings = [*(timing for timing, _ in every), claim, api, *([] if options.quick else [show])]
    rows = [row for timing in timings for row in timing.rows()]
    print(measured.told(rows))
    measured.write(measured.Report("cold_start", tuple(rows)), options.json)


if __name__ == "__main__":
    main()
