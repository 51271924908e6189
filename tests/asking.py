"""Endpoints for tests, what the scripts told, and a receiver of events on loopback."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from standardwebhooks.webhooks import Webhook

from broadcaster.events import endpoints, stream
from broadcaster.events.endpoints import KINDS, new_endpoint

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from broadcaster.events.stream import Change
    from broadcaster.store.connection import Store

#: Made once: it takes longer than a whole test.
TRUST = ssl.create_default_context()
URL = "https://hooks.example.com/in"


async def asking(store: Store, *kinds: str, url: str = URL) -> tuple[str, str]:
    """Make an endpoint that asks for these kinds, all without; return its id and secret."""
    made = new_endpoint(url, kinds or KINDS, time.time(), allow_http=True, allow_private=True)
    return (await endpoints.create(store, made))[0], made.secret


async def told(store: Store) -> list[Change]:
    """Return everything in the stream, in order."""
    entries = await store.redis.xrange(store.keys.plain("events"))
    return [c for name, fields in entries for c in stream._entry(name.decode(), fields[b"e"]).changes]


@dataclass
class Receiver:
    """What stands at a customer's: keeps what it got. `answer` says what to answer to a request's number."""

    url: str
    secrets: list[str] = field(default_factory=list)
    got: list[dict[str, Any]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    answer: Callable[[int], bytes] = lambda _: b"HTTP/1.1 204 No Content\r\n\r\n"
    refused: int = 0
    connections: int = 0
    ends_after_each: bool = False
    before: Callable[[], Awaitable[object]] | None = None
    connected: dict[asyncio.StreamWriter, asyncio.Task[Any]] = field(default_factory=dict)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection; every body's signature is checked."""
        task = asyncio.current_task()
        assert task
        self.connected[writer] = task
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
                headers = {name.lower(): value for name, value in fields.items()}
                body = await reader.readexactly(int(headers["content-length"]))
                if self.before:
                    await self.before()
                number = len(self.ids) + self.refused
                answer = self.answer(number)
                if answer.startswith(b"HTTP/1.1 2"):
                    self.headers.append(headers)
                    self.ids.append(headers["webhook-id"])
                    self.got.append(self.verified(body, headers))
                else:
                    self.refused += 1
                writer.write(answer)
                await writer.drain()
                if self.ends_after_each:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            del self.connected[writer]
            writer.close()

    def verified(self, body: bytes, headers: dict[str, str]) -> dict[str, Any]:
        """Return a body whose signature is good by every secret that is known here."""
        for secret in self.secrets:
            Webhook(secret).verify(body, headers)
        found: dict[str, Any] = json.loads(body)
        return found

    def kinds(self) -> list[str]:
        """The types of what it got."""
        return [event["type"] for event in self.got]


@asynccontextmanager
async def receiver(tls: ssl.SSLContext | None = None) -> AsyncIterator[Receiver]:
    """Run a receiver."""
    made = Receiver("")
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=tls)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?token=query-secret"
    try:
        yield made
    finally:
        server.close()
        left = dict(made.connected)
        for writer in left:
            writer.transport.abort()
        await asyncio.gather(*left.values())
