"""Playing webhooks: a small HTTP/1.1 client over connections that are kept, with Twilio's retries.

No task and no timer of its own for a request: thousands a second must leave the serving of the API its time.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from httptools import HttpParserError, HttpResponseParser

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.simulator.webhook import Origin, Webhook

SWEEP_SECONDS: Final = 0.1
FIRST_RETRY_SECONDS: Final = 0.1
MOST_BODY: Final = 65_536


class Result(NamedTuple):
    """How a webhook ended. Unanswered, `status` is 0 and `failure` is Twilio's `ct` or `rt`."""

    status: int
    body: bytes
    failure: str
    tries: int

    @property
    def good(self) -> bool:
        """Whether Twilio would call it delivered."""
        return 200 <= self.status < 300  # noqa: PLR2004  HTTP's


class Post:
    """A webhook on its way. `done` is called once, when no try will follow."""

    __slots__ = ("began", "done", "tries", "webhook")

    def __init__(self, webhook: Webhook, done: Callable[[Result], None]) -> None:
        self.webhook = webhook
        self.done = done
        self.tries = 0
        self.began = 0.0

    def tries_again(self, status: int, failure: str, now: float) -> bool:
        """Whether the URL's overrides want another try after this one."""
        wanted = self.webhook.overrides
        kind = failure or ("4xx" if 400 <= status < 500 else "5xx" if status >= 500 else "")  # noqa: PLR2004
        return (
            kind in wanted.policy and self.tries <= wanted.retries and now - self.began < wanted.total_seconds
        )


class Outgoing:
    """All webhooks on their way. `busy` counts those waiting for a connection or an answer, not for a retry.

    `room` is called whenever one less is busy.
    """

    def __init__(self, concurrency: Callable[[], int]) -> None:
        self.busy = 0
        self.retried = 0
        self.room: Callable[[], None] = _nobody
        self.concurrency = concurrency
        self._pools: dict[Origin, _Pool] = {}
        self._timers: set[asyncio.TimerHandle] = set()
        self._sweeping = False

    def send(self, webhook: Webhook, done: Callable[[Result], None]) -> None:
        """Start one; `done` gets its result, always later than this returns."""
        self._start(Post(webhook, done))

    def _start(self, post: Post) -> None:
        self.busy += 1
        pool = self._pools.get(post.webhook.origin)
        if pool is None:
            pool = self._pools[post.webhook.origin] = _Pool(self, post.webhook.origin)
        pool.waiting.append(post)
        pool.pump()
        if not self._sweeping:
            self._sweeping = True
            self._later(SWEEP_SECONDS, self._sweep)

    def ended(self, post: Post, status: int, body: bytes, failure: str) -> None:
        """Take the end of one try: another follows, or the webhook is done."""
        post.tries += 1
        self.busy -= 1
        if (not 200 <= status < 300) and post.tries_again(  # noqa: PLR2004  HTTP's
            status, failure, asyncio.get_running_loop().time()
        ):
            self.retried += 1
            self._later(FIRST_RETRY_SECONDS * 2 ** (post.tries - 1), self._start, post)
        else:
            post.done(Result(status, body, failure, post.tries))
        self.room()

    async def close(self) -> None:
        """Give up what is on its way and close every connection."""
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        for pool in self._pools.values():
            await pool.close()
        self._pools.clear()

    def _later(self, seconds: float, call: Callable[..., None], *arguments: object) -> None:
        def run() -> None:
            self._timers.discard(timer)
            call(*arguments)

        timer = asyncio.get_running_loop().call_later(seconds, run)
        self._timers.add(timer)

    def _sweep(self) -> None:
        """End the tries whose time is over."""
        now = asyncio.get_running_loop().time()
        for pool in self._pools.values():
            for line in [line for line in pool.lines if line.post is not None and line.deadline < now]:
                line.give_up()
        self._sweeping = self.busy > 0
        if self._sweeping:
            self._later(SWEEP_SECONDS, self._sweep)


def _nobody() -> None:
    """Nobody waits for room."""


