"""Listening: uvicorn's HTTP protocol behind a door that can be shut, and reset, while it runs."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from broadcaster.simulator.app import SimulatorApp
from broadcaster.simulator.config import SimulatorConfig
from broadcaster.simulator.control import counts, duplicates, recipient
from broadcaster.simulator.exchange import reset
from broadcaster.simulator.faults import draw
from broadcaster.simulator.world import World

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from broadcaster.simulator.messages import Message

STOP_SECONDS = 5.0


class SimulatorProtocol(HttpToolsProtocol):
    """uvicorn's protocol, with the transport in the scope so that a fault can reset the connection."""

    def on_message_begin(self) -> None:
        """Begin a request."""
        super().on_message_begin()
        self.scope["extensions"] = {}

    def on_headers_complete(self) -> None:
        """Start serving: hand the application its connection."""
        super().on_headers_complete()
        extensions: dict[str, Any] = {"transport": self.transport, "cycle": self.cycle}
        self.scope["extensions"] = extensions

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are no HTTP; the parser may be gone already when the peer was reset."""
        if not self.transport.is_closing():
            super().send_400_response(msg)


class Door:
    """The listening socket. While `shut`, the kernel refuses connections; then it opens on the same port."""

    def __init__(self, world: World, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._world = world
        self._app = SimulatorApp(world)
        self._app.door = self
        self._state = ServerState()
        self._config = Config(
            self._app,
            log_config=None,
            access_log=False,
            lifespan="off",
            proxy_headers=False,
            ws="none",
        )
        self._config.load()
        self._tls = tls
        self._host = host
        self._port = port
        self._listening: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._reopening: asyncio.Task[None] | None = None
        self._cycle: asyncio.Task[None] | None = None
        self._taken: set[asyncio.Task[None]] = set()
        self.connections_made = 0

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'http' if self._tls is None else 'https'}://{host}:{self._port}"

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._state.connections)

    async def open(self) -> None:
        """Listen."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.setblocking(False)
        listening.bind((self._host, self._port))
        self._port = listening.getsockname()[1]
        self._listening = listening
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._protocol, sock=listening, backlog=2048, ssl=self._tls)
        self._world.closing = False
        if self._cycle is None:
            self._cycle = loop.create_task(self._shut_now_and_then())

    def shut(self, seconds: float) -> None:
        """Refuse new connections for that long; open ones end after their next answer."""
        if self._server is None:
            return
        self._world.closing = True
        spare = None if self._listening is None else self._listening.dup()
        self._close_listener()
        if spare is not None:
            self._take_waiting(spare)
        self._reopening = asyncio.get_running_loop().create_task(self._open_after(seconds))

    def drop_all(self) -> int:
        """Reset every connection, idle ones too; return how many there were."""
        connections = list(self._state.connections)
        for connection in connections:
            reset(connection.transport)
        return len(connections)

    async def stop(self) -> None:
        """Stop listening, let answers that are under way finish, drop who waits for none."""
        for task in (self._reopening, self._cycle):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        self._close_listener()
        for connection in list(self._state.connections):
            connection.shutdown()
        self._world.release()
        if self._state.tasks:
            await asyncio.wait(self._state.tasks, timeout=STOP_SECONDS)
        self.drop_all()
        for pending in list(self._state.tasks):
            pending.cancel()
        while self._state.connections:  # noqa: ASYNC110  uvicorn tells nobody when the last one went
            await asyncio.sleep(0.001)

    def _protocol(self) -> asyncio.Protocol:
        self.connections_made += 1
        share = self._world.config.connection_faults
        if share and draw(self._world.config.seed, "connection", self.connections_made) < share:
            self._world.faults["connection"] += 1
            return _Slammed()
        protocol = SimulatorProtocol(config=self._config, server_state=self._state, app_state={})
        protocol.timeout_keep_alive = self._world.config.keep_alive_seconds  # type: ignore[assignment]
        return protocol

    def _close_listener(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _take_waiting(self, listening: socket.socket) -> None:
        """Serve who connected before the listener closed: the kernel would reset them, not refuse them."""
        loop = asyncio.get_running_loop()
        with listening, contextlib.suppress(BlockingIOError):
            while True:
                accepted, _ = listening.accept()
                accepted.setblocking(False)
                serving = loop.create_task(self._serve(accepted))
                self._taken.add(serving)
                serving.add_done_callback(self._taken.discard)

    async def _serve(self, accepted: socket.socket) -> None:
        await asyncio.get_running_loop().connect_accepted_socket(self._protocol, accepted, ssl=self._tls)

    async def _open_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.open()

    async def _shut_now_and_then(self) -> None:
        while True:
            every = self._world.config.refuse_every_seconds
            await asyncio.sleep(every or 0.1)
            if every and self._server is not None:
                self.shut(self._world.config.refuse_for_seconds)


class _Slammed(asyncio.Protocol):
    """A connection that is reset as soon as it is made."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Reset it."""
        reset(cast("asyncio.Transport", transport))  # uvloop's transports are no subclass of asyncio's


class Simulator:
    """A running simulator, as a test holds it."""

    def __init__(self, world: World, door: Door) -> None:
        self.world = world
        self.door = door

    @property
    def url(self) -> str:
        """Its base URL, for `TWILIO_API_BASE_URL`."""
        return self.door.url

    @property
    def accepted(self) -> list[Message]:
        """Every message it accepted, in order."""
        return self.world.messages

    def counts(self) -> dict[str, Any]:
        """Return the control API's `counts`."""
        return counts(self.world)

    def duplicates(self, limit: int = 100) -> dict[str, int]:
        """Return who was accepted more than once, with how often."""
        return duplicates(self.world, limit)

    def truth(self, to: str) -> dict[str, Any]:
        """Return every try and every message to one recipient, as the control API's `recipients` does."""
        return recipient(self.world, to)

    def configure(self, **changes: Any) -> None:
        """Change fields of its config."""
        fields = {name: getattr(self.world.config, name) for name in SimulatorConfig.__struct_fields__}
        self.world.configure(SimulatorConfig(**(fields | changes)))


@asynccontextmanager
async def running_simulator(
    config: SimulatorConfig | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Simulator]:
    """Run a simulator in this event loop; on a free port unless one is named."""
    world = World(config or SimulatorConfig())
    door = Door(world, host, port, tls)
    await door.open()
    world.url = door.url
    try:
        yield Simulator(world, door)
    finally:
        await door.stop()
        await world.outgoing.close()
