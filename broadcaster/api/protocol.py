"""HTTP on the wire: bounds on headers and on how long they may take, which uvicorn leaves to a proxy."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from broadcaster.api.problems import Problem
from broadcaster.api.short_http import ShortHttp

if TYPE_CHECKING:
    from asyncio import Transport

HEADER_BYTES: Final = 32 * 1024
HEADER_SECONDS: Final = 10.0


class BoundedHttp(ShortHttp):
    """Closes a connection whose request line and headers are too large or come too slowly."""

    _awaited: asyncio.TimerHandle | None = None
    _head_open = False
    _refused = False
    _incomplete_bytes = 0
    _arriving_bytes = 0

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # uvicorn says the same
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        self._stop_waiting()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Count anew."""
        self._incomplete_bytes = 0
        self._head_open, self._refused = True, False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Pass a request on, unless its headers are too large."""
        self._stop_waiting()
        self._head_open = False
        # what came in fewer bytes holds no more: to count each request's headers is a twentieth of a callback
        most_bytes, self._incomplete_bytes = self._incomplete_bytes + self._arriving_bytes, 0
        if most_bytes > HEADER_BYTES and self._header_bytes() > HEADER_BYTES:
            self._refuse()
        else:
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """End a request, unless it was refused before it began."""
        if not self._refused:
            super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Take bytes; a connection that is refused takes no more."""
        if self.transport.is_closing():
            return
        self._arriving_bytes = len(data)
        super().data_received(data)
        if self._head_open:  # the headers are not whole yet: what came belongs to them
            self._incomplete_bytes += len(data)
            if self._awaited is None:
                self._await_headers()
        if self._incomplete_bytes > HEADER_BYTES:
            self._refuse()

    def _header_bytes(self) -> int:
        return len(self.url) + sum([len(name) + len(value) for name, value in self.headers])

    def _refuse(self) -> None:
        self._refused = True
        if self.transport.is_closing():
            return
        response = Problem("headers-too-large", f"At most {HEADER_BYTES:,} bytes.").response()
        head = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n"
        head += b"".join(b"%b: %b\r\n" % pair for pair in response.raw_headers)
        self.transport.write(head + b"\r\n" + bytes(response.body))
        self.transport.close()

    def _await_headers(self) -> None:
        self._stop_waiting()
        self._awaited = asyncio.get_running_loop().call_later(HEADER_SECONDS, self._give_up)

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()

    def _stop_waiting(self, *_: Any) -> None:
        if self._awaited is not None:
            self._awaited.cancel()
            self._awaited = None