class _Pool:
    """The connections to one origin."""

    def __init__(self, outgoing: Outgoing, origin: Origin) -> None:
        self.outgoing = outgoing
        self.waiting: deque[Post] = deque()
        self.lines: set[_Line] = set()
        self.idle: list[_Line] = []
        self._origin = origin
        self._connecting: set[asyncio.Task[None]] = set()
        self._tls = ssl.create_default_context() if origin.tls else None
        self._closed = False

    def pump(self) -> None:
        """Hand waiting webhooks to idle connections, and to new ones while there may be more."""
        while self.waiting and not self._closed:
            if self.idle:
                self.idle.pop().take(self.waiting.popleft())
            elif len(self.lines) + len(self._connecting) < self.outgoing.concurrency():
                connecting = asyncio.get_running_loop().create_task(self._connect(self.waiting.popleft()))
                self._connecting.add(connecting)
                connecting.add_done_callback(self._connecting.discard)
            else:
                return

    async def _connect(self, post: Post) -> None:
        loop = asyncio.get_running_loop()
        post.began = post.began or loop.time()
        origin = self._origin
        try:
            async with asyncio.timeout(post.webhook.overrides.connect_seconds):
                _, line = await loop.create_connection(
                    lambda: _Line(self), origin.host, origin.port, ssl=self._tls
                )
        except (OSError, TimeoutError, UnicodeError):  # the last: a name that no host can have
            self.outgoing.ended(post, 0, b"", "ct")
            loop.call_soon(self.pump)  # when this task no longer counts as a connection
            return
        line.take(post)

    def free(self, line: _Line) -> None:
        """Take back a connection that may be used again."""
        self.idle.append(line)
        self.pump()

    def gone(self, line: _Line) -> None:
        """Forget a connection."""
        self.lines.discard(line)
        if line in self.idle:
            self.idle.remove(line)
        self.pump()

    def once_more(self, post: Post) -> None:
        """Send at once what met a connection that the other side was just closing."""
        self.waiting.appendleft(post)

    async def close(self) -> None:
        """Close everything, without a word to anybody who waits."""
        self._closed = True
        for connecting in list(self._connecting):
            connecting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await connecting
        for line in list(self.lines):
            line.post = None
            line.transport.abort()
        while self.lines:  # noqa: ASYNC110  the loop tells each connection alone that it is gone
            await asyncio.sleep(0.001)


class _Line(asyncio.Protocol):
    """One connection; also what the parser calls."""

    transport: asyncio.Transport

    def __init__(self, pool: _Pool) -> None:
        self.post: Post | None = None
        self.deadline = 0.0
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._parser = HttpResponseParser(self)
        self._body = b""
        self._heard = self._headed = self._complete = self._used = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Belong to the pool from now on."""
        # uvloop's transports are no subclass of asyncio's.
        self.transport = cast("asyncio.Transport", transport)
        self._pool.lines.add(self)

    def take(self, post: Post) -> None:
        """Write a webhook and wait for its answer."""
        now = self._loop.time()
        post.began = post.began or now
        wanted = post.webhook.overrides
        self.deadline = min(now + wanted.read_seconds, post.began + wanted.total_seconds)
        self.post = post
        self._body = b""
        self._heard = self._headed = self._complete = False
        self.transport.write(post.webhook.request)

    def data_received(self, data: bytes) -> None:
        """Read a part of the answer."""
        self._heard = True
        try:
            self._parser.feed_data(data)
        except HttpParserError:
            self.give_up()
            return
        if self._complete:
            self._answered(keep=self._parser.should_keep_alive())

    def connection_lost(self, exc: Exception | None) -> None:
        """End the try: an answer without a length ends here, anything else is a failure to read."""
        self._pool.lines.discard(self)
        post = self.post
        if post is None:
            pass
        elif exc is None and self._headed:
            self._answered(keep=False)
        elif self._used and not self._heard:
            self.post = None
            self._pool.once_more(post)
        else:
            self._end(0, "rt")
        self._pool.gone(self)

    def give_up(self) -> None:
        """End the try for lack of an answer that can be read."""
        self._end(0, "rt")
        self.transport.abort()

    def on_headers_complete(self) -> None:
        """Note that there is a status."""
        self._headed = True

    def on_body(self, body: bytes) -> None:
        """Keep what the customer answers, as much as Twilio would read."""
        if len(self._body) < MOST_BODY:
            self._body += body

    def on_message_complete(self) -> None:
        """Note the end of an answer; one with a status below 200 only announces it."""
        self._complete = self._parser.get_status_code() >= 200  # noqa: PLR2004  HTTP's

    def _answered(self, *, keep: bool) -> None:
        status = self._parser.get_status_code()
        self._used = True
        self._complete = False
        self._end(status, "")
        if not keep:
            self.transport.close()
        elif not self.transport.is_closing():
            self._pool.free(self)

    def _end(self, status: int, failure: str) -> None:
        post, self.post = self.post, None
        if post is not None:
            self._pool.outgoing.ended(post, status, self._body, failure)
