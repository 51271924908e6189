"""Where an embedded server listens, and a question asked of it without a client library."""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
from pathlib import Path

from broadcaster.store.server_binary import EmbeddedServerError


def ask(path: Path, command: bytes) -> bytes:
    """Send one inline command; b"" if nobody answers within a second."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(1.0)
            connection.connect(str(path))
            connection.sendall(command + b"\r\n")
            return connection.recv(4096)
    except OSError:
        return b""


def short_socket_path(path: Path) -> Path:
    """Name a socket for `path` in a directory that only this user may enter."""
    folder = Path(tempfile.gettempdir()) / f"broadcaster-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid() or folder.is_symlink():
        raise EmbeddedServerError(
            f"{folder} belongs to somebody else: choose a shorter BROADCASTER_DATA_DIR."
        )
    return folder / (hashlib.blake2b(os.fsencode(path), digest_size=8).hexdigest() + ".sock")


def free_port() -> int:
    """Return a TCP port of loopback that is free right now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
