"""Ports of `broadcaster up`: whether one is free, whether something answers there."""

from __future__ import annotations

import http.client
import socket
import time
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from broadcaster.cli.exits import InputError
from broadcaster.store.local_sockets import free_port

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.settings import Settings

LOOK_SECONDS: Final = 0.2
#: How long it may take until a port is free that one before us held.
PORT_SECONDS: Final = 5.0
SIMULATOR_PORT: Final = 9000
_OK: Final = 200


def await_port(settings: Settings, told: Sequence[int]) -> None:
    """Raise InputError unless the API's port is free, or becomes so in some seconds, or we are told to end."""
    host, port = settings.api_host, settings.api_port
    deadline = time.monotonic() + PORT_SECONDS
    while (error := _taken(host, port)) and not told:
        if time.monotonic() > deadline:
            raise InputError(
                f"the API can't listen on {host}, port {port}: {error}; choose another with "
                "BROADCASTER_API_PORT or BROADCASTER_API_HOST, or end what listens there"
            )
        time.sleep(LOOK_SECONDS)


def _taken(host: str, port: int) -> str:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.strerror or str(error)
    return ""


def simulator_port() -> int:
    """Return the simulator's own port, or any free one where that is taken."""
    return free_port() if _taken("127.0.0.1", SIMULATOR_PORT) else SIMULATOR_PORT


def answers(url: str) -> bool:
    """Whether an API is ready there."""
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=2)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == _OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
