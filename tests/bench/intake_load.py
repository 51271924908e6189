"""A list read, packed and written to Redis by `submit`, in a process of its own: time, memory, Redis' bytes.

    python tests/bench/intake_load.py REDIS_URL LIST

is that process: it prints a line of JSON. `intake.py` calls it.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[1]))

import measured
from pinning import MEASURED, OTHERS, cpu_seconds, on_core, peak_bytes, pin

from broadcaster.domain.content import Content
from broadcaster.domain.senders import SenderKind
from broadcaster.intake.reader import open_list
from broadcaster.intake.senders import Lane
from broadcaster.intake.submission import Submission
from broadcaster.intake.submit import submit
from broadcaster.store.connection import open_store
from broadcaster.store.embedded import EmbeddedServer

BODY: Final = "Hi {{ name }}, {{ city }} is due on {{ due }}"
SENDER: Final = "+14155550100"
#: A batch is 30 s of its lane's rate, at most 500: this rate fills them.
RATE: Final = 50.0
COMMAND: Final = "python tests/bench/intake.py --long"


async def work(url: str, path: str) -> dict[str, float]:
    """Load a list, whole; nothing of it is sent."""
    store = await open_store(url, "bc:")
    pid = int((await store.redis.info("server"))["process_id"])
    pin(pid, OTHERS)
    memory, redis_cpu = (await store.redis.info("memory"))["used_memory"], cpu_seconds(pid)
    lane = Lane(SENDER, SenderKind.LONG_CODE, RATE, "the bench")
    began, cpu = time.perf_counter(), time.process_time()
    reader = open_list(path)
    done = await submit(store, reader, Submission(name="bench", content=Content(body=BODY), lanes=(lane,)))
    reader.release()
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    rows = done.summary.rows if done.summary else 0
    told = {
        "rows": rows,
        "seconds": seconds,
        "cpu_us": cpu / rows * 1e6,
        "redis_cpu_us": (cpu_seconds(pid) - redis_cpu) / rows * 1e6,
        "peak_mb": peak_bytes(os.getpid()) / 1e6,
        "redis_bytes": (await store.redis.info("memory"))["used_memory"] - memory,
    }
    await store.close()
    return told


def load(path: Path) -> dict[str, Any]:
    """Load a list into a server of its own."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedServer(Path(folder), port=0) as server:
        program = [sys.executable, str(Path(__file__)), server.url, str(path)]
        told = subprocess.run([*on_core(MEASURED), *program], check=True, capture_output=True, text=True)
        found: dict[str, Any] = json.loads(told.stdout)
        print(f"loaded {found['rows']:,} rows: {told.stdout.strip()}", flush=True)
        return found


def loaded(path: Path, rows: int, repeats: int) -> list[measured.Row]:
    """Measure a list of `rows` on its whole way into Redis."""
    command = f"python tests/bench/intake.py --rows {rows} --repeats {repeats}"
    runs = [load(path) for _ in range(repeats)]
    what = "CSV, three variables, into Redis"
    return [
        measured.Row("intake.loaded", what, "rows/s", tuple(r["rows"] / r["seconds"] for r in runs), command),
        measured.Row(
            "intake.loaded.cpu", f"{what}, cost", "CPU-µs/row", tuple(r["cpu_us"] for r in runs), command
        ),
        measured.Row(
            "intake.loaded.redis",
            f"{what}, Redis' cost",
            "CPU-µs/row",
            tuple(r["redis_cpu_us"] for r in runs),
            command,
        ),
    ]


def long_load(path: Path, rows: int) -> list[measured.Row]:
    """Load a long list, once."""
    run, what = load(path), f"{rows:,} rows into Redis"
    return [
        measured.Row("intake.ten_million.seconds", what, "s", (run["seconds"],), COMMAND),
        measured.Row("intake.ten_million.cpu", f"{what}, cost", "CPU-µs/row", (run["cpu_us"],), COMMAND),
        measured.Row("intake.ten_million.peak", f"{what}, peak memory", "MB", (run["peak_mb"],), COMMAND),
        measured.Row(
            "intake.ten_million.redis", f"{what}, Redis' memory", "MB", (run["redis_bytes"] / 1e6,), COMMAND
        ),
    ]


if __name__ == "__main__":
    print(json.dumps(asyncio.run(work(sys.argv[1], sys.argv[2]))))
