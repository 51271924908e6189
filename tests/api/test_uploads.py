"""Uploads that stall, are too large, break off or are killed half way: nothing of them stays, or all."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hosting import Hosted, hosting
from serving import Api, key_for, serving

from broadcaster.api import uploads

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from conftest import type_of_wait

    from broadcaster.store.connection import Store

BOUNDARY = "0123456789"
TYPE = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
SPEC = {"body": "Hi", "name": "list"}
HEAD = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="spec"\r\n\r\n{json.dumps(SPEC)}\r\n'
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="recipients"; filename="a.csv"\r\n\r\nto\r\n'
).encode()
TAIL = f"\r\n--{BOUNDARY}--\r\n".encode()
#: More than what is read ahead and collected before anything is written, in batches of thirty.
MANY = 10_000


def rows(first: int, last: int) -> bytes:
    return "".join(f"+1415{i:07d}\r\n" for i in range(first, last)).encode()


async def whole(count: int) -> AsyncIterator[bytes]:
    yield HEAD
    for start in range(0, count, 5000):
        yield rows(start, min(count, start + 5000))
    yield TAIL


async def send(api: Hosted | Api, body: AsyncIterator[bytes], **headers: str) -> httpx.Response:
    return await api.client.post("/v1/broadcasts", content=body, headers={**TYPE, **headers}, timeout=60)


async def held(store: Store) -> int:
    """Return how many batches there are."""
    return len(await store.redis.keys(store.keys.plain("bat:*")))


async def nothing_stays(store: Store, wait_until: type_of_wait) -> None:
    async def gone() -> bool:
        left = await store.redis.keys(store.keys.plain("b*:*"))
        return not left and not await store.redis.zcard(store.keys.plain("bcs"))

    await wait_until(gone, 10)


async def raw(api: Hosted, kind: str, pieces: AsyncIterator[bytes]) -> tuple[int, bytes]:
    """Send a request piece by piece until it is answered and the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port)
    authorization = api.client.headers["authorization"]
    writer.write(
        f"POST /v1/broadcasts HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n"
        f"Content-Type: {kind}\r\nContent-Length: 10000000\r\n\r\n".encode()
    )
    answer = asyncio.ensure_future(asyncio.wait_for(reader.read(), 20))
    async for piece in pieces:
        if answer.done():
            break
        writer.write(piece)
    told = await answer
    writer.close()
    return int(told.split()[1]), told


async def test_a_list_that_stops_coming_is_given_up(store: Store, wait_until: type_of_wait) -> None:
    async with hosting(store, api_stall_seconds=0.3) as api:

        async def stalls() -> AsyncIterator[bytes]:
            yield HEAD + rows(0, MANY)

        async def trickles() -> AsyncIterator[bytes]:
            yield HEAD
            for byte in rows(0, 1000):
                yield bytes([byte])
                await asyncio.sleep(0.05)

        async def json_stalls() -> AsyncIterator[bytes]:
            yield b'{"body": "Hi", '

        status, told = await raw(api, TYPE["Content-Type"], stalls())
        assert (status, b"/problems/too-slow" in told) == (408, True)
        status, told = await raw(api, TYPE["Content-Type"], trickles())
        assert (status, b"/problems/too-slow" in told) == (408, True)
        status, told = await raw(api, "application/json", json_stalls())
        assert (status, b"/problems/too-slow" in told) == (408, True)
        await nothing_stays(store, wait_until)


async def test_a_list_that_is_too_large_is_refused(store: Store, wait_until: type_of_wait) -> None:
    async with hosting(store, api_upload_rows=MANY, api_upload_bytes=200_000) as api:
        long = await send(api, whole(MANY + 1))
        assert (long.status_code, long.json()["type"]) == (413, "/problems/too-large")
        assert "10,000 rows" in long.text
        large = await send(api, whole(100_000))
        assert large.status_code == 413
        await nothing_stays(store, wait_until)
        assert (await send(api, whole(MANY))).json()["total"] == MANY


