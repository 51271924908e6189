"""Broadcasts over HTTP: drafts in parts, lists of them and of their messages, and when they will be done."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from broadcasting import number, pages, post
from hosting import hosting
from serving import key_for

from broadcaster.domain.api_keys import Scope
from broadcaster.lanes import control
from broadcaster.ledger.optouts import opt_out
from broadcaster.reporting import pages as pages_module

if TYPE_CHECKING:
    import pytest

    from broadcaster.store.connection import Store


async def test_a_draft_takes_its_list_in_parts(store: Store) -> None:
    await store.run(opt_out([number(3)], "test"))
    async with hosting(store) as api:
        made = await post(api, "/v1/broadcasts", draft=True, body="Hi {{ name }}", on_invalid="skip")
        assert made.status_code == 202, made.text
        draft = made.json()
        assert (draft["state"], draft["total"]) == ("draft", 0)
        path = f"{made.headers['location']}/recipients"
        empty = await api.client.post(f"{made.headers['location']}/start")
        assert (empty.status_code, empty.json()["state"]) == (409, "empty")

        def people(*places: int) -> list[dict[str, str]]:
            return [{"to": number(place), "name": f"P{place}"} for place in places]

        assert (await post(api, path, recipients=people(1))).status_code == 400
        first = await post(api, path, "one", recipients=people(1, 2, 3))
        assert first.json() == {
            "rows": 3,
            "recipients": 2,
            "duplicates": 0,
            "opted_out": 1,
            "unverified": 0,
            "rejected": 0,
            "total": 3,
            "warnings": [],
        }
        again = await post(api, path, "one", recipients=people(1, 2, 3))
        assert again.headers["idempotent-replayed"] == "true"
        assert again.json() == first.json()
        other = await post(api, path, "one", recipients=people(1))
        assert (other.status_code, other.json()["type"]) == (422, "/problems/idempotency-key-reused")
        csv = "to,name\n" + "".join(f"{number(i)},P{i}\n" for i in range(2, 6)) + "12,Eve\n"
        second = await api.client.post(
            path, content=csv, headers={"Content-Type": "text/csv", "Idempotency-Key": "two"}
        )
        assert second.json() == {
            "rows": 5,
            "recipients": 2,
            "duplicates": 2,
            "opted_out": 0,
            "unverified": 0,
            "rejected": 1,
            "total": 7,
            "warnings": [],
        }
        # the day after the answers are forgotten, the draft still knows its parts
        for key in await store.redis.keys(store.keys.plain("once:*")):
            await store.redis.delete(key)
        late = await post(api, path, "one", recipients=people(1, 2, 3))
        assert late.json() == first.json()
        assert (await post(api, path, "one", recipients=people(9))).status_code == 422
        # several at once: every one is taken, or told to come again
        waiting = {f"many {i}": people(*range(100 + 20 * i, 125 + 20 * i)) for i in range(6)}
        while waiting:
            told = await asyncio.gather(*(post(api, path, key, recipients=r) for key, r in waiting.items()))
            for key, answer in zip(list(waiting), told, strict=True):
                assert answer.status_code in (200, 409), answer.text
                assert answer.status_code == 200 or "retry-after" in answer.headers
                if answer.status_code == 200:
                    del waiting[key]
        shown = (await api.client.get(made.headers["location"])).json()
        assert shown["total"] == sum(shown["counts"].values()) == 7 + 150
        assert shown["counts"]["queued"] == 4 + 125  # each of the five after the first has five of before
        found = await pages(api, f"{made.headers['location']}/messages", limit=50)
        assert len({one["id"] for one in found}) == 157
        assert {one["to"] for one in found if one["state"] == "queued"} == {
            number(i) for i in (1, 2, 4, 5, *range(100, 225))
        }
        rejects = (await api.client.get(f"{made.headers['location']}/rejects")).text.splitlines()
        assert len(rejects) == 2
        assert rejects[1].endswith(",12,Eve")

        started = await api.client.post(f"{made.headers['location']}/start")
        assert started.json()["state"] == "running"
        assert (await post(api, path, "too late", recipients=people(1))).json()["state"] == "running"
        assert (await post(api, path, "one", recipients=people(1, 2, 3))).json() == first.json()

        whole = await post(api, "/v1/broadcasts", draft=True, body="Hi", recipients=[number(1)])
        closed = await post(api, f"{whole.headers['location']}/recipients", "k", recipients=[number(2)])
        assert (closed.status_code, closed.json()["state"]) == (409, "draft")
        nowhere = await post(api, "/v1/broadcasts/none/recipients", "k", recipients=[number(2)])
        assert nowhere.status_code == 404


async def test_lists_of_broadcasts(store: Store) -> None:
    async with hosting(store) as api:

        async def make(name: str, **more: Any) -> str:
            answer = await post(api, "/v1/broadcasts", name=name, body="x", recipients=[number(1)], **more)
            return str(answer.json()["id"])

        old = [await make(f"Flood {i}", draft=i % 2 == 0) for i in range(9)]
        query: dict[str, Any] = {"limit": 2}
        found: list[str] = []
        while True:
            page = (await api.client.get("/v1/broadcasts", params=query)).json()
            found += [one["id"] for one in page["data"]]
            if page["next"] is None:
                break
            query["cursor"] = page["next"]
            await make("made meanwhile")
        assert found == old[::-1]
        drafts = await pages(api, "/v1/broadcasts", state="draft", name="FLOOD", limit=2)
        assert [one["id"] for one in drafts] == old[::-2]
        assert len(await pages(api, "/v1/broadcasts", state=["draft", "running"], limit=500)) > 9
        assert (await api.client.get("/v1/broadcasts", params={"cursor": "forged"})).status_code == 422
        assert (await api.client.get("/v1/broadcasts", params={"limit": 501})).status_code == 422
        for name in ("none", f"{old[0]}:lanes", f"{old[0]}:codes", "%00", "%C3%A4"):
            assert (await api.client.get(f"/v1/broadcasts/{name}")).status_code == 404
            assert (
                await post(api, f"/v1/broadcasts/{name}/recipients", "k", recipients=["1"])
            ).status_code == 404
        wrong = await api.client.get(f"/v1/broadcasts/{old[0]}/messages", params={"state": "lost"})
        assert wrong.status_code == 422
        reader = await key_for(store, Scope.BROADCASTS_READ)
        headers = {"Authorization": f"Bearer {reader}"}
        assert (await api.client.get("/v1/broadcasts", headers=headers)).status_code == 200
        assert (await api.client.post("/v1/broadcasts", json={}, headers=headers)).status_code == 403


async def test_pages_cost_a_bounded_amount_of_work(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages_module, "BATCHES_LOOKED_AT", 2)
    monkeypatch.setattr(pages_module, "_BATCHES_AT_ONCE", 2)
    monkeypatch.setattr(pages_module, "BROADCASTS_LOOKED_AT", 2)
    async with hosting(store) as api:
        people = [{"to": number(i), "reference": f"r{i}"} for i in range(200)]  # seven batches of thirty
        made = await post(api, "/v1/broadcasts", body="x", recipients=[*people, people[199]], name="big")
        path = f"{made.headers['location']}/messages"
        first = (await api.client.get(path, params={"state": "skipped"})).json()
        assert (first["data"], first["next"] is None) == ([], False)
        assert [one["to"] for one in await pages(api, path, state="skipped")] == [number(199)]
        assert [one["to"] for one in await pages(api, path, reference="r150")] == [number(150)]
        every = await pages(api, path, limit=7)
        assert [one["reference"] for one in every] == [f"r{i}" for i in (*range(200), 199)]
        assert await pages(api, path, state=["dead", "in_doubt"]) == []
        for name in ("a", "b", "c"):
            await post(api, "/v1/broadcasts", body="x", recipients=[number(1)], name=name)
        assert [one["name"] for one in await pages(api, "/v1/broadcasts", name="BIG")] == ["big"]
        newest = (await api.client.get("/v1/broadcasts", params={"name": "big"})).json()
        assert (newest["data"], newest["next"] is None) == ([], False)


async def test_when_the_last_will_have_left(store: Store) -> None:
    async with hosting(store) as api:
        senders = ["+15550000001", "12345"]  # 1 and 100 segments a second
        await store.run(control.set_rate("12345", 3))
        await store.run(control.set_rate("+15550000001", 1))
        people = [number(i) for i in range(400)]
        given: dict[str, Any] = {"from": senders}
        made = await post(api, "/v1/broadcasts", body="x" * 161, recipients=people, **given)
        path = made.headers["location"]
        assert made.json()["eta"] is None  # no worker is running
        await store.redis.zadd(store.keys.plain("workers"), {"a worker": time.time() * 2e6})
        counted = dict.fromkeys(senders, 0)
        for one in await pages(api, f"{path}/messages", limit=500):
            counted[one["sender"]] += 1
        longest = max(2 * counted["+15550000001"], 2 * counted["12345"] / 3)
        assert (await api.client.get(path)).json()["eta"] == round(longest)
        await store.run(control.set_account_rate(2.0))
        assert (await api.client.get(path)).json()["eta"] == 400
        await store.run(control.pause_lane("12345", "by hand"))
        waiting = (await api.client.get(path)).json()
        assert waiting["eta"] is None
        assert waiting["waits_for"]["12345"] == "paused: by hand"
