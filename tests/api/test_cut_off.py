"""Answers of Redis' that are lost at each step of a request with an Idempotency-Key, and the same again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from fault_proxy import FaultProxy
from hosting import hosting
from tap import script_mark

from broadcaster.reporting.messages import find_number

if TYPE_CHECKING:
    import httpx

    from broadcaster.store.connection import Store
    from broadcaster.store.embedded import EmbeddedServer

ADA, BOB, EVE = "+14155550100", "+14155550101", "+14155550102"


async def sent_to(store: Store, number: str) -> int:
    return len([view.id async for view in find_number(store, None, number)])


@pytest.mark.parametrize(
    ("mark", "done"), [(b"\r\ntake\r\n", 0), (script_mark("append"), 1), (b"\r\nkeep\r\n", 1)]
)
async def test_what_may_have_been_done_is_no_other_requests_answer(
    store: Store, redis_server: EmbeddedServer, mark: bytes, done: int
) -> None:
    port = int(redis_server.tcp_url.rsplit(":", 1)[1].split("/")[0])
    async with FaultProxy(port) as proxy, hosting(store, redis_url=f"redis://127.0.0.1:{proxy.port}") as api:

        async def post(to: str, key: str = "one") -> httpx.Response:
            body = {"to": to, "body": "x"}
            return await api.client.post("/v1/messages", json=body, headers={"Idempotency-Key": key})

        assert (await post(EVE, "before")).status_code == 202  # connected by now
        proxy.lose_answers(mark, times=1 if mark != script_mark("append") else 100)
        assert (await post(ADA)).status_code == 503
        proxy.calm()
        assert await sent_to(store, ADA) == done
        if done:
            other = await post(BOB)
            assert (other.status_code, other.json()["type"]) == (422, "/problems/idempotency-key-reused")
        same = await asyncio.gather(*(post(ADA) for _ in range(5)))
        again = await post(ADA)
        assert {answer.status_code for answer in same} <= {202, 409}
        assert (again.status_code, again.json()["messages"][0]["to"]) == (202, ADA)
        assert (await sent_to(store, ADA), await sent_to(store, BOB)) == (1, 0)
