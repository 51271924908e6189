"""Event endpoints over HTTP and at the shell: made, tested, rotated, replayed, deleted."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from asgi_api import api_here
from asking import asking, receiver, told
from commanding import Desk

from broadcaster.events import queue
from broadcaster.ledger.optouts import opt_out
from broadcaster.operations.audit import page
from broadcaster.store.connection import open_store

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from broadcaster.store.connection import Store

HERE: dict[str, Any] = {"events_allow_http": True, "events_allow_private": True}
PUBLIC = "https://hooks.example.com/in?key=hidden"
#: A name may be made an endpoint; that it leads to this host is found out when it is posted to.
HIDDEN = "https://localhost/in?key=hidden"
AT = "/v1/event-endpoints"


async def parked(store: Store, name: str, count: int) -> list[str]:
    """Give an endpoint so many parked deliveries; return their ids."""
    ids = [f"evt_{number:032x}" for number in range(count)]
    for number, one in enumerate(ids):
        delivery = queue.Delivery(one, "message.failed", number, 0, "", b"{}")
        at = store.keys.endpoint(name)
        await store.redis.hset(f"{at}:bodies", one, queue._pack(delivery))
        await store.redis.zadd(f"{at}:queue", {one: 1})
        await store.run(queue.done(name, [queue.Ended(delivery.after("HTTP 500"), queue.How.PARKED)], {}))
    return ids


async def test_made_once_with_one_key_even_if_the_first_answer_was_lost(store: Store) -> None:
    async with api_here(store) as (client, _):
        key = {"Idempotency-Key": "billing"}
        made = await client.post(AT, json={"url": PUBLIC, "types": ["message.failed"]}, headers=key)
        assert made.status_code == 201
        again = await client.post(AT, json={"url": PUBLIC, "types": ["message.failed"]}, headers=key)
        assert (again.json(), again.headers["idempotent-replayed"]) == (made.json(), "true")
        async for name in store.redis.scan_iter(f"{store.keys.prefix}once:*"):
            await store.redis.delete(name)  # as if the process had died before it kept its answer
        third = await client.post(AT, json={"url": PUBLIC, "types": ["message.failed"]}, headers=key)
        assert third.json() == made.json()
        assert len((await client.get(AT)).json()["data"]) == 1


async def test_one_is_made_shown_rotated_and_deleted(store: Store) -> None:
    async with api_here(store) as (client, _):
        asked = {"url": PUBLIC, "types": ["message.failed"], "description": "billing"}
        made = await client.post(AT, json=asked)
        assert made.status_code == 201
        name, secret = made.json()["id"], made.json()["secret"]
        assert secret.startswith("whsec_")
        shown = (await client.get(f"{AT}/{name}")).json()
        assert {**shown, "secret": secret} == made.json()
        assert (shown["url"], shown["state"]) == ("https://hooks.example.com/in?…", "enabled")
        assert (await client.get(AT)).json() == {"data": [shown], "next": None}
        turned = (await client.post(f"{AT}/{name}/rotate-secret")).json()
        assert turned["secret"] not in ("", secret)
        assert turned["old_secret_until"] > turned["created_at"] + 86_000
        assert (await client.post(f"{AT}/{name}/enable")).json()["state"] == "enabled"
        await store.run(opt_out(["+14155550111"], "x"))
        assert await told(store) == []
        assert (await client.delete(f"{AT}/{name}")).status_code == 204
        for method, path in (
            *(("GET", ""), ("DELETE", ""), ("GET", "/deliveries")),
            *(("POST", "/test"), ("POST", "/rotate-secret"), ("POST", "/enable")),
        ):
            answer = await client.request(method, f"{AT}/{name}{path}")
            assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")
        entries = await page(store, what="event_endpoint")
    assert [entry.what for entry in reversed(entries)] == [
        f"event_endpoint.{w}" for w in ("create", "rotate", "delete")
    ]
    assert not any(word in str(entries) for word in (secret, turned["secret"], "hidden"))


async def test_one_that_is_asked_for_again_is_the_same(store: Store) -> None:
    asked = {"url": PUBLIC, "types": ["message.failed"]}
    async with api_here(store) as (client, _):

        async def create(**more: Any) -> httpx.Response:
            return await client.post(AT, json={**asked, **more}, headers={"Idempotency-Key": "one"})

        first = await create()
        assert first.status_code == 201
        assert (await create()).content == first.content
        assert (await create(description="other")).status_code == 422
        for name in await store.redis.keys(store.keys.plain("once:*")):  # its process died before it answered
            await store.redis.delete(name)
        again = await create()
        assert (again.status_code, again.json()) == (201, first.json())
        assert len((await client.get(AT)).json()["data"]) == 1
        assert len(await page(store, what="event_endpoint")) == 1
        for name in await store.redis.keys(store.keys.plain("once:*")):  # a day later the key is for anything
            await store.redis.delete(name)
        assert (await create(description="other")).json()["description"] == "other"


@pytest.mark.parametrize(
    ("asked", "pointer"),
    [
        ({"url": "http://hooks.example.com/", "types": ["message.failed"]}, "/url"),
        ({"url": "https://169.254.169.254/latest", "types": ["message.failed"]}, "/url"),
        ({"url": "https://me:pw@hooks.example.com/", "types": ["message.failed"]}, "/url"),
        ({"url": PUBLIC, "types": ["message.sent"]}, "/types"),
        ({"url": PUBLIC, "types": []}, "/types"),
        ({"url": PUBLIC, "types": ["message.failed"], "secret": "mine"}, "/secret"),
    ],
)
async def test_what_can_be_no_endpoint_is_told_where(
    store: Store, asked: dict[str, Any], pointer: str
) -> None:
    async with api_here(store) as (client, _):
        answer = await client.post(AT, json=asked)
        assert answer.status_code == 422
        assert [error["pointer"] for error in answer.json()["errors"]] == [pointer]
        assert (await client.get(AT)).json()["data"] == []


async def test_a_test_says_what_the_endpoint_answered(store: Store) -> None:
    async with api_here(store, **HERE) as (client, _), receiver() as hook:
        made = (await client.post(AT, json={"url": hook.url, "types": ["message.failed"]})).json()
        hook.secrets.append(made["secret"])
        tried = (await client.post(f"{AT}/{made['id']}/test")).json()
        assert (tried["ok"], tried["status"], tried["answer"]) == (True, 204, "HTTP 204")
        assert (hook.ids, hook.kinds()) == ([tried["event"]], ["endpoint.test"])
        hook.answer = lambda _: b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n"
        tried = (await client.post(f"{AT}/{made['id']}/test")).json()
        assert (tried["ok"], tried["status"]) == (False, 500)
    async with api_here(store) as (client, _):  # where private networks are not allowed any more
        tried = (await client.post(f"{AT}/{made['id']}/test")).json()
        assert (tried["ok"], tried["status"]) == (False, None)


async def test_parked_deliveries_are_paged_and_replayed(store: Store) -> None:
    name, _ = await asking(store)
    ids = await parked(store, name, 5)
    at = f"{AT}/{name}/deliveries"
    async with api_here(store) as (client, _):
        one = (await client.get(f"{at}?limit=3")).json()
        two = (await client.get(f"{at}?limit=3&cursor={one['next']}")).json()
        assert [d["id"] for d in [*one["data"], *two["data"]]] == ids
        assert two["next"] is None
        assert (one["data"][0]["tries"], one["data"][0]["last_answer"]) == (1, "HTTP 500")
        assert (await client.get(f"{at}?state=waiting&cursor={one['next']}")).status_code == 422
        assert (await client.post(f"{at}/replay", json={"deliveries": ids[:2]})).json() == {"replayed": 2}
        assert (await client.post(f"{at}/replay", json={"deliveries": ids[:2]})).json() == {"replayed": 0}
        assert [d["id"] for d in (await client.get(f"{at}?state=waiting")).json()["data"]] == ids[:2]
        assert (await client.post(f"{at}/replay", json={"all": True})).json() == {"replayed": 3}
        for nonsense in ({}, {"all": True, "deliveries": ids}):
            assert (await client.post(f"{at}/replay", json=nonsense)).status_code == 422


def test_the_command_makes_shows_replays_and_deletes(tmp_path: Path, redis_url: str) -> None:
    desk = Desk(tmp_path, "http://127.0.0.1:9", {"REDIS_URL": redis_url})
    made = desk.json(
        "events", "endpoints", "create", HIDDEN, "--type", "message.failed", "--type", "opt_out.changed"
    )
    name = made["id"]
    assert made["types"] == ["message.failed", "opt_out.changed"]
    assert desk.json("events", "endpoints", "show", name)["state"] == "enabled"
    assert desk.json("events", "endpoints", "rotate", name)["secret"] != made["secret"]
    assert [row["id"] for row in desk.json("events", "endpoints", "list")] == [name]
    code, out, _ = desk.call("events", "endpoints", "list")
    assert (code, "hidden" in out, name in out) == (0, False, True)

    async def park() -> None:
        store = await open_store(redis_url, "broadcaster:")
        await parked(store, name, 3)
        await store.close()

    asyncio.run(park())
    rows = desk.json("events", "endpoints", "deliveries", name)
    assert [row["state"] for row in rows] == ["parked"] * 3
    assert desk.json("events", "endpoints", "replay", name, rows[0]["id"]) == {"replayed": 1}
    assert desk.json("events", "endpoints", "replay", name, "--all") == {"replayed": 2}
    assert len(desk.json("events", "endpoints", "deliveries", name, "--waiting")) == 3
    code, out, err = desk.call("events", "endpoints", "test", name, "--json")
    assert (code, json.loads(out)["ok"]) == (1, False), err
    code, out, _ = desk.call("events", "endpoints", "show", name)
    assert code == 0
    assert "waiting:          3" in out
    assert desk.json("events", "endpoints", "delete", name) == {"deleted": name}
    assert desk.call("events", "endpoints", "show", name)[0] == 2
    assert desk.call("events", "endpoints", "create", HIDDEN)[0] == 2
    assert desk.call("events", "endpoints", "create", "https://10.0.0.1/", "--all-types")[0] == 2
