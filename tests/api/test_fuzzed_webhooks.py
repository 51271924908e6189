"""Whatever a stranger sends to the webhooks: never a 5xx, never a change."""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_plus, urlencode

from driving import LANE, ask, everything, join, take
from hosting import Hosted, hosting
from loading import counts, load
from structlog.testing import capture_logs
from webhooks import INBOUND, PUBLIC, STATUS, TOKEN, call, signature, status_form

from broadcaster.api.webhooks.requests import BODY_BYTES
from broadcaster.domain.record import State
from broadcaster.domain.reference import Reference, References

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broadcaster.store.connection import Store

PATHS: Final = (STATUS, INBOUND, "/webhooks/twilio/webhook")
FORM: Final = b"application/x-www-form-urlencoded"
KINDS: Final = (
    FORM,
    FORM + b"; charset=utf-8",
    b"application/json",
    b"text/plain",
    b"",
    b"multipart/form-data",
    b"\xff;\x01",
)
SECRET: Final = "s" * 32
SID: Final = "SM" + "ab" * 16
NAMES: Final = (
    "MessageSid", "MessageStatus", "SmsSid", "SmsStatus", "ErrorCode", "To", "From", "Body", "AccountSid",
    "NumMedia", "MediaUrl0", "MediaContentType0", "OptOutType", "Latitude", "Longitude", "ButtonPayload",
    "WaId", "ProfileName", "MessagingServiceSid", "ChannelPrefix", "é", "", "\0",
)  # fmt: skip
VALUES: Final = (
    SID, "MM" + "0" * 32, "delivered", "failed", "levitating", "30003", "-1", "9" * 500, "1e999", "nan",
    "\u0661", "+14155550100", "whatsapp:+14155550100", "whatsapp:", "+", "STOP", "stop please", "\0",
    "\ud800", "\u202e", "😀" * 300, "x" * 5000, "https://media.example.org/1", "javascript:alert(1)", "",
    " ", "<Response/>", "MG" + "0" * 32,
)  # fmt: skip


