"""Broadcasts steered over HTTP, by the code that the command line uses; and deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from asgi_api import api_here
from driving import LANE, OTHER, ask, join, take
from ended import ended
from loading import counts, load

from broadcaster.domain.record import State
from broadcaster.operations import broadcasts as acts
from broadcaster.operations.actor import Actor
from broadcaster.operations.audit import page

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

ME = Actor("person:me@here", "test")


async def audited(store: Store) -> list[tuple[str, Any, Any]]:
    """Return what was done to broadcasts, the oldest first."""
    entries = await page(store, what="broadcast")
    return [(entry.what, entry.old, entry.new) for entry in reversed(entries)]


async def keys_of(store: Store, broadcast: str) -> list[str]:
    """Return every key with a broadcast's id in its name, and every one that holds it."""
    found = []
    async for raw in store.redis.scan_iter("*", count=1000):
        kind, holds = await store.redis.type(raw), False
        if kind == b"set":
            holds = bool(await store.redis.sismember(raw, broadcast))
        elif kind == b"zset":
            holds = await store.redis.zscore(raw, broadcast) is not None
        elif kind == b"hash":
            whole = await store.redis.hgetall(raw)
            holds = any(broadcast.encode() in part for pair in whole.items() for part in pair)
        if holds or broadcast in raw.decode():
            found.append(raw.decode())
    return found


async def test_a_broadcast_is_started_paused_resumed_and_canceled(store: Store) -> None:
    bid = await load(store, {LANE: 3}, begin=False)
    async with api_here(store) as (client, _):
        for verb, body, state in (
            ("start", None, "running"),
            ("start", None, "running"),
            ("pause", {"reason": "typo, says +14155551234"}, "paused"),
            ("pause", {"reason": "again"}, "paused"),
            ("resume", {}, "running"),
            ("cancel", None, "canceled"),
        ):
            answer = await client.post(f"/v1/broadcasts/{bid}/{verb}", json=body)
            assert answer.status_code == 200, answer.text
            assert (answer.json()["id"], answer.json()["state"]) == (bid, state)
            if state == "paused":
                assert answer.json()["state_reason"] == "typo, says +14155551234"
        refused = await client.post(f"/v1/broadcasts/{bid}/resume")
        assert (refused.status_code, refused.json()["state"]) == (409, "canceled")
        assert refused.json()["detail"] == f"broadcast {bid} is canceled, so it can't be resumed."
    assert await audited(store) == [
        ("broadcast.start", {"state": "draft"}, {"state": "running"}),
        (
            "broadcast.pause",
            {"state": "running"},
            {"state": "paused", "reason": "typo, says +1415•••1234"},
        ),
        ("broadcast.resume", {"state": "paused"}, {"state": "running"}),
        ("broadcast.cancel", {"state": "running"}, {"state": "canceled", "reason": "by request"}),
    ]
    assert {entry.where for entry in await page(store, what="broadcast")} == {"192.0.2.7"}


async def test_what_is_not_there_or_not_understood(store: Store) -> None:
    async with api_here(store) as (client, _):
        for method, path in (("POST", "nothing/start"), ("POST", "nothing/retry"), ("DELETE", "nothing")):
            assert (await client.request(method, f"/v1/broadcasts/{path}")).status_code == 404
        path = "/v1/broadcasts/nothing/pause"
        wrong = await client.post(path, content=b"reason=x", headers={"Content-Type": "text/plain"})
        assert (wrong.status_code, wrong.json()["type"]) == (415, "/problems/unsupported-media-type")
        typo = await client.post(path, json={"raeson": "x"})
        assert typo.json()["errors"] == [{"detail": "Extra inputs are not permitted", "pointer": "/raeson"}]
        bent = await client.post("/v1/broadcasts/nothing/retry", json={"even_unknown": 0})
        assert bent.json()["errors"][0]["pointer"] == "/even_unknown"
        long = await client.post(path, json={"reason": "x" * 501})
        assert (long.status_code, long.json()["errors"][0]["pointer"]) == (422, "/reason")
    assert await audited(store) == []


async def test_those_who_failed_get_it_again_by_code(store: Store) -> None:
    bid = await ended(store, [0, 30003, 21211, 9])  # 9: nobody knows whether it was sent
    async with api_here(store) as (client, _):
        path = f"/v1/broadcasts/{bid}/retry"
        one = await client.post(path, json={"codes": [30003]})
        assert one.json() == {
            "retried": 1, "unchanged": 0, "already_sent": 0, "sms_instead": 0, "may_have_been_sent": 0,
            "refused": {},
        }  # fmt: skip
        assert (await client.post(path)).json()["may_have_been_sent"] == 1
        assert (await client.post(path, json={"even_unknown": True})).json()["retried"] == 1
        assert await counts(store, bid) == {State.ACCEPTED: 1, State.RETRY: 3}
        for again in (
            False,
            True,
        ):  # somebody who did not hear the answer asks again, after they failed again
            answer = await client.post(path, json={"codes": [1]}, headers={"Idempotency-Key": "one"})
            assert (answer.status_code, "idempotent-replayed" in answer.headers) == (200, again)
        await client.post(f"/v1/broadcasts/{bid}/cancel")
    retries = [entry for entry in await audited(store) if entry[0] == "broadcast.retry"]
    assert [(old["codes"], new["changed"]) for _, old, new in retries] == [
        ({"30003": 1}, 1), ({"21211": 1}, 1), ({"9": 1}, 1),
    ]  # fmt: skip


