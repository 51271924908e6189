"""Servers that speak TLS: real ones where a program with TLS is installed, a proxy before any other."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import ssl
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from servers import Tls

from broadcaster.store.server_binary import ServerBinary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from certificates import Authority


def program_with_tls() -> ServerBinary | None:
    """Return a server on PATH that was built with TLS; the bundled one is not."""
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found is None:
            continue
        linked = subprocess.run(["ldd", found], capture_output=True, text=True, check=False)
        if "libssl" in linked.stdout:
            return ServerBinary.probe(Path(found))
    return None


def tls_lines(made: Authority, *, clients: str = "no") -> dict[str, str]:
    """Return a server's settings for TLS; `clients`: whether they must show a certificate."""
    return {
        "tls-cert-file": str(made.certificate),
        "tls-key-file": str(made.key),
        "tls-ca-cert-file": str(made.ca),
        "tls-auth-clients": clients,
        "tls-replication": "yes",
    }


def with_tls(made: Authority) -> Tls | None:
    """Return what makes servers and sentinels speak TLS, None where no program does."""
    program = program_with_tls()
    return None if program is None else Tls(program, made.ca, tls_lines(made))


@asynccontextmanager
async def tls_before(
    socket_path: Path, made: Authority, *, clients: ssl.VerifyMode = ssl.CERT_NONE
) -> AsyncIterator[int]:
    """Speak TLS on a port of loopback, before a server that listens on a Unix socket."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(made.certificate, made.key)
    context.load_verify_locations(made.ca)
    context.verify_mode = clients
    tasks = set[asyncio.Task[None] | None]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        from_server, to_server = await asyncio.open_unix_connection(str(socket_path))
        with contextlib.suppress(asyncio.CancelledError):  # the end of the block, which needs no word
            await asyncio.gather(_pass(reader, to_server), _pass(from_server, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            if task is not None:
                task.cancel()
        await asyncio.gather(*filter(None, tasks), return_exceptions=True)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()
