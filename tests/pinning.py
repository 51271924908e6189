"""Cores and CPU time: what is measured has core 0 to itself, all else the others."""

from __future__ import annotations

import os
from pathlib import Path

MEASURED, OTHERS = 0, 1


def on_core(core: int) -> list[str]:
    """Return the words that pin a command, where there is more than one core."""
    return ["taskset", "-c", str(core)] if (os.cpu_count() or 1) > 1 else []


def pin(pid: int, core: int) -> None:
    """Pin a process that runs already; 0 is this one."""
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(pid, {core})


def cpu_seconds(pid: int) -> float:
    """Return the user and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    """Return what a process holds in memory now (VmRSS)."""
    return int(Path(f"/proc/{pid}/status").read_text().split("VmRSS:")[1].split()[0]) * 1024


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process has had (VmHWM)."""
    return int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]) * 1024
