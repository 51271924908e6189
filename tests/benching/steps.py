"""Runs benches one after the other, each in a process of its own, and says how far it is."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from benching.registry import missing_in_words
from benching.run_record import Step

if TYPE_CHECKING:
    from benching.registry import Bench
    from benching.run_record import Folder

#: A bench that takes this many times what it should, and the minutes beside, is ended.
_PATIENCE, _GRACE_MINUTES = 2.0, 2.0
#: How long a bench may take to end what it started.
_END_SECONDS: Final = 30.0


def now() -> str:
    """Return the time as a step has it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def in_words(minutes: float) -> str:
    """Return a duration for a person: `40 s`, `12 min`."""
    return f"{minutes * 60:.0f} s" if minutes < 1.5 else f"{minutes:.0f} min"


def without(bench: Bench, why_not: str) -> Step:
    """Return the step of a bench that is not run."""
    return Step(name=bench.name, what=bench.what, rows=bench.rows, why_not=why_not)


def step(bench: Bench, size: str, folder: Folder) -> Step:
    """Run one bench, printing what it prints. Raises `KeyboardInterrupt` once it has ended after Ctrl-C.

    That it can't run, fails or takes far too long is in the step's `why_not`.
    """
    folder.forget(bench.name)
    arguments = bench.arguments(size)
    if not bench.path.exists():
        return without(bench, f"there is no {bench.script}")
    if arguments is None:
        return without(bench, "only with --long")
    if missing := bench.missing():
        return without(bench, missing_in_words(missing))
    words = [f"tests/bench/{bench.script}", *arguments]
    began, clock = now(), time.monotonic()
    report = ["--json", str(folder.report_path(bench.name).absolute())]
    limit = (bench.expected_minutes(size) * _PATIENCE + _GRACE_MINUTES) * 60
    failed = _run([sys.executable, str(bench.path), *words[1:], *report], folder, bench.name, limit)
    if not failed and not folder.report_path(bench.name).exists():
        failed = "it wrote no report"
    return Step(
        name=bench.name,
        what=bench.what,
        rows=bench.rows,
        command=f"python {shlex.join(words)}",
        began=began,
        seconds=round(time.monotonic() - clock, 1),
        why_not=failed,
    )


def _run(command: list[str], folder: Folder, name: str, limit_seconds: float) -> str:
    """Run a program; return how it failed, or nothing."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        start_new_session=True,  # Ctrl-C is for us: the bench is told once, so that it ends what it started
    )
    assert process.stdout is not None
    late = threading.Event()

    def end() -> None:
        late.set()
        process.send_signal(signal.SIGINT)

    watch = threading.Timer(limit_seconds, end)
    watch.start()
    last = ""
    try:
        with folder.log_path(name).open("w", encoding="utf-8") as log:
            for line in process.stdout:
                log.write(line)
                print(f"    {line}", end="", flush=True)
                last = line.strip() or last
        code = process.wait(_END_SECONDS)
    except BaseException:
        _ended(process)
        raise
    finally:
        watch.cancel()
        process.stdout.close()
    if late.is_set():
        return f"ended after {limit_seconds / 60:.0f} minutes"
    return f"it failed: {last[:200]}" if code else ""


def _ended(process: subprocess.Popen[str]) -> None:
    """End a process as Ctrl-C does, so that it ends what it started; the hard way if that takes too long."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
