"""A Celery worker with 32 threads, twilio-python in each, measured from outside: `celery_run.py COUNT`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import redis
from celery_app import send
from peer_measure import FORM, number, tell

COUNT, THREADS = int(sys.argv[1]), 32
#: What the worker takes off the queue before it works on it: threads x prefetch.
AHEAD = THREADS * 4


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    queue: Any = redis.Redis.from_url(os.environ["REDIS_URL"])
    queue.flushall()
    for index in range(COUNT):
        send.delay(number(index), FORM["Body"])
    worker = subprocess.Popen(
        [
            *(sys.executable, "-m", "celery", "-A", "celery_app", "worker"),
            *("-P", "threads", "-c", str(THREADS), "-l", "ERROR"),
        ],
        cwd=Path(__file__).parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        first = int(COUNT * 0.9) - AHEAD
        while (left := queue.llen("celery")) > first:
            time.sleep(0.01)
        wall, cpu = time.perf_counter(), cpu_seconds(worker.pid)
        while queue.llen("celery"):
            time.sleep(0.01)
        tell(left, time.perf_counter() - wall, cpu_seconds(worker.pid) - cpu)
    finally:
        worker.kill()
        worker.wait()


main()