class Stranger:
    """Makes requests that may be anything; the same for the same seed."""

    def __init__(self, seed: int, reference: str) -> None:
        self.chance = random.Random(seed)
        self.reference = reference

    def form(self) -> list[tuple[str, str]]:
        names = self.chance.choices(NAMES, k=self.chance.randrange(0, 12))
        return [(name, self.chance.choice(VALUES)) for name in names]

    def body(self) -> bytes:
        chance = self.chance
        match chance.randrange(9):
            case 0:
                return chance.randbytes(chance.randrange(2000))
            case 1:
                return b"a=b&" * chance.choice([900, 999, 1000, 10_000])
            case 2:
                return b"Body=" + b"%41" * chance.choice([100, BODY_BYTES // 3 - 3, BODY_BYTES])
            case 3:
                return b"%" * chance.randrange(500) + b"=%zz&\0=\xff\xfe&MessageStatus=%C3%28"
            case 4:
                return b'{"MessageStatus": "delivered", "a": ' + b"[" * chance.randrange(3000)
            case _:
                return "&".join(
                    f"{quote_plus(name, errors='replace')}={quote_plus(value, errors='replace')}"
                    for name, value in self.form()
                ).encode()

    def target(self) -> str:
        query = self.chance.choice(
            [
                "",
                f"?r={self.reference}",
                "?r=x",
                "?r=%00%ff&r=&r",
                "?bodySHA256=" + "0" * 64,
                "?" + "r=1&" * 2000,
            ]
        )
        return self.chance.choice(PATHS) + query

    def shown(self) -> bytes | None:
        chance = self.chance
        made = signature(PUBLIC + STATUS, {"a": "b"}, "another-token").encode()
        return chance.choice(
            [
                None,
                b"",
                made,
                made[:-1],
                chance.randbytes(28).replace(b"\n", b"").replace(b"\r", b"").replace(b"\0", b""),
                b"\xff" * 28,
                b"x" * 9000,
            ]
        )


async def post(port: int, target: str, headers: list[tuple[bytes, bytes]], body: bytes) -> int:
    """Post as bytes, as no client would let us; return the status, 0 where it just hung up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = b"POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" % target.encode()
    head += b"".join(b"%s: %s\r\n" % pair for pair in headers)
    try:
        writer.write(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
        with contextlib.suppress(ConnectionError):
            line = await asyncio.wait_for(reader.readline(), 20)
            return int(line.split()[1]) if line else 0
        return 0
    finally:
        writer.close()


async def sending(store: Store) -> tuple[str, str]:
    """A broadcast whose message has left, and the reference that its callback would carry."""
    bid = await load(store, {LANE: 1})
    await join(store)
    (held,) = await take(store)
    await ask(store, held)
    return bid, References([SECRET]).make(Reference(bid, "0.0", 0, 1))


@contextlib.asynccontextmanager
async def served(store: Store) -> AsyncIterator[Hosted]:
    with capture_logs():
        async with hosting(store, twilio_auth_token=TOKEN, public_url=PUBLIC, secret_key=SECRET) as api:
            yield api


async def test_strangers_change_nothing(store: Store) -> None:
    _, reference = await sending(store)
    async with served(store) as api:
        before = await everything(store)
        stranger = Stranger(11, reference)
        seen = set()
        for _ in range(120):
            shown = stranger.shown()
            headers = [(b"Content-Type", stranger.chance.choice(KINDS))]
            headers += [] if shown is None else [(b"X-Twilio-Signature", shown)]
            seen.add(await post(api.port, stranger.target(), headers, stranger.body()))
        assert seen <= {403, 413, 431, 400, 0}, seen
        assert {403, 413} <= seen
        for method in ("GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH"):
            for path in PATHS:
                assert (await api.client.request(method, path)).status_code == 405
        for path in ("/webhooks/twilio/", "/webhooks/twilio/status/", "/webhooks/twilio/other"):
            assert (await api.client.post(path)).status_code == 404
        assert await everything(store) == before


async def test_whatever_twilio_signs_is_answered(store: Store) -> None:
    bid, reference = await sending(store)
    async with served(store) as api:
        stranger = Stranger(12, reference)
        seen = set()
        for _ in range(60):
            form = {name: value.replace("\ud800", "?") for name, value in stranger.form()}
            query = stranger.chance.choice(["", f"r={reference}x", "r=%00"])
            path = stranger.chance.choice(PATHS)
            answer = await call(api.client, path, form, query=query)
            seen.add(answer.status_code)
            assert answer.status_code in (200, 204), (path, form, answer.text)
            if answer.status_code == 200:
                assert answer.headers["content-type"].startswith("text/xml")
        assert seen == {200, 204}
        assert await counts(store, bid) == {State.SENDING: 1}, "no reference, no change"


async def test_a_body_that_never_ends_or_never_comes(store: Store) -> None:
    with capture_logs():
        async with hosting(store, twilio_auth_token=TOKEN, api_stall_seconds=0.2) as api:
            for more, sent in ((b"", b""), (b"", b"a=b"), (b"Expect: 100-continue\r\n", b"")):
                reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
                writer.write(
                    b"POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\n%sContent-Length: 10\r\n\r\n%s"
                    % (STATUS.encode(), FORM, more, sent)
                )
                answer = await asyncio.wait_for(reader.read(), 20)
                assert b"HTTP/1.1 408 " in answer
                writer.close()
            reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
            writer.write(
                b"POST %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" % STATUS.encode()
                + b"ffff\r\n" + b"a" * 0xFFFF + b"\r\n2\r\naa\r\n"
            )  # fmt: skip
            assert b"HTTP/1.1 413 " in await asyncio.wait_for(reader.read(), 20)
            writer.close()


async def test_a_form_that_says_it_is_none_is_not_read_as_one(store: Store) -> None:
    bid, reference = await sending(store)
    async with served(store) as api:
        form = urlencode(status_form(SID, "delivered"))
        target = f"{STATUS}?r={reference}"
        bare = signature(PUBLIC + target, {}).encode()  # as of a GET, which Twilio may have signed
        for kind in (b"text/plain", b"application/json", b""):
            headers = [(b"Content-Type", kind), (b"X-Twilio-Signature", bare)]
            assert await post(api.port, target, headers, form.encode()) == 403
        headers = [(b"Content-Type", FORM), (b"X-Twilio-Signature", bare)]
        assert await post(api.port, target, headers, form.encode()) == 403
        assert await post(api.port, target, headers, b"") == 204, "signed, and tells nothing"
        assert await counts(store, bid) == {State.SENDING: 1}


async def test_where_redis_is_away_twilio_shall_come_again(store: Store) -> None:
    bid, reference = await sending(store)
    async with served(store) as api:
        redis: Any = store.redis
        epoch = await redis.get(store.keys.plain("epoch"))
        await redis.set(store.keys.plain("epoch"), "another")
        query = f"r={reference}"
        answer = await call(api.client, STATUS, status_form(SID, "sent"), query=query)
        assert (answer.status_code, "retry-after" in answer.headers) == (503, True)
        await redis.set(store.keys.plain("epoch"), epoch)
        answer = await call(api.client, STATUS, status_form(SID, "sent"), query=query)
        assert (answer.status_code, await counts(store, bid)) == (204, {State.SENT: 1})
