"""Every way in which a POST can end without an answer, made with real sockets, and what we take it for.

The rule under test: *not sent* only where the server cannot have had the request; everything else is unknown.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import pytest
from endings import (
    alert_after_request,
    body_cut,
    body_then_silence,
    close_after_request,
    close_before_reading,
    close_while_reading,
    compressed_unasked,
    corrupt_record_after_request,
    created,
    cut_after_request,
    cut_at_once,
    cut_tunnel,
    drop_by_drop,
    garbage,
    half_a_status_line,
    half_the_headers_then_silence,
    refusal_cut,
    refuse_tunnel,
    reset_after_request,
    reset_before_reading,
    reset_while_reading,
    silent,
    silent_after_request,
)
from faulty import CA_PEM, CREATED, SID, Visit, answer, serving, tls_context

from broadcaster.domain.failures import Kind, Outcome
from broadcaster.twilio.engine import Timeouts
from broadcaster.twilio.send import MessageSender

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

#: For what ends by a clock; and for what ends by itself, on however busy a machine.
SHORT: Final = Timeouts(connect=0.4, read=0.6, total=1.2, pool=0.1)
PATIENT: Final = Timeouts(connect=10, read=20, total=30, pool=10)
FORM: Final = b"To=%2B15005550006&Body=x"
LARGE: Final = b"Body=" + b"x" * 8_000_000


async def post(url: str, form: bytes = FORM, **options: Any) -> Outcome:
    options.setdefault("root_pem", CA_PEM)
    options.setdefault("timeouts", PATIENT)
    async with MessageSender("AC0", ("AC0", "secret"), url, **options) as sender:
        return await sender.post(form)


# ---- not sent: the connection never came to be


@contextmanager
def closed_port() -> Iterator[int]:
    with socket.socket() as bound:  # not listening
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@contextmanager
def full_backlog() -> Iterator[int]:
    """A listening socket that takes no more connections: the next one's SYN is never answered."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]
        for each in waiting:
            each.close()


async def test_a_refused_connection_is_not_sent() -> None:
    with closed_port() as port:
        for scheme in ("http", "https"):
            assert (await post(f"{scheme}://127.0.0.1:{port}")).kind is Kind.NOT_SENT


async def test_an_unknown_host_is_not_sent() -> None:
    outcome = await post("https://no-such-host.invalid")
    assert outcome.kind is Kind.NOT_SENT


async def test_a_connection_that_is_never_taken_is_not_sent() -> None:
    with full_backlog() as port:
        for scheme in ("http", "https"):
            outcome = await post(f"{scheme}://127.0.0.1:{port}", timeouts=SHORT)
            assert outcome.kind is Kind.NOT_SENT


async def test_a_certificate_that_is_not_trusted_is_not_sent() -> None:
    async with serving(created, tls_context()) as (url, seen):
        assert (await post(url, root_pem=None)).kind is Kind.NOT_SENT
        assert (await post(url.replace("localhost", "127.0.0.1"))).kind is Kind.NOT_SENT
        assert seen.requests == []
        assert (await post(url)).kind is Kind.ACCEPTED  # the same server, trusted and by its name


async def test_a_tls_handshake_that_is_cut_or_never_answered_is_not_sent() -> None:
    for script in (cut_at_once, silent):
        async with serving(script) as (url, _):
            assert (await post(url.replace("http:", "https:"), timeouts=SHORT)).kind is Kind.NOT_SENT


async def test_a_full_pool_is_not_sent() -> None:
    async with serving(silent_after_request) as (url, seen):
        async with MessageSender("AC0", ("AC0", "s"), url, timeouts=SHORT, concurrency=1) as sender:
            outcomes = await asyncio.gather(sender.post(FORM), sender.post(FORM))
        assert sorted(each.kind for each in outcomes) == [Kind.NOT_SENT, Kind.UNKNOWN]
        assert len(seen.requests) == 1


async def test_a_proxy_that_makes_no_tunnel_is_not_sent() -> None:
    for script in (refuse_tunnel, silent, cut_tunnel):
        async with serving(script) as (url, seen):
            assert (await post("https://api.invalid", proxy=url, timeouts=SHORT)).kind is Kind.NOT_SENT
            assert seen.requests == []


async def test_a_sender_that_is_not_open_does_not_send() -> None:
    sender = MessageSender("AC0", ("AC0", "s"), "http://127.0.0.1:1")
    assert (await sender.post(FORM)).kind is Kind.NOT_SENT
    async with serving(created) as (url, seen):
        async with (sender := MessageSender("AC0", ("AC0", "s"), url)):
            pass
        assert (await sender.post(FORM)).kind is Kind.NOT_SENT
        async with sender:  # it opens again
            assert (await sender.post(FORM)).kind is Kind.ACCEPTED
        assert len(seen.requests) == 1


