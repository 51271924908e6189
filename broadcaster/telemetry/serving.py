"""A process' HTTP server: it says where it listens, tells systemd how it is, and ends in good order."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from typing import TYPE_CHECKING

import structlog
import uvicorn

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from types import FrameType

    from broadcaster.telemetry.pulse import Pulse


class Server(uvicorn.Server):
    """Serves `name` until SIGTERM or SIGINT; `when_up` is called once it listens."""

    def __init__(
        self,
        config: uvicorn.Config,
        pulse: Pulse,
        name: str,
        when_up: Callable[[], object] | None = None,
    ) -> None:
        super().__init__(config)
        self._pulse = pulse
        self._name = name
        self._when_up = when_up

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop."""
        self._pulse.systemd.stopping()
        super().handle_exit(sig, frame)

    async def on_tick(self, counter: int) -> bool:
        """Come round, ten times a second."""
        self._pulse.beat("event loop")
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop in order at SIGTERM and SIGINT, where uvicorn would raise them again at the end."""
        told = (signal.SIGTERM, signal.SIGINT)
        before = [signal.signal(number, self.handle_exit) for number in told]
        try:
            yield
        finally:
            for number, handler in zip(told, before, strict=True):
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen, and say where; if the port is one that nobody could know, on standard output."""
        await super().startup(sockets)
        if not self.started or self.should_exit:
            return
        if self._when_up is not None:
            self._when_up()
        host, port = self.config.host, self.servers[0].sockets[0].getsockname()[1]
        self._pulse.systemd.ready()
        structlog.get_logger(self._name).info(f"{self._name}.started", pid=os.getpid(), host=host, port=port)
        if not self.config.port:
            sys.stdout.write(json.dumps({"url": f"http://{host}:{port}"}) + "\n")
            sys.stdout.flush()
