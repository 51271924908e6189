"""The table of transport failures: each made with a real socket, and the outcome we give it.

    python tests/bench/transport_table.py

Exits 1 if any differs from what is expected: *not sent* only where the server can't have had the request.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "twilio"))
import endings as e
from faulty import CREATED, Visit, answer, serving, tls_context
from test_transport_failures import (
    FORM,
    LARGE,
    PATIENT,
    SHORT,
    closed_port,
    full_backlog,
    post,
)

from broadcaster.domain.failures import Kind
from broadcaster.twilio.send import MessageSender

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

NO, MAYBE, REFUSED = Kind.NOT_SENT, Kind.UNKNOWN, Kind.REJECTED
#: What happens on one connection: (phase, what the server does, TLS, the form, time-outs, expected).
SCRIPTED: Final = (
    ("TLS handshake cut", e.cut_at_once, "client", FORM, SHORT, NO),
    ("TLS handshake never answered", e.silent, "client", FORM, SHORT, NO),
    ("closed before it was read", e.close_before_reading, "", LARGE, PATIENT, MAYBE),
    ("reset while it was read", e.reset_while_reading, "", LARGE, PATIENT, MAYBE),
    ("reset while it was read, TLS", e.reset_while_reading, "both", LARGE, PATIENT, MAYBE),
    ("reset after it", e.reset_after_request, "", FORM, PATIENT, MAYBE),
    ("reset after it, TLS", e.reset_after_request, "both", FORM, PATIENT, MAYBE),
    ("closed after it", e.close_after_request, "", FORM, PATIENT, MAYBE),
    ("TLS close_notify after it", e.close_after_request, "both", FORM, PATIENT, MAYBE),
    ("TLS closed without close_notify after it", e.cut_after_request, "both", FORM, PATIENT, MAYBE),
    ("TLS alert after it", e.alert_after_request, "both", FORM, PATIENT, MAYBE),
    ("corrupt TLS record after it", e.corrupt_record_after_request, "both", FORM, PATIENT, MAYBE),
    ("half a status line", e.half_a_status_line, "", FORM, PATIENT, MAYBE),
    ("headers half way, then silence", e.half_the_headers_then_silence, "", FORM, SHORT, MAYBE),
    ("body cut", e.body_cut, "", FORM, PATIENT, MAYBE),
    ("body half way, then silence", e.body_then_silence, "", FORM, SHORT, MAYBE),
    ("garbage", e.garbage, "", FORM, PATIENT, MAYBE),
    ("compressed without being asked", e.compressed_unasked, "", FORM, PATIENT, MAYBE),
    ("read timeout", e.silent_after_request, "", FORM, SHORT, MAYBE),
    ("total timeout, a byte at a time", e.drop_by_drop, "", FORM, SHORT, MAYBE),
)


async def scripted(script: Any, tls: str, form: bytes, timeouts: Any) -> Counter[Kind]:
    """Post once to a server that does that."""
    async with serving(script, tls_context() if tls == "both" else None) as (url, _):
        address = url.replace("http:", "https:") if tls == "client" else url
        return Counter([(await post(address, form, timeouts=timeouts)).kind])


async def dns() -> Counter[Kind]:
    """Post to a name that nobody has."""
    return Counter([(await post("https://no-such-host.invalid")).kind])


async def refused() -> Counter[Kind]:
    """Post to a port where nobody listens."""
    with closed_port() as port:
        return Counter([(await post(f"http://127.0.0.1:{port}")).kind])


async def connect_timeout() -> Counter[Kind]:
    """Post where connecting is never answered."""
    with full_backlog() as port:
        return Counter([(await post(f"http://127.0.0.1:{port}", timeouts=SHORT)).kind])


async def certificate() -> Counter[Kind]:
    """Post to a server that nobody has vouched for."""
    async with serving(e.created, tls_context()) as (url, _):
        return Counter([(await post(url, root_pem=None)).kind])


async def client_certificate() -> Counter[Kind]:
    """Post to a server that wants a certificate of ours: its alert comes after the request."""
    async with serving(e.created, tls_context(demand_client_certificate=True)) as (url, _):
        return Counter([(await post(url)).kind])


async def full_pool() -> Counter[Kind]:
    """Post while every connection is in use."""
    async with (
        serving(e.silent_after_request) as (url, _),
        MessageSender("AC0", ("AC0", "s"), url, timeouts=SHORT, concurrency=1) as sender,
    ):
        first, second = await asyncio.gather(sender.post(FORM), sender.post(FORM))
        return Counter([NO if NO in (first.kind, second.kind) else second.kind])


async def redirect() -> Counter[Kind]:
    """Post where a 307 wants it posted again elsewhere."""

    async def away(visit: Visit) -> None:
        await visit.request()
        visit.send(answer("307 Temporary Redirect", b"", "Location: /elsewhere"))

    async with serving(away) as (url, _):
        return Counter([(await post(url)).kind])


async def idle_close_race() -> Counter[Kind]:
    """Post 400 times where each kept connection is closed as the next request may be on its way."""

    async def one_then_close(visit: Visit) -> None:
        await visit.request()
        visit.send(answer("201 Created", CREATED))

    async with (
        serving(one_then_close) as (url, seen),
        MessageSender("AC0", ("AC0", "s"), url, timeouts=PATIENT, concurrency=4) as sender,
    ):
        found = Counter[Kind]()
        for _ in range(100):
            found.update(o.kind for o in await asyncio.gather(*(sender.post(FORM) for _ in range(4))))
        assert found[Kind.ACCEPTED] == len(seen.requests), "one was taken that does not count as accepted"
        return found


OTHERS: Final[tuple[tuple[str, Callable[[], Awaitable[Counter[Kind]]], set[Kind]], ...]] = (
    ("DNS", dns, {NO}),
    ("refused", refused, {NO}),
    ("connect timeout", connect_timeout, {NO}),
    ("TLS certificate not trusted", certificate, {NO}),
    ("TLS alert: our certificate is wanted", client_certificate, {MAYBE}),
    ("pool exhausted", full_pool, {NO}),
    ("redirect (307)", redirect, {REFUSED}),
    ("idle-close race, 400 posts", idle_close_race, {Kind.ACCEPTED, MAYBE}),
)


async def table() -> bool:
    """Print every phase with its outcome; tells whether all are as expected."""
    right = True
    for phase, run, expected in (
        *OTHERS,
        *((p, lambda s=s, t=t, f=f, c=c: scripted(s, t, f, c), {k}) for p, s, t, f, c, k in SCRIPTED),
    ):
        found = await run()
        fits = set(found) <= expected
        right = right and fits
        told = ", ".join(f"{kind.value} {n}" if len(found) > 1 else kind.value for kind, n in found.items())
        print(f"{phase:44} {told:28} {'' if fits else 'EXPECTED ' + ', '.join(expected)}")
    return right


if __name__ == "__main__":
    sys.exit(0 if asyncio.run(table()) else 1)
