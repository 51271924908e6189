"""The bare HTTP client in a loop, no queue: what a sender on it can't exceed. `loop_run.py COUNT CLIENT`."""

from __future__ import annotations

import asyncio
import base64
import importlib
import os
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import orjson
import uvloop
from peer_measure import ACCOUNT, URL, Measure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

COUNT, CLIENT, AT_ONCE = int(sys.argv[1]), sys.argv[2], 64
MEASURE = Measure(COUNT)
FORM = {
    "To": "+14155550100",
    "MessagingServiceSid": "MG" + "0" * 32,
    "Body": "hello there, this is an alert",
    "StatusCallback": "https://example.org/hooks/status/abcdefgh",
}
HEADERS = {"authorization": "Basic " + base64.b64encode(f"{ACCOUNT}:token".encode()).decode()}


def httpx(name: str) -> Callable[[], Awaitable[bytes]]:
    library: Any = importlib.import_module(name)
    limits = library.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
    http = library.AsyncClient(headers=HEADERS, verify=False, limits=limits)

    async def post() -> bytes:
        return bytes((await http.post(URL, data=FORM)).content)

    return post


def aiohttp() -> Callable[[], Awaitable[bytes]]:
    import aiohttp

    http = aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=AT_ONCE, ssl=False),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={**HEADERS, "content-type": "application/x-www-form-urlencoded"},
    )

    async def post() -> bytes:
        async with http.post(URL, data=urlencode(FORM).encode()) as answer:
            return bytes(await answer.read())

    return post


async def pyreqwest() -> Callable[[], Awaitable[bytes]]:
    from pyreqwest.client import ClientBuilder

    builder = ClientBuilder().danger_accept_invalid_certs(True).default_headers(HEADERS)
    http = await builder.build().__aenter__()

    async def post() -> bytes:
        return bytes(await (await http.post(URL).form(FORM).build().send()).bytes())

    return post


async def main() -> None:
    post = await pyreqwest() if CLIENT == "pyreqwest" else aiohttp() if CLIENT == "aiohttp" else httpx(CLIENT)
    numbers = iter(range(COUNT))

    async def run() -> None:
        for _ in numbers:
            assert orjson.loads(await post())["sid"]
            MEASURE.one_more()

    await asyncio.gather(*(run() for _ in range(AT_ONCE)))
    os._exit(0)  # closing the connections is not measured


uvloop.run(main())
