"""What is needed of HTTP to post events: one answer a request, connections kept, nonsense survived."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from asking import TRUST, receiver

from broadcaster.events.endpoints import Endpoint, new_secret
from broadcaster.events.sending import Postman

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from asking import Receiver


@asynccontextmanager
async def both() -> AsyncIterator[tuple[Receiver, Postman]]:
    async with (
        receiver() as hook,
        Postman(trust=TRUST, allow_http=True, allow_private=True, timeout_seconds=2) as postman,
    ):
        yield hook, postman


async def post(hook: Receiver, postman: Postman, name: str = "evt_1") -> str:
    endpoint = Endpoint(hook.url, ("message.failed",), new_secret(), 0)
    return (await postman.post(endpoint, name, b'{"data":1}', 0.0)).words


async def test_a_connection_is_kept_for_the_next_event() -> None:
    async with both() as (hook, postman):
        for number in range(5):
            assert await post(hook, postman, f"evt_{number}") == "HTTP 204"
        assert hook.connections == 1
        assert hook.headers[0]["content-type"] == "application/json"
        assert hook.headers[0]["content-length"] == "10"


@pytest.mark.parametrize("says_so", [True, False])
async def test_one_that_was_closed_meanwhile_is_no_failure(*, says_so: bool) -> None:
    async with both() as (hook, postman):
        close = b"Connection: close\r\n" if says_so else b""
        hook.answer = lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + close + b"\r\nok"
        hook.ends_after_each = True
        for number in range(4):
            assert await post(hook, postman, f"evt_{number}") == "HTTP 200"
        assert hook.connections == 4
        assert hook.ids == [f"evt_{number}" for number in range(4)]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 202 x\r\nContent-Length: 0\r\n\r\n",
            "HTTP 202",
        ),
        (b"HTTP/1.1 200 x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "HTTP 200"),
        (b"HTTP/1.0 200 x\r\n\r\nuntil it is closed", "HTTP 200"),
        (b"HTTP/1.1 500 x\r\nContent-Length: 5\r\n\r\nab", "HTTP 500"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "the connection broke: HttpParser"),
        (b"", "the connection broke: it was closed"),
        (b"HTTP/1.1 200 x\r\n" + b"X: y\r\n" * 10_000, "the connection broke: its answer's head is too long"),
    ],
)
async def test_every_answer_is_understood_or_said_to_be_none(answer: bytes, words: str) -> None:
    async with both() as (hook, postman):
        hook.answer = lambda _: answer
        hook.ends_after_each = True
        assert (await post(hook, postman)).startswith(words)


async def test_nobody_there_is_said() -> None:
    async with both() as (hook, postman):
        pass
    async with Postman(trust=TRUST, allow_http=True, allow_private=True) as postman:
        assert (await post(hook, postman)).startswith("no connection: ")
