"""The short way on the wire: what is whole goes it, what is unusual goes uvicorn's, and both end the same."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from broadcaster.api import short_http
from broadcaster.api.protocol import HEADER_BYTES, BoundedHttp
from broadcaster.api.whole import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

HEAD = b"POST /short?a=b HTTP/1.1\r\nHost: here\r\n"
SHORT = b"HTTP/1.1 200 OK\r\nserver: ours\r\ncontent-length: 5\r\n\r\nshort"
MOST = 70_000


def post(body: bytes = b"x", more: bytes = b"") -> bytes:
    return HEAD + more + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


class Wire(asyncio.Transport):
    """The client's side of a connection."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.sent += data

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("127.0.0.1", 5000)}.get(name, default)


class Service:
    """An application with a short way, which notes what came by which way."""

    most_bytes = MOST

    def __init__(self) -> None:
        self.short_ways = {b"/short": self}
        self.came: list[tuple[str, bytes]] = []
        self.clients: list[Any] = []
        self.gate: asyncio.Event | None = None
        self.late: Callable[[Answer], None] | None = None
        self.holds = False
        self.raises = False

    def takes(self, headers: list[tuple[bytes, bytes]]) -> bool:
        return (b"x-long", b"1") not in headers

    def __call__(  # as a short way, or as ASGI's application
        self, scope: Any, body: Any, answer: Callable[[Answer], None]
    ) -> Coroutine[Any, Any, None] | None:
        if not isinstance(body, bytes):  # ASGI's three
            return self._long(body, answer)
        self.came.append(("short", body))
        if self.raises:
            raise ValueError("broken")
        if self.holds:
            self.late = answer
            return None
        if self.gate is not None:
            return self._later(scope, answer)
        answer(Answer(200, [(b"content-length", b"5")], b"short"))
        return None

    async def _later(self, scope: Any, answer: Callable[[Answer], None]) -> None:
        assert self.gate is not None
        self.clients.append(scope["client"])
        await self.gate.wait()
        answer(Answer(200, [(b"content-length", b"5")], b"short"))

    async def _long(self, receive: Any, send: Any) -> None:
        body, message = b"", await receive()
        while message["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
            message = await receive()
        self.came.append(("long" if message["type"] == "http.request" else "gone", body))
        headers = [(b"content-length", b"4")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"long"})


class Connection:
    """One connection to a service."""

    def __init__(self, service: Service) -> None:
        config = uvicorn.Config(service, http=BoundedHttp, log_config=None, access_log=False, ws="none")
        config.load()
        config.loaded_app = service  # only what is between the wire and the application is looked at
        self.state = ServerState()
        self.state.default_headers = [(b"server", b"ours")]
        self.wire = Wire()
        self.protocol = BoundedHttp(config=config, server_state=self.state, app_state={})
        self.protocol.connection_made(self.wire)

    def say(self, data: bytes) -> bytes:
        """Send bytes; returns what is answered at once."""
        before = len(self.wire.sent)
        self.protocol.data_received(data)
        return self.wire.sent[before:]

    async def settled(self) -> bytes:
        """Return all that was answered once nothing is under way."""
        while self.state.tasks:
            await asyncio.gather(*self.state.tasks)
        return self.wire.sent


@pytest.fixture
async def service() -> Service:
    return Service()


@pytest.fixture
async def connection(service: Service) -> Connection:
    return Connection(service)


async def test_a_whole_request_is_answered_at_once(service: Service, connection: Connection) -> None:
    assert connection.say(post(b"one")) == SHORT
    assert connection.say(post(b"two")) == SHORT
    assert service.came == [("short", b"one"), ("short", b"two")]
    assert connection.state.total_requests == 2
    assert not connection.wire.closed


async def test_a_body_may_come_in_packets_of_its_own(service: Service, connection: Connection) -> None:
    whole = post(b"body")
    for at in range(len(whole) - 1):
        assert connection.say(whole[at : at + 1]) == b""
    assert connection.say(whole[-1:]) == SHORT
    assert service.came == [("short", b"body")]


async def test_chunks_make_a_whole(service: Service, connection: Connection) -> None:
    chunked = HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n"
    assert connection.say(chunked) == SHORT
    assert service.came == [("short", b"body")]


@pytest.mark.parametrize(
    ("request_", "body"),
    [
        (post(b"x", b"X-Long: 1\r\n"), b"x"),
        (post(b"x").replace(b"a=b", b"a=b#c"), b"x"),
        (post(b"x").replace(b"/short", b"/sh%6Frt"), b"x"),
        (post(b"x").replace(b"POST", b"PUT"), b"x"),
        (post(b"x").replace(b"/short", b"/other"), b"x"),
        (post(b"x" * (MOST + 1)), b"x" * (MOST + 1)),
    ],
    ids=["not taken", "fragment", "encoded", "method", "elsewhere", "large"],
)
async def test_what_is_unusual_goes_by_asgi(
    service: Service, connection: Connection, request_: bytes, body: bytes
) -> None:
    assert connection.say(request_) == b""
    assert (await connection.settled()).endswith(b"\r\n\r\nlong")
    assert service.came == [("long", body)]