async def test_a_client_that_goes_away_leaves_nothing(store: Store, wait_until: type_of_wait) -> None:
    async with hosting(store) as api:
        _, writer = await asyncio.open_connection("127.0.0.1", api.port)
        authorization = api.client.headers["authorization"]
        writer.write(
            f"POST /v1/broadcasts HTTP/1.1\r\nHost: x\r\nAuthorization: {authorization}\r\n"
            f"Content-Type: {TYPE['Content-Type']}\r\nContent-Length: 100000000\r\n\r\n".encode()
        )
        writer.write(HEAD + rows(0, 3 * MANY))
        await writer.drain()
        await wait_until(lambda: held(store), 10)
        writer.transport.abort()
        await nothing_stays(store, wait_until)


@pytest.mark.slow
async def test_an_upload_killed_half_way_and_sent_again_is_one_broadcast(
    store: Store, wait_until: type_of_wait
) -> None:
    key = await key_for(store)
    release = asyncio.Event()

    async def half() -> AsyncIterator[bytes]:
        yield HEAD + rows(0, MANY)
        await release.wait()

    async with serving(store, key=key) as api:
        sending = asyncio.ensure_future(send(api, half(), **{"Idempotency-Key": "one"}))
        await wait_until(lambda: held(store), 10)
        api.kill()
        release.set()
        with pytest.raises(httpx.TransportError):
            await sending
    async with hosting(store, key=key) as again:
        early = await send(again, whole(2 * MANY), **{"Idempotency-Key": "one"})
        assert (early.status_code, early.json()["type"]) == (409, "/problems/in-progress")
        assert int(early.headers["retry-after"]) >= 1
        await _lapse(store, "once:*", lambda name: store.redis.hset(name, "until", 0))
        early = await send(again, whole(2 * MANY), **{"Idempotency-Key": "one"})
        assert early.status_code == 409
        assert "being imported" in early.text
        await _lapse(store, "bc:*:importer", store.redis.delete)
        answer = await send(again, whole(2 * MANY), **{"Idempotency-Key": "one"})
        assert (answer.status_code, answer.json()["total"]) == (202, 2 * MANY)
        assert answer.json()["counts"]["queued"] == 2 * MANY
        found = [raw.decode() for raw in await store.redis.zrange(store.keys.plain("bcs"), 0, -1)]
        states = {name: await store.redis.hget(store.keys.broadcast(name), "state") for name in found}
        assert [name for name, state in states.items() if state != b"failed"] == [answer.json()["id"]]
        mine = store.keys.plain(f"bat:{answer.json()['id']}:*")
        assert len(await store.redis.keys(mine)) == await held(store)
        replayed = await send(again, whole(2 * MANY), **{"Idempotency-Key": "one"})
        assert replayed.content == answer.content


async def _lapse(store: Store, names: str, act: Callable[[str], Any]) -> None:
    """Let a lease of a process that is gone run out at once."""
    for name in await store.redis.keys(store.keys.plain(names)):
        await act(name)


async def test_many_uploads_that_hardly_come_hold_up_nobody(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with hosting(store) as api:
        release = asyncio.Event()

        async def waits() -> AsyncIterator[bytes]:
            yield HEAD
            await release.wait()
            yield rows(0, 10) + TAIL

        async with httpx.AsyncClient(
            base_url=api.client.base_url, headers=api.client.headers, timeout=30, trust_env=False
        ) as others:
            slow = Hosted(api.port, others)
            sending = [asyncio.ensure_future(send(slow, waits())) for _ in range(20)]
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(asyncio.gather(*sending)), 0.2)
            assert (await send(api, whole(100))).json()["total"] == 100
            monkeypatch.setattr(uploads, "AT_ONCE", 20)
            full = await send(api, whole(100))
            assert (full.status_code, "retry-after" in full.headers) == (503, True)
            release.set()
            assert {answer.json()["total"] for answer in await asyncio.gather(*sending)} == {10}
