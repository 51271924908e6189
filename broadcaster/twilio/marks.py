"""Start-up proof that the HTTP engine marks its failures the way `answers.outcome_of_failure` reads them.

Those marks are texts of a library, and an upgrade may change them. One kind of mistake would send a message
twice: taking "may have been sent" for "not sent". So each mark is produced on loopback sockets, in well under
a second, before anything is sent. What needs certificates is in the tests.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

from broadcaster.domain.failures import Kind, Outcome
from broadcaster.twilio.answers import outcome_of_failure
from broadcaster.twilio.engine import Timeouts, client_builder

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from pyreqwest.client import Client

    Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_SHORT: Final = Timeouts(connect=0.3, read=0.4, total=4.0, pool=0.1)
_FORM: Final = b"Probe=1"
_TRIES: Final = 3


class TransportMarksError(RuntimeError):
    """The HTTP engine reports failures otherwise than it did: nothing may be sent with it."""


async def check_marks() -> None:
    """Raise `TransportMarksError` unless every probed failure is classified as it must be.

    A probe that fails is run again, twice: on a machine that stalls, the clocks in it may run out early.
    """
    probes: list[Callable[[], Awaitable[str]]] = list(_PROBES)
    faults: list[str] = []
    for _ in range(_TRIES):
        results = await asyncio.gather(*(probe() for probe in probes))
        probes = [probe for probe, fault in zip(probes, results, strict=True) if fault]
        faults = [fault for fault in results if fault]
        if not faults:
            return
    raise TransportMarksError(
        "the HTTP engine (pyreqwest) reports failures in a way this program does not know, so it might "
        f"send messages twice: {'; '.join(faults)}. Install the version the package asks for."
    )


async def _refused() -> str:
    with socket.socket() as reserved:  # bound, not listening: refused, and nobody else's
        reserved.bind(("127.0.0.1", 0))
        outcome = await _post(f"http://127.0.0.1:{reserved.getsockname()[1]}/")
    return _fault("a refused connection", outcome, Kind.NOT_SENT)


async def _handshake_cut() -> str:
    async def close(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read(1)

    async with _server(close) as port:
        outcome = await _post(f"https://127.0.0.1:{port}/")
    return _fault("a cut TLS handshake", outcome, Kind.NOT_SENT)


async def _pool_exhausted() -> str:
    async with (
        _server(_wait_for_close) as port,
        client_builder(_SHORT, concurrency=1).build() as client,
    ):
        outcomes = await asyncio.gather(*(_post_with(client, f"http://127.0.0.1:{port}/") for _ in range(2)))
    kinds = sorted(outcome.kind for outcome in outcomes)
    if kinds != [Kind.NOT_SENT, Kind.UNKNOWN]:
        return f"two requests over one connection were {kinds}, not one not_sent and one unknown"
    return ""


async def _closed_after_request() -> str:
    async def close(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(_FORM)

    async with _server(close) as port:
        outcome = await _post(f"http://127.0.0.1:{port}/")
    return _fault("a close after the request", outcome, Kind.UNKNOWN)


async def _silent() -> str:
    async with _server(_wait_for_close) as port:
        outcome = await _post(f"http://127.0.0.1:{port}/")
    return _fault("a missing answer", outcome, Kind.UNKNOWN)


async def _answer_cut() -> str:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(_FORM)
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 99\r\n\r\n{")

    async with _server(cut) as port:
        outcome = await _post(f"http://127.0.0.1:{port}/")
    return _fault("a cut answer", outcome, Kind.UNKNOWN)


async def _redirect() -> str:
    async def redirect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(_FORM)
        writer.write(b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n")

    async with _server(redirect) as port:
        outcome = await _post(f"http://127.0.0.1:{port}/")
    return "" if outcome.http_status == 307 else "a redirect was followed"  # noqa: PLR2004


_PROBES: Final = (
    _refused,
    _handshake_cut,
    _pool_exhausted,
    _closed_after_request,
    _silent,
    _answer_cut,
    _redirect,
)


async def _post(url: str) -> Outcome:
    async with client_builder(_SHORT, concurrency=1).build() as client:
        return await _post_with(client, url)


async def _post_with(client: Client, url: str) -> Outcome:
    try:
        response = await client.post(url).body_bytes(_FORM).build().send()
    except Exception as error:  # noqa: BLE001 - exactly what is under test
        return outcome_of_failure(error)
    return Outcome(Kind.REJECTED, http_status=response.status, detail="answered")


def _fault(what: str, outcome: Outcome, expected: Kind) -> str:
    if outcome.kind is expected:
        return ""
    return f"{what} looks {outcome.kind} ({outcome.detail}), not {expected}"


async def _wait_for_close(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


@asynccontextmanager
async def _server(handle: Handler) -> AsyncIterator[int]:
    """Serve `handle` on a loopback port, closing each connection after it; yields the port."""
    visits: list[asyncio.Task[None]] = []

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):  # the client may go first
            await handle(reader, writer)
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()

    def start(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        visits.append(asyncio.get_running_loop().create_task(visit(reader, writer)))

    server = await asyncio.start_server(start, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for _ in range(3):  # a connection that was accepted just now has its visit in a moment
            await asyncio.sleep(0)
        while not all(visit.done() for visit in visits):
            await asyncio.gather(*visits)  # each ends when its client, closed by now, is gone