async def test_who_expects_100_is_told_to_go_on(service: Service, connection: Connection) -> None:
    connection.say(HEAD + b"Content-Length: 1\r\nExpect: 100-continue\r\n\r\n")
    await asyncio.sleep(0)
    assert connection.wire.sent == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.say(b"x")
    assert (await connection.settled()).endswith(b"long")
    assert service.came == [("long", b"x")]


async def test_a_slow_body_is_waited_for_by_asgi(
    service: Service, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(short_http, "BLINK_SECONDS", 0)
    connection.say(post(b"body")[:-2])
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert connection.state.tasks
    connection.say(b"dy")
    assert (await connection.settled()).endswith(b"long")
    assert service.came == [("long", b"body")]


@pytest.mark.parametrize("request_", [post(more=b"Connection: close\r\n"), post().replace(b"/1.1", b"/1.0")])
async def test_a_connection_ends_where_it_should(connection: Connection, request_: bytes) -> None:
    answer = connection.say(request_)
    assert answer == SHORT.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
    assert connection.wire.closed


async def test_what_comes_meanwhile_is_answered_in_order(service: Service, connection: Connection) -> None:
    service.gate = asyncio.Event()
    assert connection.say(post(b"one") + post(b"two") + post(b"three")) == b""
    await asyncio.sleep(0)
    assert service.came == [("short", b"one")]
    service.gate.set()
    sent = await connection.settled()
    assert sent.startswith(SHORT)
    assert sent.count(b"HTTP/1.1 200 OK") == 3
    assert service.came == [("short", b"one"), ("long", b"two"), ("long", b"three")]
    assert connection.say(post(b"four")) == b""
    assert (await connection.settled()).endswith(SHORT)


async def test_an_answer_may_come_later_and_once(service: Service, connection: Connection) -> None:
    service.holds = True
    assert connection.say(post()) == b""
    assert service.late is not None
    for _ in range(2):
        service.late(Answer(204, [], b""))
    assert connection.wire.sent == b"HTTP/1.1 204 No Content\r\nserver: ours\r\n\r\n"


async def test_nothing_is_said_to_a_client_that_is_gone(service: Service, connection: Connection) -> None:
    service.holds = True
    connection.say(post())
    connection.protocol.connection_lost(None)
    assert service.late is not None
    service.late(Answer(204, [], b""))
    assert connection.wire.sent == b""
    assert not connection.state.connections


async def test_a_client_that_goes_within_a_body_is_heard_of(service: Service, connection: Connection) -> None:
    connection.say(post(b"body")[:-2])
    connection.protocol.connection_lost(None)
    await connection.settled()
    assert service.came == [("gone", b"")]


async def test_a_stopping_process_answers_what_it_has(service: Service, connection: Connection) -> None:
    service.gate = asyncio.Event()
    connection.say(post())
    connection.protocol.shutdown()
    assert not connection.wire.closed
    assert connection.state.tasks
    service.gate.set()
    assert b"connection: close" in await connection.settled()
    assert connection.wire.closed


async def test_a_stopping_process_waits_for_a_body(service: Service, connection: Connection) -> None:
    connection.say(post(b"body")[:-2])
    connection.protocol.shutdown()
    connection.say(b"dy")
    assert (await connection.settled()).endswith(b"long")
    assert service.came == [("long", b"body")]


async def test_a_client_that_does_not_read_is_waited_for(connection: Connection) -> None:
    connection.protocol.pause_writing()
    assert connection.say(post()) == b""
    await asyncio.sleep(0)
    assert connection.wire.sent == b""
    connection.protocol.resume_writing()
    assert (await connection.settled()).endswith(b"long")


async def test_what_breaks_is_a_500_and_the_end(service: Service, connection: Connection) -> None:
    service.raises = True
    assert connection.say(post()).startswith(b"HTTP/1.1 500 ")
    assert connection.wire.closed


async def test_who_the_client_is_a_trusted_proxy_says(service: Service, connection: Connection) -> None:
    service.gate = asyncio.Event()
    service.gate.set()
    connection.say(post(more=b"X-Forwarded-For: 192.0.2.9\r\n"))
    await connection.settled()
    assert service.clients == [("192.0.2.9", 0)]


async def test_headers_are_bounded_whatever_they_come_with(service: Service, connection: Connection) -> None:
    large = b"X-Large: " + b"x" * HEADER_BYTES + b"\r\n"
    assert connection.say(post(more=large)).startswith(b"HTTP/1.1 431 ")
    assert service.came == []
    other = Connection(service)
    assert other.say(post(b"x" * HEADER_BYTES, b"X-Large: " + b"x" * (HEADER_BYTES // 2) + b"\r\n")) == SHORT
