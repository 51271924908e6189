"""A customer's server: keeps each webhook, has the official validator check it, answers as told."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import uvicorn
from twilio.request_validator import RequestValidator  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

TOKEN = "simulator"


@dataclass
class Hook:
    """One webhook as it came."""

    method: str
    target: str
    params: dict[str, str]
    headers: dict[str, str]
    valid: bool

    @property
    def token(self) -> str:
        return self.headers["i-twilio-idempotency-token"]


@dataclass
class Receiver:
    """What came, and what to answer: `statuses` first, one each, then 200 with `body`. 0 answers nothing."""

    port: int = 0
    hooks: list[Hook] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    body: bytes = b""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def told(self, sid: str) -> list[str]:
        """Return the statuses told of a message, in order of arrival."""
        return [hook.params["MessageStatus"] for hook in self.hooks if hook.params["MessageSid"] == sid]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw = (await receive())["body"].decode()
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        query = scope["query_string"].decode()
        target = scope["raw_path"].decode() + (f"?{query}" if query else "")
        sent = dict(parse_qsl(raw, keep_blank_values=True))
        valid = RequestValidator(TOKEN).validate(self.url + target, sent, headers["x-twilio-signature"])
        params = sent or dict(parse_qsl(query, keep_blank_values=True))
        self.hooks.append(Hook(scope["method"], target, params, headers, valid))
        status = self.statuses.pop(0) if self.statuses else 200
        if not status:
            await receive()  # until the other side gives up
            return
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": self.body})


@asynccontextmanager
async def receiving(**answers: Any) -> AsyncIterator[Receiver]:
    """Listen until the block ends."""
    receiver = Receiver(**answers)
    config = uvicorn.Config(
        receiver, port=0, log_config=None, access_log=False, lifespan="off", ws="none", proxy_headers=False
    )
    server = uvicorn.Server(config)
    task = asyncio.ensure_future(server._serve())  # `serve` would take the signals of this process
    while not server.started:  # noqa: ASYNC110  uvicorn tells nobody
        await asyncio.sleep(0.001)
    receiver.port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.should_exit = True
        await task
