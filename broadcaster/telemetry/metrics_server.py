"""`/metrics` and `/healthz` of a process that serves nothing else, from a thread of their own.

A thread answers also while the event loop hangs; so `/healthz` says how that is by the loop's pulse.
"""

from __future__ import annotations

import json
import os
import socket
from socketserver import ThreadingMixIn
from threading import Thread
from typing import TYPE_CHECKING, Any, Final, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from broadcaster.telemetry.pulse import Pulse

#: How often it looks whether it is to end.
_LOOK_SECONDS: Final = 0.1


class MetricsServer:
    """A running `/metrics`. `port` is the one it got: 0 takes any free one. Raises OSError if it is taken."""

    def __init__(self, registry: CollectorRegistry, port: int, host: str, pulse: Pulse | None = None) -> None:
        kind = _Server6 if ":" in host else _Server
        self._server = make_server(host, port, _application(registry, pulse), kind, handler_class=_Quiet)
        self.port: int = self._server.server_port
        self._thread = Thread(
            target=self._server.serve_forever, args=(_LOOK_SECONDS,), name="metrics", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Take the address; without a look-up of this host's name, which may take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    timeout = 10  # of a client that says nothing

    def log_message(self, *_: Any) -> None:
        """Leave scrapes out of the log."""


def _application(registry: CollectorRegistry, pulse: Pulse | None) -> Callable[..., Iterable[bytes]]:
    metrics = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO")
        if path == "/metrics":
            return cast("Iterable[bytes]", metrics(environ, start))
        status, body = _health(pulse) if path == "/healthz" else ("404 Not Found", {"status": "not found"})
        start(status, [("Content-Type", "application/json")])
        return [json.dumps(body).encode()]

    return answer


def _health(pulse: Pulse | None) -> tuple[str, dict[str, Any]]:
    about: dict[str, Any] = {"pid": os.getpid()}
    if pulse is None:
        return "200 OK", {"status": "ok", **about}
    about["role"] = pulse.role
    if hanging := pulse.hanging():
        return "503 Service Unavailable", {"status": hanging, **about}
    return "200 OK", {"status": "ok", **about}
