"""A sink that remembers every POST: who sent to whom, from which worker, and when it was here.

It answers like Twilio after `latency_ms`, and serves many workers at once: worker 3 is told from the others
by its base URL, `…/3`. `python tests/arrivals.py MS` prints its address and ends with its standard input.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import re
import subprocess
import sys
from array import array
from dataclasses import dataclass
from itertools import count
from time import monotonic
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import unquote_plus
from urllib.request import ProxyHandler, build_opener

import msgpack
import uvloop
from pinning import OTHERS, on_core

if TYPE_CHECKING:
    from collections.abc import Iterator

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_TO: Final = re.compile(rb"(?:^|&)To=(?:whatsapp%3A)?%2B(\d+)")
_FROM: Final = re.compile(rb"(?:^|&)(?:From|MessagingServiceSid)=([^&]+)")
_HEAD: Final = b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
_ANSWER: Final = (
    b'{"sid":"SM%032x","status":"accepted","error_code":null,"error_message":null,"num_segments":"1"}'
)
_open: Final = build_opener(ProxyHandler({})).open


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What came, in order: column by column. `times` are this machine's monotonic seconds."""

    times: array[float]
    workers: array[int]
    senders: list[str]
    recipients: array[int]

    def of(self, sender: str) -> list[float]:
        """Return the times of one sender's messages."""
        return [at for at, name in zip(self.times, self.senders, strict=True) if name == sender]

    @property
    def twice(self) -> int:
        """How many messages came to somebody who had one already."""
        return len(self.recipients) - len(set(self.recipients))


@dataclass(frozen=True, slots=True)
class Sink:
    """A running one."""

    url: str

    def base_url(self, worker: int) -> str:
        """Return what one worker takes for Twilio's address."""
        return f"{self.url}/{worker}"

    def arrivals(self) -> Arrivals:
        """Return all that came since the last `forget`."""
        with _open(f"{self.url}/arrivals", timeout=60) as answer:
            names, times, workers, senders, recipients = msgpack.unpackb(answer.read())
        return Arrivals(
            array("d", times),
            array("H", workers),
            [names[i] for i in array("H", senders)],
            array("Q", recipients),
        )

    def count(self) -> int:
        """Return how many came since the last `forget`."""
        with _open(f"{self.url}/count", timeout=60) as answer:
            return int(answer.read())

    def forget(self) -> None:
        """Begin anew."""
        _open(f"{self.url}/forget", timeout=60).close()


@contextlib.contextmanager
def recording_sink(latency_ms: float = 0.0) -> Iterator[Sink]:
    """Run one on the core that is not measured."""
    command = [*on_core(OTHERS), sys.executable, __file__, str(latency_ms)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield Sink(process.stdout.readline().strip())
    finally:
        process.communicate(timeout=10)


class _Log:
    """What is remembered."""

    def __init__(self) -> None:
        self.names: dict[bytes, int] = {}
        self.forget()

    def forget(self) -> None:
        self.times, self.workers = array("d"), array("H")
        self.senders, self.recipients = array("H"), array("Q")

    def note(self, worker: int, form: bytes) -> None:
        self.times.append(monotonic())
        self.workers.append(worker)
        to, sender = _TO.search(form), _FROM.search(form)
        self.recipients.append(int(to[1]) if to else 0)
        self.senders.append(self.names.setdefault(sender[1] if sender else b"", len(self.names)))

    def told(self, what: bytes) -> bytes:
        if what == b"/count":
            return b"%d" % len(self.times)
        if what == b"/forget":
            self.forget()
            return b"{}"
        names = [unquote_plus(name.decode()) for name in self.names]
        columns = (self.times, self.workers, self.senders, self.recipients)
        packed: bytes = msgpack.packb([names, *(column.tobytes() for column in columns)])
        return packed


class _Connection(asyncio.Protocol):
    """HTTP as far as one client needs it: requests one after the other, their length told."""

    def __init__(self, log: _Log, latency: float, sids: Iterator[int]) -> None:
        self._log, self._latency, self._sids = log, latency, sids
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of asyncio's
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._buffer, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._buffer) < whole:
                return
            head, form = self._buffer[:end], self._buffer[end + 4 : whole]
            self._buffer = self._buffer[whole:]
            self._request(head.split(b" ", 2)[1], form)

    def _write(self, answer: bytes) -> None:
        if not self._transport.is_closing():  # a killed worker waits for none
            self._transport.write(answer)

    def _request(self, path: bytes, form: bytes) -> None:
        if not path.endswith(b"/Messages.json"):
            told = self._log.told(path)
            self._write(_HEAD % (b"200 OK", len(told)) + told)
            return
        worker = path.split(b"/", 2)[1]
        self._log.note(int(worker) if worker.isdigit() else 0, form)
        body = _ANSWER % next(self._sids)
        answer = _HEAD % (b"201 Created", len(body)) + body
        if self._latency:
            self._loop.call_later(self._latency, self._write, answer)
        else:
            self._write(answer)


async def _serve(latency: float) -> None:
    log, sids, loop = _Log(), count(1), asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(log, latency, sids), "127.0.0.1", 0, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)  # noqa: T201 - its address
    gc.freeze()
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    uvloop.run(_serve(float(sys.argv[1]) / 1000))
