"""Dead letters over HTTP: listed page by page, counted, exported, sent again, laid down."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from asgi_api import api_here
from driving import ask, join, result, take, tell
from ended import ended
from loading import counts, number

from broadcaster.domain.record import State
from broadcaster.lanes import claims
from broadcaster.operations.audit import page

if TYPE_CHECKING:
    import httpx

    from broadcaster.store.connection import Store

UNKNOWN = 9


async def turn_pages(client: httpx.AsyncClient, query: str = "") -> list[list[Any]]:
    pages: list[list[Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        tail = f"&cursor={cursor}" if cursor else ""
        answer = await client.get(f"/v1/dead-letters?limit=3{query}{tail}")
        assert answer.status_code == 200, answer.text
        pages.append([(one["to"], one["code"]) for one in answer.json()["data"]])
        cursor = answer.json()["next"]
    return pages


async def test_they_come_in_pages_the_newest_broadcast_first(store: Store) -> None:
    old = await ended(store, [21211, 0, 30003, 21211, 0, 21211], batch=2)
    await ended(store, [0, 0], first=50)
    await ended(store, [30003, 30003], first=100)
    async with api_here(store) as (client, _):
        assert await turn_pages(client) == [
            [(number(100), 30003), (number(101), 30003), (number(0), 21211)],
            [(number(2), 30003), (number(3), 21211), (number(5), 21211)],
        ]
        assert await turn_pages(client, f"&broadcast={old}&code=30003") == [[(number(2), 30003)]]
        assert await turn_pages(client, "&code=30003&code=1") == [
            [(number(100), 30003), (number(101), 30003), (number(2), 30003)]
        ]
        totals = (await client.get("/v1/dead-letters/codes")).json()["data"]
        assert [(one["code"], one["count"], one["broadcasts"]) for one in totals] == [
            (30003, 3, 2), (21211, 3, 1),
        ]  # fmt: skip
        assert all(one["meaning"] and one["about"] for one in totals)
        of_one = (await client.get(f"/v1/dead-letters/codes?broadcast={old}")).json()["data"]
        assert {one["code"]: one["count"] for one in of_one} == {21211: 3, 30003: 1}
        for path in ("", "/codes", "/export"):
            assert (await client.get(f"/v1/dead-letters{path}?broadcast=nothing")).status_code == 404


async def test_some_are_sent_again_and_some_laid_down(store: Store) -> None:
    bid = await ended(store, [0, 30003, 30003, 21211, UNKNOWN])
    async with api_here(store) as (client, _):
        (first, *_) = (await client.get("/v1/dead-letters?limit=1")).json()["data"]
        replay = "/v1/dead-letters/replay"
        named = await client.post(replay, json={"messages": [f"{first['id']}@1"]})
        assert named.json() == {
            "replayed": 1, "unchanged": 0, "already_sent": 0, "sms_instead": 0, "may_have_been_sent": 0,
            "refused": {},
        }  # fmt: skip
        assert (await client.post(replay, json={"messages": [first["id"]]})).json()["replayed"] == 0
        rest = await client.post(replay, json={"broadcast": bid, "codes": [30003, UNKNOWN]})
        assert (rest.json()["replayed"], rest.json()["may_have_been_sent"]) == (1, 1)
        discard = "/v1/dead-letters/discard"
        assert (await client.post(discard, json={"all": True})).json() == {"discarded": 2, "unchanged": 0}
        assert await counts(store, bid) == {State.ACCEPTED: 1, State.RETRY: 2, State.SKIPPED: 2}
        for asked in ({}, {"all": True, "messages": [first["id"]]}):
            unclear = await client.post(replay, json=asked)
            assert (unclear.status_code, len(unclear.json()["errors"])) == (422, 1)
        assert (await client.post(replay, json={"messages": ["nonsense"]})).status_code == 404
        assert (await client.post(discard, json={"broadcast": "nothing"})).status_code == 404
    entries = await page(store, what="dead_letter")
    assert [(entry.what, entry.target, entry.new["changed"]) for entry in reversed(entries)] == [
        ("dead_letter.replay", bid, 1), ("dead_letter.replay", bid, 1), ("dead_letter.discard", bid, 2),
    ]  # fmt: skip
    assert entries[0].old == {"state": "dead", "codes": {"21211": 1, "9": 1}}


async def test_what_is_canceled_is_not_sent_again(store: Store) -> None:
    bid = await ended(store, [30003])
    await store.redis.hset(store.keys.broadcast(bid), "state", "canceled")
    async with api_here(store) as (client, _):
        refused = await client.post("/v1/dead-letters/replay", json={"all": True})
        assert (refused.status_code, refused.json()["state"]) == (409, "canceled")
        other = await ended(store, [30003], first=50)
        some = (await client.post("/v1/dead-letters/replay", json={"all": True})).json()
        assert (some["replayed"], some["refused"]) == (1, {bid: "canceled"})
        assert await counts(store, other) == {State.RETRY: 1}


async def test_single_messages_are_among_them(store: Store) -> None:
    async with api_here(store) as (client, _):
        order = {"to": "+14155550123", "body": "Hi", "from": "12345"}
        made = (await client.post("/v1/messages", json=order)).json()["messages"][0]
        await join(store)
        (held,) = await take(store)
        await ask(store, held)
        await tell(store, held, [result(item.row, 1, State.DEAD, code=21211) for item in held.items])
        await store.run(claims.release("w1", [held.claim]))
        (dead,) = (await client.get("/v1/dead-letters")).json()["data"]
        assert (dead["id"], dead["to"], dead["code"]) == (made["id"], "+14155550123", 21211)
        assert [one["count"] for one in (await client.get("/v1/dead-letters/codes")).json()["data"]] == [1]
        again = await client.post("/v1/dead-letters/replay", json={"messages": [made["id"]]})
        assert again.json()["replayed"] == 1
        ((item,),) = [held.items for held in await take(store)]
        assert item.attempt == 1


async def test_an_export_is_a_list_that_can_be_sent_to(store: Store) -> None:
    bid = await ended(store, [0, 30003, 21211])
    async with api_here(store) as (client, _):
        answer = await client.get("/v1/dead-letters/export?code=21211")
        (row,) = csv.DictReader(io.StringIO(answer.text))
        assert (row["to"], row["code"], row["broadcast"]) == (number(2), "21211", bid)
        lines = (await client.get("/v1/dead-letters/export?format=ndjson")).text.splitlines()
        assert [json.loads(line)["class"] for line in lines] == ["retry", "recipient"]
        assert row["class"] == "recipient"
    newest, *_ = await page(store)
    assert (newest.what, newest.target, newest.new) == ("dead_letter.export", "all", {"all": True})
