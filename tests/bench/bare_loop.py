"""The bare HTTP client in a loop, no queue, no ledger: the ceiling of a sender on it. argv: sink n width."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import time

import uvloop
from pyreqwest.client import ClientBuilder

FORM = {
    "To": "+14155550100",
    "MessagingServiceSid": "MG" + "0" * 32,
    "Body": "hello there, this is an alert",
    "StatusCallback": "https://example.org/hooks/status/abcdefgh",
}


async def main(sink: str, count: int, width: int) -> None:
    """POST `count` forms, `width` at once; print messages a second and CPU microseconds a message."""
    url = f"{sink}/2010-04-01/Accounts/AC{'0' * 32}/Messages.json"
    authorization = "Basic " + base64.b64encode(b"AC:token").decode()
    builder = (
        ClientBuilder().danger_accept_invalid_certs(True).default_headers({"authorization": authorization})
    )
    async with builder.build() as http:

        async def post() -> str:
            response = await http.post(url).form(FORM).build().send()
            return str(json.loads(bytes(await response.bytes()))["sid"])

        numbers = iter(range(count))

        async def run() -> None:
            for _ in numbers:
                await post()

        await post()
        began, cpu = time.perf_counter(), time.process_time()
        await asyncio.gather(*(run() for _ in range(width)))
        seconds, spent = time.perf_counter() - began, time.process_time() - cpu
        print(f"{count / seconds:.0f} {spent / count * 1e6:.1f}", flush=True)
    os._exit(0)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
