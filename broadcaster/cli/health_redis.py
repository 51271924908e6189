"""Does Redis answer, and is it done with loading? For `broadcaster health redis`.

Plain redis:// and unix:// are asked by hand, in a tenth of the time that a client takes to load; TLS and
Sentinel by the client that the workers use.
"""

from __future__ import annotations

import re
import socket
from typing import Final
from urllib.parse import unquote, urlsplit

from broadcaster.cli.health import UnwellError

_PORT: Final = 6379


def look(url: str, timeout: float) -> str:
    """Return what to say of a Redis that answers PING. Raises `UnwellError`."""
    parts = urlsplit(url)
    if parts.scheme in {"redis", "unix"} and not parts.query:
        where, answer = _ask_plainly(url, timeout)
    else:
        where, answer = _ask_by_client(url, timeout)
    if answer != "PONG":
        raise UnwellError(f"{where} answers {answer}")
    return f"ok, {where} answers"


def _ask_plainly(url: str, timeout: float) -> tuple[str, str]:
    parts = urlsplit(url)
    where = parts.path if parts.scheme == "unix" else f"{parts.hostname}:{parts.port or _PORT}"
    asked = [["PING"]]
    if parts.password:
        user = [unquote(parts.username)] if parts.username else []
        asked.insert(0, ["AUTH", *user, unquote(parts.password)])
    try:
        if parts.scheme == "unix":
            connection = socket.socket(socket.AF_UNIX)
            connection.settimeout(timeout)
            connection.connect(where)
        else:
            connection = socket.create_connection((parts.hostname or "", parts.port or _PORT), timeout)
        with connection, connection.makefile("rb") as answers:
            connection.sendall(b"".join(map(_command, asked)))
            lines = [answers.readline().decode(errors="replace").strip() for _ in asked]
    except TimeoutError:
        raise UnwellError(f"{where} does not answer within {timeout:g} s") from None
    except OSError as error:
        raise UnwellError(f"{where} can't be reached: {error.strerror or error}") from None
    refused = next((line for line in lines if not line.startswith("+")), lines[-1])
    return where, refused[1:] or "nothing"


def _command(words: list[str]) -> bytes:
    parts = [word.encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def _ask_by_client(url: str, timeout: float) -> tuple[str, str]:
    import asyncio  # noqa: PLC0415 - heavy, see above

    from redis.exceptions import RedisError  # noqa: PLC0415

    from broadcaster.store.connection import client  # noqa: PLC0415

    where = re.sub(r"://[^@/]*@", "://", url).partition("?")[0]

    async def ping() -> bool:
        redis = client(url, connections=1)
        try:
            async with asyncio.timeout(timeout):
                return bool(await redis.ping())
        finally:
            await redis.aclose()

    try:
        return where, "PONG" if asyncio.run(ping()) else "nothing"
    except TimeoutError:
        raise UnwellError(f"{where} does not answer within {timeout:g} s") from None
    except (RedisError, OSError, ValueError) as error:
        raise UnwellError(f"{where} can't be used: {error}") from None
