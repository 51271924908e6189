"""A server that answers every POST like Twilio after `--latency` ms, however many are in flight.

    python tests/bench/slow_sink.py --port 8098 --latency 100

An HTTP/1.1 server at its barest, so that one core holds 400 requests in flight and answers more than 5,000
a second: uvloop, httptools, one timer for each request. It prints its URL; SIGTERM ends it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httptools
import uvloop

sys.path.insert(0, str(Path(__file__).parents[1]))

from pinning import OTHERS, on_core

if TYPE_CHECKING:
    from collections.abc import Iterator

_BODY: Final = (
    b'{"account_sid":"AC00000000000000000000000000000000","api_version":"2010-04-01","body":"x",'
    b'"date_created":"Sat, 21 Nov 2026 08:00:00 +0000","date_sent":null,'
    b'"date_updated":"Sat, 21 Nov 2026 08:00:00 +0000","direction":"outbound-api","error_code":null,'
    b'"error_message":null,"from":null,"messaging_service_sid":"MG00000000000000000000000000000000",'
    b'"num_media":"0","num_segments":"0","price":null,"price_unit":null,"sid":"SM%032x",'
    b'"status":"accepted","subresource_uris":{},"to":"+15550000000"}'
)
_LENGTH: Final = len(_BODY % 0)
_HEAD: Final = (
    b"HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ntwilio-concurrent-requests: 1\r\n"
    b"content-length: %d\r\n\r\n" % _LENGTH
)


class SlowProtocol(asyncio.Protocol):
    """One connection: what came whole is answered later, in the order it came."""

    def __init__(self, seconds: float, serial: Iterator[int]) -> None:
        self._seconds = seconds
        self._serial = serial
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it to answer on."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, _: Exception | None) -> None:
        """Answer nothing more."""
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        """Take one request (httptools' callback)."""
        if self._seconds:
            asyncio.get_running_loop().call_later(self._seconds, self._answer)
        else:
            self._answer()

    def _answer(self) -> None:
        if self._transport is not None:
            self._transport.write(_HEAD + _BODY % next(self._serial))


async def serve(port: int, latency_ms: float) -> None:
    """Serve until SIGTERM."""
    loop, serial, end = asyncio.get_running_loop(), itertools.count(1), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, end.set)
    server = await loop.create_server(
        lambda: SlowProtocol(latency_ms / 1000, serial), "127.0.0.1", port, backlog=2048
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await end.wait()
    server.close()


@contextlib.contextmanager
def slow_sink(latency_ms: float) -> Iterator[str]:
    """Run one on the core that is not measured; yields its URL."""
    command = [*on_core(OTHERS), sys.executable, __file__, "--latency", str(latency_ms)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(10)


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=100.0, help="ms until the answer")
    options = parser.parse_args()
    uvloop.run(serve(options.port, options.latency))


if __name__ == "__main__":
    main()