@pytest.mark.parametrize("how", ["draft", "completed", "canceled"])
async def test_a_deleted_broadcast_leaves_nothing(store: Store, how: str) -> None:
    if how == "completed":
        bid = await ended(store, [0, 21211, 21211])
    else:
        bid = await load(store, {LANE: 60, OTHER: 5}, begin=how == "canceled")
    other = await load(store, {LANE: 2}, begin=False)
    left = len(await keys_of(store, other))
    async with api_here(store) as (client, _):
        if how == "canceled":
            await client.post(f"/v1/broadcasts/{bid}/cancel")
        assert len(await keys_of(store, bid)) > 5
        assert (await client.delete(f"/v1/broadcasts/{bid}")).status_code == 204
        assert (await client.delete(f"/v1/broadcasts/{bid}")).status_code == 404
    assert await keys_of(store, bid) == []
    assert len(await keys_of(store, other)) == left
    what, old, new = (await audited(store))[-1]
    assert (what, old["state"], old["name"], new) == ("broadcast.delete", how, "test", None)


async def test_of_what_came_over_http_nothing_is_left_either(store: Store) -> None:
    order = {
        "body": "Hi",
        "from": "12345",
        "draft": True,
        "on_invalid": "skip",
        "recipients": ["+14155550123", "0", "+14155550124"],
    }
    async with api_here(store) as (client, _):
        made = await client.post("/v1/broadcasts", json=order)
        assert made.status_code == 202, made.text
        bid = made.json()["id"]
        assert (made.json()["total"], made.json()["rejected"]) == (2, 1)
        assert (await client.get("/v1/messages?to=14155550123")).json()["data"]
        assert (await client.delete(f"/v1/broadcasts/{bid}")).status_code == 204
        assert (await client.get("/v1/messages?to=14155550123")).json()["data"] == []
        assert (await client.get(f"/v1/broadcasts/{bid}/rejects")).status_code == 404
    assert await keys_of(store, bid) == []


async def test_what_is_under_way_is_not_deleted(store: Store) -> None:
    bid = await load(store, {LANE: 2})
    async with api_here(store) as (client, _):
        refused = await client.delete(f"/v1/broadcasts/{bid}")
        assert (refused.status_code, refused.json()["state"]) == (409, "running")
        await join(store)
        (held,) = await take(store)
        await ask(store, held)
        await client.post(f"/v1/broadcasts/{bid}/cancel")
        refused = await client.delete(f"/v1/broadcasts/{bid}")
        assert (refused.status_code, refused.json()["state"]) == (409, "canceled")
        assert "on their way" in refused.json()["detail"]
        assert int(refused.headers["retry-after"]) > 0


async def test_a_delete_that_died_half_way_is_ended_by_the_next(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    bid = await load(store, {LANE: 60}, begin=False)

    async def dies(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(acts, "remove_data", dies)
        with pytest.raises(RuntimeError, match="killed"):
            await acts.delete(store, ME, bid)
    async with api_here(store) as (client, _):
        assert (await client.post(f"/v1/broadcasts/{bid}/start")).json()["state"] == "deleting"
        assert (await client.delete(f"/v1/broadcasts/{bid}")).status_code == 204
    assert await keys_of(store, bid) == []
    assert [what for what, _, _ in await audited(store)] == ["broadcast.delete"]


async def test_everything_is_stopped_and_goes_on(store: Store) -> None:
    async with api_here(store) as (client, _):
        stopped = await client.post("/v1/pause", json={"reason": "wrong list"})
        assert stopped.json() == {"paused": True, "reason": "wrong list", "changed": True}
        assert (await client.post("/v1/pause", json={"reason": "other"})).json() == {
            "paused": True, "reason": "wrong list", "changed": False,
        }  # fmt: skip
        assert (await client.post("/v1/resume")).json() == {
            "paused": False, "reason": None, "changed": True,
        }  # fmt: skip
        assert not (await client.post("/v1/resume")).json()["changed"]
    entries = await page(store, what="everything")
    assert [(entry.what, entry.old, entry.new) for entry in reversed(entries)] == [
        ("everything.pause", {"paused": None}, {"paused": "wrong list"}),
        ("everything.resume", {"paused": "wrong list"}, {"paused": None}),
    ]
