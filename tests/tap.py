"""A wire that somebody watches: when what it waits for passes, it strikes at that very byte.

Each worker of a test talks through taps of its own, one to Redis and one to Twilio, so that a process can be
killed before a request leaves, while it is answered, in the middle of the answer, or right after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal, Self

from broadcaster.store.scripts import read_script

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK = 262_144


@cache
def script_mark(name: str) -> bytes:
    """What a call of this script is known by on the wire."""
    return hashlib.sha1(read_script(name).encode()).hexdigest().encode()  # noqa: S324 - Redis' own name


@dataclass(slots=True)
class Strike:
    """What to wait for, and what to do then.

    The `skip`-th request that holds `mark`, or its answer: `before` it passes, when `half` of it has,
    or `after` it. `lose`: what had not passed by then is lost.
    """

    mark: bytes
    on: Literal["request", "answer"]
    at: Literal["before", "half", "after"]
    act: Callable[[], None]
    skip: int = 0
    lose: bool = False


@dataclass(eq=False, slots=True)
class _Link:
    writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    awaited: Strike | None = None

    def end(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


class Tap:
    """Listens on a loopback port of its own and passes everything on to a port, or to a Unix socket."""

    def __init__(self, target: int | str) -> None:
        self.port = 0
        #: Sees each chunk of requests as it comes.
        self.watch: Callable[[bytes], None] = lambda _: None
        self._target = target
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._strike: Strike | None = None
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._links: set[_Link] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is not None:
            self._server.close()
        self.release()
        for link in self._links:
            link.end()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def arm(self, strike: Strike) -> None:
        """Wait for this from now on, and for nothing else."""
        self._strike = strike

    def disarm(self) -> None:
        """Wait for nothing."""
        self._strike = None
        for link in self._links:
            link.awaited = None

    def hold(self) -> None:
        """Keep requests back until `release`: for who sends them they are gone."""
        self._flowing.clear()

    def release(self) -> None:
        """Let everything pass again."""
        self._flowing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            if isinstance(self._target, str):
                back, there = await asyncio.open_unix_connection(self._target)
            else:
                back, there = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        link = _Link((writer, there))
        self._links.add(link)
        try:
            with contextlib.suppress(OSError):
                await asyncio.gather(
                    self._pass(link, reader, there, "request"), self._pass(link, back, writer, "answer")
                )
        finally:
            self._links.discard(link)
            link.end()

    async def _pass(
        self,
        link: _Link,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        kind: Literal["request", "answer"],
    ) -> None:
        while data := await source.read(CHUNK):
            if kind == "request":
                self.watch(data)
                await self._flowing.wait()
            strike = self._due(link, data, kind)
            if strike is None:
                target.write(data)
                await target.drain()
            elif not await _carry_out(strike, data, target):
                link.end()
                return
        if not target.is_closing():
            target.write_eof()

    def _due(self, link: _Link, data: bytes, kind: str) -> Strike | None:
        """Return the strike that this chunk is the moment of."""
        if kind == "answer":
            strike, link.awaited = link.awaited, None
            return strike
        strike = self._strike
        if strike is None or strike.mark not in data:
            return None
        if strike.skip > 0:
            strike.skip -= 1
            return None
        self._strike = None
        if strike.on == "answer":
            link.awaited = strike
            return None
        return strike


async def _carry_out(strike: Strike, data: bytes, target: asyncio.StreamWriter) -> bool:
    """Pass on and strike, in the order asked for; tells whether the connection goes on."""
    cut = {"before": 0, "half": len(data) // 2, "after": len(data)}[strike.at]
    if cut and not target.transport.get_write_buffer_size():
        # written at once, past the buffer: it must be on its way when the blow falls
        with contextlib.suppress(OSError):
            cut = os.write(target.get_extra_info("socket").fileno(), data[:cut])
    elif cut:
        target.write(data[:cut])
    strike.act()
    if strike.lose:
        return False
    with contextlib.suppress(OSError):
        target.write(data[cut:])
        await target.drain()
    return True
