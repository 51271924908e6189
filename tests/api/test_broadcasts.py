"""Broadcasts over HTTP: made, filled, read; the whole path to the simulated Twilio."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from commanding import Desk, accepted, simulated_twilio
from hosting import Hosted, hosting
from serving import key_for

from broadcaster.domain.api_keys import Scope
from broadcaster.lanes import control
from broadcaster.ledger.optouts import opt_out
from broadcaster.operations import audit
from broadcaster.reporting import pages as pages_module
from broadcaster.simulator.config import ACCOUNT_SID

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx
    from conftest import type_of_wait

    from broadcaster.store.connection import Store

SENDER = "12345"


def settings(twilio: str) -> dict[str, Any]:
    """Return the settings of who sends through the simulator."""
    return {
        "twilio_account_sid": ACCOUNT_SID,
        "twilio_auth_token": "simulator",
        "twilio_api_base_url": twilio,
        "twilio_phone_number": SENDER,
    }


@pytest.fixture(scope="module")
def twilio() -> Iterator[str]:
    """One simulator for the file."""
    with simulated_twilio() as url:
        yield url


@contextlib.contextmanager
def worker(store: Store, twilio: str, folder: Path) -> Iterator[None]:
    """Run a worker beside the API."""
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("BROADCASTER_")},
        **{name.upper(): value for name, value in settings(twilio).items()},
        "REDIS_URL": store.url,
        "BROADCASTER_KEY_PREFIX": store.keys.prefix.rstrip(":"),
        "BROADCASTER_METRICS_PORT": "0",
    }
    command = [sys.executable, "-m", "workers"]
    log = (folder / "worker.log").open("wb")
    with log, subprocess.Popen(command, env=environment, cwd=folder, stdout=log, stderr=log) as process:
        try:
            yield
        finally:
            process.terminate()
            process.wait(20)


def number(place: int) -> str:
    return f"+1415555{place:04d}"


async def post(api: Hosted, path: str, key: str = "", **given: Any) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return await api.client.post(path, json=given, headers=headers)


def pointers(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 422, answer.text
    return [error["pointer"] for error in answer.json()["errors"]]


def multipart(spec: Any, rows: str, filename: str = "people.csv") -> list[tuple[str, Any]]:
    """Return the parts of an upload, as httpx sends them."""
    return [("spec", (None, json.dumps(spec), "application/json")), ("recipients", (filename, rows))]


async def pages(api: Hosted, path: str, **query: Any) -> list[dict[str, Any]]:
    """Return everything that a list holds, page by page."""
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = await api.client.get(path, params={**query, **({"cursor": cursor} if cursor else {})})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["data"]
        cursor = page["next"]
        assert ("link" in answer.headers) == (cursor is not None)
    return found


async def test_the_whole_path(store: Store, twilio: str, tmp_path: Path, wait_until: type_of_wait) -> None:
    async with hosting(store, **settings(twilio)) as api:
        recipients = [
            {"to": number(1), "reference": "a-1", "variables": {"name": "Ada"}},
            {"to": number(2), "reference": "a-2", "variables": {"name": "=1+1"}},
            {"to": number(1), "variables": {"name": "again"}},
        ]
        made = await post(api, "/v1/broadcasts", name="flood", body="Hi {{ name }}", recipients=recipients)
        assert made.status_code == 202, made.text
        shown = made.json()
        assert made.headers["location"] == f"/v1/broadcasts/{shown['id']}"
        assert (shown["name"], shown["state"], shown["total"]) == ("flood", "running", 3)
        assert shown["counts"]["queued"] == 2
        with worker(store, twilio, tmp_path):
            path = made.headers["location"]

            async def ended() -> Any:
                now = (await api.client.get(path)).json()
                return now if now["state"] == "completed" else None

            done = await wait_until(ended, 30)
        assert {one["to"] for one in accepted(twilio)} >= {number(1), number(2)}
        assert done["counts"]["skipped"] == 1
        assert sum(done["counts"].values()) == 3

        skipped = await pages(api, f"{path}/messages", state="skipped")
        assert [one["to"] for one in skipped] == [number(1)]
        by_reference = await pages(api, f"{path}/messages", reference="a-2", limit=1)
        assert [one["to"] for one in by_reference] == [number(2)]
        for written in (number(2), number(2)[1:], f" {number(2)[1:]}"):
            assert [one["reference"] for one in await pages(api, f"{path}/messages", to=written)] == ["a-2"]
        assert len(await pages(api, f"{path}/messages", limit=1)) == 3
        assert await pages(api, f"{path}/messages", code=30003) == []

        table = (await api.client.get(f"{path}/export")).text.splitlines()
        assert table[0].startswith("to,reference,code")
        assert table[2].endswith(",'=1+1")
        lines = (await api.client.get(f"{path}/export", params={"format": "ndjson"})).text.splitlines()
        assert [json.loads(line)["to"] for line in lines] == [number(1), number(2), number(1)]
        assert json.loads(lines[1])["name"] == "=1+1"
        entries = await audit.page(store)
        assert [entry.what for entry in entries] == [
            *("broadcast.export", "broadcast.export", "broadcast.start", "broadcast.create", "key.create")
        ]
        assert {entry.where for entry in entries[:4]} == {"127.0.0.1"}


async def test_what_is_wrong_with_an_order_is_said_at_once(store: Store) -> None:
    async with hosting(store) as api:
        wrong: dict[str, Any] = {
            "body": "x" * 1601,
            "media_urls": ["ftp://x"],
            "from": ["+15550000001", "12"],
            "rate": "fast",
            "expires_in": "soon",
            "schedule_at": "2020-01-01T00:00Z",
            "priority": "top",
            "bogus": 1,
            "options": {"Nonsense": "1"},
            "test_to": "1",
        }
        answer = await post(api, "/v1/broadcasts", **wrong)
        assert sorted(pointers(answer)) == [
            *("/body", "/bogus", "/expires_in", "/from/1", "/media_urls", "/options/Nonsense", "/priority"),
            *("/rate", "/schedule_at", "/test_to"),
        ]
        good = {"body": "Hi"}
        assert pointers(await post(api, "/v1/broadcasts", **good)) == ["/recipients"]
        faulty = await post(api, "/v1/broadcasts", **good, recipients=[number(1), "12", {"to": ""}])
        assert pointers(faulty) == ["/recipients/1", "/recipients/2"]
        assert "--" not in faulty.text
        many = await post(api, "/v1/broadcasts", **good, recipients=[number(1)] * 10_001)
        assert pointers(many) == ["/recipients"]
        assert pointers(await post(api, "/v1/broadcasts", recipients=["1"], body="{{ x", zone="CET")) == [
            *("/zone", "/body")
        ]
        no_column = await post(api, "/v1/broadcasts", body="Hi {{ name }}", recipients=[number(1)])
        assert "no such column: name" in no_column.text
        as_json = {"Content-Type": "application/json"}
        odd = await api.client.post("/v1/broadcasts", content=b"[]", headers=as_json)
        assert pointers(odd) == [""]
        for kind in ({"Content-Type": "text/plain"}, {**as_json, "Content-Encoding": "gzip"}):
            assert (await api.client.post("/v1/broadcasts", content=b"x", headers=kind)).status_code == 415
        for zone, at in (("Asia/Tokyo", "0001-01-01T00:00"), ("America/New_York", "9999-12-31T23:59")):
            beyond = await post(api, "/v1/broadcasts", **good, recipients=["1"], zone=zone, schedule_at=at)
            assert pointers(beyond) == ["/schedule_at"]
        assert pointers(await post(api, "/v1/broadcasts", **good, recipients=["1"], name="\x1b[2J")) == [
            "/name"
        ]
        assert await store.redis.zcard(store.keys.plain("bcs")) == 0
        assert not await store.redis.keys(store.keys.plain("bat:*"))


async def test_uploaded_lists(store: Store) -> None:
    async with hosting(store) as api:
        rows = "to,name\n" + "".join(f"{number(i)},P{i}\n" for i in range(40)) + "12,Ada\nx,=cmd()\n"
        spec = {"body": "Hi {{ name }}", "draft": True}
        refused = await api.client.post("/v1/broadcasts", files=multipart(spec, rows))
        assert refused.status_code == 422
        assert [(e["line"], e["column"]) for e in refused.json()["errors"]] == [(42, "to"), (43, "to")]
        assert (refused.json()["faults"], refused.json()["rows"]) == (2, 42)
        taken = await api.client.post("/v1/broadcasts", files=multipart({**spec, "on_invalid": "skip"}, rows))
        assert taken.status_code == 202, taken.text
        shown = taken.json()
        assert (shown["name"], shown["state"], shown["total"], shown["rejected"]) == (
            "people",
            "draft",
            40,
            2,
        )
        rejects = (await api.client.get(f"/v1/broadcasts/{shown['id']}/rejects")).text.splitlines()
        assert rejects[0] == "line,reason,to,name"
        assert rejects[1].startswith("42,")
        assert rejects[1].endswith(",12,Ada")
        assert rejects[2].endswith(",x,'=cmd()")

        lines = "".join(json.dumps({"to": number(i), "variables": {"name": "N"}}) + "\n" for i in range(30))
        ndjson = await api.client.post("/v1/broadcasts", files=multipart(spec, lines, "people.ndjson"))
        assert ndjson.json()["total"] == 30
        assert (await pages(api, f"/v1/broadcasts/{shown['id']}/messages", limit=7))[39]["to"] == number(39)

        parts = multipart(spec, rows)
        for wrong, told in (
            (parts[::-1], "the list comes before `spec`"),
            (parts[:1], "the list is missing"),
            ([parts[0], parts[0]], "it has two parts `spec`"),
            ([parts[0], ("list", parts[1][1])], "there is no part called 'list'"),
            (multipart({**spec, "recipients": []}, rows), "leave it out here"),
            (multipart(spec, ""), "is empty"),
            (multipart({**spec, "to_column": "mobile"}, rows), "has no column 'mobile'"),
        ):
            answer = await api.client.post("/v1/broadcasts", files=wrong)
            assert answer.status_code == 422, answer.text
            assert told in answer.text
        boundary = {"Content-Type": "multipart/form-data"}
        assert (await api.client.post("/v1/broadcasts", content=b"x", headers=boundary)).status_code == 400
        cut = {"Content-Type": "multipart/form-data; boundary=x"}
        body = b'--x\r\nContent-Disposition: form-data; name="spec"\r\n\r\n{"body":"Hi"}\r\n--x\r\n'
        body += b'Content-Disposition: form-data; name="recipients"\r\n\r\nto\r\n+14155550001\r\n'
        broken = await api.client.post("/v1/broadcasts", content=body, headers=cut)
        assert broken.status_code == 400
        assert "last boundary" in broken.text
        assert await store.redis.zcard(store.keys.plain("bcs")) == 2


async def test_a_dry_run_and_a_test_are_those_of_the_command_line(
    store: Store, twilio: str, tmp_path: Path
) -> None:
    desk = Desk(tmp_path, twilio, {})
    name = desk.write("people.csv", "to,name", *(f"{number(i % 9)},é{i}" for i in range(12)), "12,Eve")
    code, out, _ = desk.call("send", name, "--body", "Hi {{ name }}", "--dry-run", "--json")
    assert code == 2
    async with hosting(store, **settings(twilio)) as api:
        rows = (tmp_path / name).read_text()
        spec = {"body": "Hi {{ name }}"}
        dry = await api.client.post("/v1/broadcasts", files=multipart({**spec, "dry_run": True}, rows))
        assert dry.status_code == 200
        assert dry.json() == json.loads(out)
        inline = await post(
            api, "/v1/broadcasts", **spec, dry_run=True, recipients=[{"to": number(1), "name": "Ada"}]
        )
        assert inline.json()["messages"][0]["body"] == "Hi Ada"
        before = len(accepted(twilio))
        tested = await api.client.post(
            "/v1/broadcasts", files=multipart({**spec, "test_to": "+14155559999"}, rows)
        )
        assert tested.status_code == 200, tested.text
        assert (tested.json()["outcome"], tested.json()["from"]) == ("accepted", SENDER)
        sent = accepted(twilio)[before:]
        assert [(one["to"], one["body"]) for one in sent] == [("+14155559999", "Hi é0")]
        assert await store.redis.zcard(store.keys.plain("bcs")) == 0
        assert (await audit.page(store))[0].what == "broadcast.test"


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
            "rejected": 0,
            "total": 3,
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
            "rejected": 1,
            "total": 7,
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