# ---- unknown: the server may have had it


ENDED_BY_A_CLOCK = [
    silent_after_request,
    half_the_headers_then_silence,
    body_then_silence,
    drop_by_drop,
]
UNKNOWN_AFTER_REQUEST = [
    *ENDED_BY_A_CLOCK,
    reset_after_request,
    close_after_request,
    cut_after_request,
    garbage,
    half_a_status_line,
    body_cut,
    refusal_cut,
    compressed_unasked,
]


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("script", UNKNOWN_AFTER_REQUEST, ids=lambda script: script.__name__)
async def test_what_goes_wrong_after_the_request_is_unknown_and_posted_once(
    script: Any, *, tls: bool
) -> None:
    timeouts = SHORT if script in ENDED_BY_A_CLOCK else PATIENT
    async with serving(script, tls_context() if tls else None) as (url, seen):
        outcome = await post(url, timeouts=timeouts)
        assert outcome.kind is Kind.UNKNOWN, outcome
        assert len(seen.requests) == 1
        assert SID not in outcome.detail
        assert "AC0" not in outcome.detail


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize(
    "script",
    [reset_before_reading, close_before_reading, reset_while_reading, close_while_reading],
    ids=lambda script: script.__name__,
)
async def test_an_end_before_all_was_read_is_unknown(script: Any, *, tls: bool) -> None:
    """The server had no whole request, but the engine can't know how much it took: so it is unknown.

    A reset that overtakes the end of connecting is a failure to connect: then nothing was handed over, and
    that is proven. On a busy machine it happens where the server reads nothing at all.
    """
    fitting = {Kind.UNKNOWN, Kind.NOT_SENT} if script is reset_before_reading else {Kind.UNKNOWN}
    async with serving(script, tls_context() if tls else None) as (url, seen):
        outcome = await post(url, LARGE)
        assert outcome.kind in fitting, outcome
        assert seen.requests == []


@pytest.mark.parametrize("script", [alert_after_request, corrupt_record_after_request])
async def test_tls_that_breaks_after_the_request_is_unknown(script: Any) -> None:
    async with serving(script, tls_context()) as (url, seen):
        assert (await post(url)).kind is Kind.UNKNOWN
        assert len(seen.requests) == 1


async def test_a_refused_client_certificate_is_unknown() -> None:
    """In TLS 1.3 the client sends its request before it can learn that its certificate was not wanted."""
    async with serving(created, tls_context(demand_client_certificate=True)) as (url, seen):
        assert (await post(url)).kind is Kind.UNKNOWN
        assert seen.requests == []


async def test_a_redirect_is_not_followed() -> None:
    async def redirect(visit: Visit) -> None:
        await visit.request()
        visit.send(answer("307 Temporary Redirect", b"", "Location: /elsewhere"))
        await visit.request()

    async with serving(redirect) as (url, seen):
        outcome = await post(url)
        assert (outcome.kind, outcome.code, outcome.http_status) == (Kind.REJECTED, 307, 307)
        assert len(seen.requests) == 1


async def test_connections_that_close_while_idle_never_make_a_second_post() -> None:
    """The server ends a kept connection just as the next request may be on its way."""

    async def one_then_close(visit: Visit) -> None:
        await visit.request()
        visit.send(answer("201 Created", CREATED))

    async with serving(one_then_close) as (url, seen):
        async with MessageSender("AC0", ("AC0", "s"), url, timeouts=PATIENT, concurrency=4) as sender:
            outcomes = [outcome async for outcome in _many(sender, 400)]
        kinds = [outcome.kind for outcome in outcomes]
        assert kinds.count(Kind.ACCEPTED) == len(seen.requests)
        assert kinds.count(Kind.ACCEPTED) + kinds.count(Kind.UNKNOWN) == 400


async def test_a_reset_of_a_kept_connection_after_it_took_the_request_is_unknown() -> None:
    async def second_is_lost(visit: Visit) -> None:
        await visit.request()
        visit.send(answer("201 Created", CREATED))
        await visit.request()
        visit.reset()

    async with serving(second_is_lost) as (url, seen):
        async with MessageSender("AC0", ("AC0", "s"), url, timeouts=PATIENT, concurrency=1) as sender:
            outcomes = [await sender.post(FORM) for _ in range(40)]
        assert [outcome.kind for outcome in outcomes] == [Kind.ACCEPTED, Kind.UNKNOWN] * 20
        assert len(seen.requests) == 40


async def _many(sender: MessageSender, count: int) -> AsyncIterator[Outcome]:
    for _ in range(count // 4):
        for outcome in await asyncio.gather(*(sender.post(FORM) for _ in range(4))):
            yield outcome
