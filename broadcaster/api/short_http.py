"""The short way: whole requests of a few paths are answered without an ASGI cycle and a task for each.

uvicorn makes four objects, a task and two writes of every request, which costs more than all that a status
callback needs. A POST of a path that has a `ShortWay` is kept until its body is whole, for a blink, and then
answered in one write. Whatever is unusual goes uvicorn's way, as if it had never been kept: a body that is
large or slow, `Expect`, what comes while another request of its connection is being answered, a client that
does not read its answers. Connections, keep-alive, pipelines and the end of the process stay uvicorn's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import structlog
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from broadcaster.api.whole import Answer

if TYPE_CHECKING:
    from asyncio import TimerHandle
    from collections.abc import Coroutine, Mapping

    from starlette.types import Scope
    from uvicorn.config import Config

    from broadcaster.api.whole import ShortWay

log = structlog.get_logger("api")
#: Many clients send the body in a packet of its own; one that takes longer is waited for elsewhere.
BLINK_SECONDS: Final = 0.2


class ShortHttp(HttpToolsProtocol):
    """uvicorn's protocol; `short_ways` of the application answer what is asked of their paths whole."""

    _held: list[bytes] | None = None
    _held_bytes = 0
    _way: ShortWay
    _blink: TimerHandle | None = None

    def __init__(self, config: Config, *given: Any, **more: Any) -> None:
        super().__init__(config, *given, **more)
        self._ways: Mapping[bytes, ShortWay] = getattr(config.app, "short_ways", {})
        self._behind_proxy = ProxyHeadersMiddleware(_nothing, config.forwarded_allow_ips or [])

    def on_headers_complete(self) -> None:
        """Hold a request that may be answered the short way; pass on all others."""
        way = self._ways.get(self.url.partition(b"?")[0])
        if way is not None and self._fits() and way.takes(self.headers):
            self._unset_keepalive_if_required()  # of an answer before it that came with the same bytes
            self._way, self._held, self._held_bytes = way, [], 0
        else:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Keep a piece of a body."""
        if self._held is None:
            super().on_body(body)
            return
        self._held.append(body)
        self._held_bytes += len(body)
        if self._held_bytes > self._way.most_bytes:
            self._go_long()

    def on_message_complete(self) -> None:
        """Answer a request that was held."""
        if self._held is None:
            super().on_message_complete()
        else:
            self._go_short()

    def data_received(self, data: bytes) -> None:
        """Take bytes; what is not whole by then is waited for, a little."""
        super().data_received(data)
        if self._held is not None and self._blink is None:
            self._blink = self.loop.call_later(BLINK_SECONDS, self._go_long)

    def connection_lost(self, exc: Exception | None) -> None:
        """Let a request whose client is gone have its line in the log."""
        self._go_long()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """End the connection after what it has asked for."""
        self._go_long()
        super().shutdown()

    def _fits(self) -> bool:
        """Whether the request whose headers have come may be answered the short way."""
        cycle, parser = self.cycle, self.parser
        return (
            (cycle is None or cycle.response_complete)
            and not self.flow.write_paused
            and not self.expect_100_continue
            and b"#" not in self.url
            and parser.get_method() == b"POST"
            and not parser.should_upgrade()
        )

    def _no_longer_held(self) -> list[bytes]:
        if self._blink is not None:
            self._blink.cancel()
            self._blink = None
        held, self._held = self._held, None
        return held or []

    def _go_long(self) -> None:
        """Have a request that is held served as any other."""
        if self._held is None:
            return
        pieces = self._no_longer_held()
        super().on_headers_complete()
        for piece in pieces:
            super().on_body(piece)

    def _go_short(self) -> None:
        body = b"".join(self._no_longer_held())
        path, _, query = self.url.partition(b"?")
        version = self.parser.get_http_version()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]  # a TypedDict is no dict
        scope["method"], scope["http_version"] = "POST", version
        # what is in `short_ways` has no letter that is encoded
        scope["path"], scope["raw_path"], scope["query_string"] = path.decode("ascii"), path, query
        cycle = ShortCycle(self, keep_alive=version != "1.0" and self.parser.should_keep_alive())
        self.cycle = cycle  # type: ignore[assignment]  # all that uvicorn asks of one
        try:
            work = self._way(scope, body, cycle.answer)
        except Exception as error:  # noqa: BLE001 - whatever it is: nobody else would end the connection
            cycle.give_up(error)
            return
        if work is not None:
            task = self.loop.create_task(self._serve(scope, work, cycle))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def _serve(self, scope: Scope, work: Coroutine[Any, Any, None], cycle: ShortCycle) -> None:
        # who the client is, as uvicorn finds it out for every other request
        if self.config.proxy_headers:
            await self._behind_proxy(scope, _never, _nowhere)  # type: ignore[arg-type]
        try:
            await work
        except BaseException as error:
            cycle.give_up(error)
            if not isinstance(error, Exception):
                raise
        else:
            cycle.give_up(None)


class ShortCycle:
    """One request on the short way, as far as uvicorn asks for it: whether it is answered, how it ends."""

    __slots__ = ("_protocol", "disconnected", "keep_alive", "message_event", "response_complete")

    def __init__(self, protocol: ShortHttp, *, keep_alive: bool) -> None:
        self._protocol = protocol
        self.keep_alive = keep_alive
        self.response_complete = self.disconnected = False
        self.message_event = _NOBODY

    def answer(self, answer: Answer) -> None:
        """Send the answer, unless there was one or its client is gone."""
        if self.response_complete:
            return
        self.response_complete = True
        if self.disconnected:
            return
        protocol = self._protocol
        lines = [STATUS_LINE[answer.status]]
        for name, value in (*protocol.server_state.default_headers, *answer.headers):
            if name.lower() == b"connection":
                self.keep_alive = False
            else:
                lines += (name, b": ", value, b"\r\n")
        lines.append(b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n")
        lines.append(answer.body)
        protocol.transport.write(b"".join(lines))
        if not self.keep_alive:
            protocol.transport.close()
        protocol.on_response_complete()

    def give_up(self, error: BaseException | None) -> None:
        """End a request that nobody will answer any more, with a 500 as uvicorn does."""
        if error is not None:
            log.error("request.broken", exc_info=error)
        self.answer(_BROKEN)


_BROKEN: Final = Answer(
    500,
    [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"21"), (b"connection", b"close")],
    b"Internal Server Error",
)


class _Nobody:
    """Stands for an `asyncio.Event` that nobody waits for."""

    def set(self) -> None:
        """Do nothing."""


_NOBODY: Final = _Nobody()


async def _nothing(_scope: Any, _receive: Any, _send: Any) -> None:
    pass


async def _never() -> None:
    pass


async def _nowhere(_message: object) -> None:
    pass
