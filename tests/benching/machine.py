"""The machine that was measured on, as far as it matters for reading the figures."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from broadcaster.store.server_binary import EmbeddedServerError, find_server

#: How long to look at what else runs before measuring.
_LOOK_SECONDS = 0.5


def machine() -> dict[str, str]:
    """Return what it is and what is on it; a program that is not there is left out."""
    found = {
        "cores": f"{os.cpu_count()} of {_processor()}",
        "memory": f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "server": _server(),
        "nginx": _told("nginx", "-v").rpartition("/")[2],
        "Node": _told("node", "--version"),
        **{name: _installed(name) for name in ("pyreqwest", "uvloop", "redis", "hiredis", "arq")},
        "revision": _told("git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"),
        "other work": f"{busy():.0%} of the cores when the run began",
    }
    return {name: value for name, value in found.items() if value}


def busy(seconds: float = _LOOK_SECONDS) -> float:
    """Return the share of all cores that was in use for so long."""
    idle_before, all_before = _ticks()
    time.sleep(seconds)
    idle, everything = _ticks()
    return 1 - (idle - idle_before) / max(everything - all_before, 1)


def _ticks() -> tuple[int, int]:
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return fields[3] + fields[4], sum(fields)


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown")


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _server() -> str:
    try:
        return _told(str(find_server().path), "--version").partition(" sha=")[0]
    except EmbeddedServerError:
        return ""


def _told(*command: str) -> str:
    """Return the first line that a program says about itself; nothing if it can't be run."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return next(iter((done.stdout + done.stderr).splitlines()), "")
