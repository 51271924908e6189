"""Scripts for `faulty.serving`: the ways in which a connection can end badly."""

from __future__ import annotations

import asyncio
import gzip

from faulty import CREATED, Visit, answer


async def created(visit: Visit) -> None:
    while True:
        await visit.request()
        visit.send(answer("201 Created", CREATED))


async def cut_at_once(visit: Visit) -> None:
    await visit.some(1)


async def silent(visit: Visit) -> None:
    await visit.until_closed()


async def silent_after_request(visit: Visit) -> None:
    await visit.request()
    await visit.until_closed()


async def refuse_tunnel(visit: Visit) -> None:
    await visit.reader.readuntil(b"\r\n\r\n")
    visit.send(answer("407 Proxy Authentication Required", b"<html>no</html>"))


async def cut_tunnel(visit: Visit) -> None:
    await visit.reader.readuntil(b"\r\n\r\n")
    visit.send(b"HTTP/1.1 200 OK\r\n\r\n")
    await visit.some(5)


async def reset_before_reading(visit: Visit) -> None:
    visit.reset()


async def close_before_reading(_: Visit) -> None:
    return


async def reset_while_reading(visit: Visit) -> None:
    await visit.some(1000)
    visit.reset()


async def close_while_reading(visit: Visit) -> None:
    await visit.some(1000)


async def reset_after_request(visit: Visit) -> None:
    await visit.request()
    visit.reset()


async def close_after_request(visit: Visit) -> None:
    await visit.request()


async def cut_after_request(visit: Visit) -> None:
    await visit.request()
    visit.cut()


async def alert_after_request(visit: Visit) -> None:
    """A fatal alert, internal_error (RFC 8446, section 6)."""
    await visit.request()
    visit.send_beneath(bytes([21, 3, 3, 0, 2, 2, 80]))
    await visit.until_closed()


async def corrupt_record_after_request(visit: Visit) -> None:
    """Application data that decrypts to nothing (RFC 8446, section 5.2)."""
    await visit.request()
    visit.send_beneath(bytes([23, 3, 3, 0, 32]) + bytes(32))
    await visit.until_closed()


async def garbage(visit: Visit) -> None:
    await visit.request()
    visit.send(b"\x00\x01 what is this\r\n\r\n")


async def half_a_status_line(visit: Visit) -> None:
    await visit.request()
    visit.send(b"HTTP/1.1 201 Cr")


async def half_the_headers_then_silence(visit: Visit) -> None:
    await visit.request()
    visit.send(b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\nX-Half: ")
    await visit.until_closed()


async def body_cut(visit: Visit) -> None:
    await visit.request()
    visit.send(answer("201 Created", CREATED, length=len(CREATED) + 1))


async def refusal_cut(visit: Visit) -> None:
    await visit.request()
    visit.send(answer("400 Bad Request", b'{"code":21211', length=99))


async def body_then_silence(visit: Visit) -> None:
    await visit.request()
    visit.send(answer("201 Created", CREATED[:9], length=len(CREATED)))
    await visit.until_closed()


async def drop_by_drop(visit: Visit) -> None:
    """Bytes often enough for the read timeout, too few for the total."""
    await visit.request()
    visit.send(answer("201 Created", length=10_000))
    gone = asyncio.ensure_future(visit.reader.read())
    while not gone.done():
        visit.send(b" ")
        await asyncio.wait({gone}, timeout=0.1)
    await gone


async def compressed_unasked(visit: Visit) -> None:
    await visit.request()
    visit.send(answer("201 Created", gzip.compress(CREATED), "Content-Encoding: gzip"))
