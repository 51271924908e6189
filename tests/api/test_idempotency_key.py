"""Idempotency-Key: the same request once, for two at once, and for a process that dies before it answers."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from typing import TYPE_CHECKING, Any, Literal

import httpx
import pytest
from hosting import Hosted, hosting
from serving import bearer, key_for, serving
from tap import Strike, Tap, script_mark

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from serving import Api

    from broadcaster.store.connection import Store
    from broadcaster.store.embedded import EmbeddedServer

Moment = Literal["request", "answer"]
ORDER: dict[str, Any] = {"body": "Hi", "recipients": ["+14155550001", "+14155550002"]}
#: A turn is held for 10 s, an import for 15.
LEASES_SECONDS = 20


async def ask(api: Hosted | Api, key: str, order: dict[str, Any] = ORDER, **headers: str) -> httpx.Response:
    return await api.client.post(
        "/v1/broadcasts", json=order, headers={"Idempotency-Key": key, **headers}, timeout=60
    )


async def at_once(api: Hosted, times: int) -> list[httpx.Response]:
    """Send the same request so often at once, over as many connections."""
    async with contextlib.AsyncExitStack() as stack:
        clients = [  # a client with many connections looks through all of them for each request
            await stack.enter_async_context(
                httpx.AsyncClient(
                    base_url=api.client.base_url,
                    headers=api.client.headers,
                    trust_env=False,
                    verify=False,  # noqa: S501
                )
            )
            for _ in range(times // 20)
        ]
        asked = [ask(Hosted(api.port, clients[i % len(clients)]), "one") for i in range(times)]
        return list(await asyncio.gather(*asked))


async def made(store: Store) -> list[str]:
    """Return all broadcasts there are, but for imports that died."""
    found = [raw.decode() for raw in await store.redis.zrange(store.keys.plain("bcs"), 0, -1)]
    states = [await store.redis.hget(store.keys.broadcast(name), "state") for name in found]
    return [name for name, state in zip(found, states, strict=True) if state != b"failed"]


async def test_two_hundred_at_once_make_one_broadcast(store: Store) -> None:
    async with hosting(store) as api:
        answers = await at_once(api, 200)
        done = [answer for answer in answers if answer.status_code == 202]
        assert len(await made(store)) == 1
        assert done
        assert len({answer.content for answer in done}) == 1
        for answer in answers:
            assert answer.status_code in (202, 409), answer.text
            if answer.status_code == 409:
                assert answer.json()["type"] == "/problems/in-progress"
                assert int(answer.headers["retry-after"]) >= 1
        replayed = await ask(api, "one")
        assert replayed.headers["idempotent-replayed"] == "true"
        assert (replayed.status_code, replayed.content) == (202, done[0].content)
        assert replayed.headers["location"] == done[0].headers["location"]
        assert sum("idempotent-replayed" not in answer.headers for answer in done) == 1

        # written otherwise it is the same; another one is another
        assert (await ask(api, '"one"', dict(reversed(ORDER.items())))).content == done[0].content
        other = await ask(api, "one", {**ORDER, "body": "Bye"})
        assert (other.status_code, other.json()["type"]) == (422, "/problems/idempotency-key-reused")
        for bad in ("", '"', "x" * 256, "\x01"):
            with contextlib.suppress(httpx.LocalProtocolError):  # not every one can be sent
                assert (await ask(api, bad)).status_code == 400
        assert (await ask(api, "x" * 255)).status_code == 202
        # somebody else's key is another one
        shown = bearer(await key_for(store))["Authorization"]
        foreign = await ask(api, "one", Authorization=shown)
        assert foreign.status_code == 202
        assert len(await made(store)) == 3
        # what was refused before anything was done leaves the key free
        assert (await ask(api, "two", {**ORDER, "recipients": ["12"]})).status_code == 422
        assert (await ask(api, "two")).status_code == 202
        name = (await store.redis.keys(store.keys.plain("once:*")))[0]
        assert 86_000 < await store.redis.ttl(name) <= 86_400


async def test_an_upload_is_known_by_its_list(store: Store) -> None:
    async with hosting(store) as api:

        async def upload(rows: str, body: str = "Hi") -> httpx.Response:
            parts = [("spec", (None, f'{{"body": "{body}"}}')), ("recipients", ("people.csv", rows))]
            return await api.client.post("/v1/broadcasts", files=parts, headers={"Idempotency-Key": "one"})

        rows = "to\n" + "".join(f"+1415555{i:04d}\n" for i in range(2000))
        first = await upload(rows)
        again = await upload(rows)
        assert (first.status_code, again.status_code) == (202, 202)
        assert again.content == first.content
        assert again.headers["idempotent-replayed"] == "true"
        for answer in (await upload(rows + "+14155559999\n"), await upload(rows, "Bye")):
            assert (answer.status_code, answer.json()["type"]) == (422, "/problems/idempotency-key-reused")
        inline = await ask(api, "one")
        assert inline.status_code == 422
        assert len(await made(store)) == 1


@contextlib.asynccontextmanager
async def tapped(store: Store, server: EmbeddedServer, key: str) -> AsyncIterator[tuple[Api, Tap]]:
    """Run an API whose wire to Redis is watched."""
    port = int(server.tcp_url.rsplit(":", 1)[1].split("/")[0])
    async with (
        Tap(port) as tap,
        serving(store, key=key, REDIS_URL=f"redis://127.0.0.1:{tap.port}") as api,
    ):
        yield api, tap


def deadly(api: Api, mark: bytes, on: Moment) -> Strike:
    """Return what kills the process before such a request leaves, or once it is answered, unseen by it."""
    at: Literal["before", "after"] = "before" if on == "request" else "after"
    return Strike(mark, on, at, lambda: api.process.send_signal(signal.SIGKILL), lose=True)


POINTS: dict[str, tuple[bytes, Moment]] = {
    "reserved": (script_mark("reserve"), "answer"),
    "before the list is whole": (script_mark("seal"), "request"),
    "the list is whole": (script_mark("seal"), "answer"),
    "before it starts": (script_mark("start"), "request"),
    "it has started": (script_mark("start"), "answer"),
    "before the answer is kept": (b"\r\nkeep\r\n", "request"),
    "the answer is kept": (b"\r\nkeep\r\n", "answer"),
}
SHORT = ("before the answer is kept",)


async def lapse(store: Store) -> None:
    """Let time pass for the leases of a process that is gone."""
    for name in await store.redis.keys(store.keys.plain("once:*")):
        if await store.redis.type(name) == b"hash":
            await store.redis.hset(name, "until", 0)
    for name in await store.redis.keys(store.keys.plain("bc:*:importer")):
        await store.redis.delete(name)


@pytest.mark.parametrize(
    ("point", "waits"),
    [
        *((name, False) for name in SHORT),
        *(pytest.param(name, True, marks=pytest.mark.slow) for name in POINTS),
    ],
)
async def test_a_process_killed_before_it_answers(
    store: Store, redis_server: EmbeddedServer, point: str, *, waits: bool
) -> None:
    key = await key_for(store)
    mark, on = POINTS[point]
    async with tapped(store, redis_server, key) as (api, tap):
        tap.arm(deadly(api, mark, on))
        with pytest.raises(httpx.TransportError):
            await ask(api, "one")
        assert api.process.wait(10) == -signal.SIGKILL
    async with hosting(store, key=key) as api:
        if not waits:
            early = await ask(api, "one")
            assert early.status_code == 409
            await lapse(store)
        deadline = time.monotonic() + LEASES_SECONDS
        while (answer := await ask(api, "one")).status_code == 409:
            assert time.monotonic() < deadline
            await asyncio.sleep(int(answer.headers["retry-after"]) / 10)
        assert answer.status_code == 202, answer.text
        assert await made(store) == [answer.json()["id"]]
        assert (answer.json()["state"], answer.json()["total"]) == ("running", 2)
        assert (await ask(api, "one")).content == answer.content


@pytest.mark.slow
@pytest.mark.parametrize("on", ["request", "answer"])
async def test_a_process_killed_while_a_draft_gets_a_part(
    store: Store, redis_server: EmbeddedServer, on: Moment
) -> None:
    key = await key_for(store)
    part = {"recipients": [f"+1415555{i:04d}" for i in range(1000)]}
    async with tapped(store, redis_server, key) as (api, tap):
        draft = (await ask(api, "draft", {"body": "Hi", "draft": True})).headers["location"]
        tap.arm(deadly(api, script_mark("extend"), on))
        with pytest.raises(httpx.TransportError):
            await api.client.post(f"{draft}/recipients", json=part, headers={"Idempotency-Key": "part"})
        assert api.process.wait(10) == -signal.SIGKILL
    async with hosting(store, key=key) as api:
        before = (await api.client.get(draft)).json()["total"]
        assert before == (0 if on == "request" else 1000)
        await lapse(store)
        again = await api.client.post(f"{draft}/recipients", json=part, headers={"Idempotency-Key": "part"})
        assert (again.status_code, again.json()["recipients"], again.json()["total"]) == (200, 1000, 1000)
        shown = (await api.client.get(draft)).json()
        assert (shown["total"], shown["counts"]["queued"]) == (1000, 1000)


SINGLE: dict[str, tuple[bytes, Moment, int]] = {
    "before it is appended": (script_mark("append"), "request", 0),
    "it is appended": (script_mark("append"), "answer", 1),
    "before the answer is kept": (b"\r\nkeep\r\n", "request", 1),
    "the answer is kept": (b"\r\nkeep\r\n", "answer", 1),
}


@pytest.mark.slow
@pytest.mark.parametrize("point", SINGLE)
async def test_a_process_killed_before_it_answers_of_a_message(
    store: Store, redis_server: EmbeddedServer, point: str
) -> None:
    key = await key_for(store)
    mark, on, done = SINGLE[point]

    async def post(api: Hosted | Api, to: str) -> httpx.Response:
        order, header = {"to": [to, "+14155550002"], "body": "Hi"}, {"Idempotency-Key": "one"}
        return await api.client.post("/v1/messages", json=order, headers=header)

    async def appended() -> int:
        return len(await store.redis.keys(store.keys.plain("bat:*")))

    async with tapped(store, redis_server, key) as (api, tap):
        tap.arm(deadly(api, mark, on))
        with pytest.raises(httpx.TransportError):
            await post(api, "+14155550001")
        assert api.process.wait(10) == -signal.SIGKILL
    assert await appended() == done
    async with hosting(store, key=key) as hosted:
        await lapse(store)
        assert (await post(hosted, "+14155550003")).status_code == 422
        first = await post(hosted, "+14155550001")
        assert first.status_code == 202, first.text
        assert await appended() == 1
        again = await post(hosted, "+14155550001")
        assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
        assert await appended() == 1
        memos = await store.redis.keys(store.keys.plain("append:r:*"))
        assert [0 < await store.redis.ttl(memo) <= 3_600 for memo in memos] == [True]
