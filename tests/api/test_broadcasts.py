"""Broadcasts over HTTP: made of lists in JSON and uploaded ones; the whole path to the simulated Twilio."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from broadcasting import multipart, number, pages, pointers, post
from commanding import Desk, accepted, simulated_twilio
from hosting import hosting

from broadcaster.operations import audit
from broadcaster.simulator.config import ACCOUNT_SID

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
    dry_run = ("send", name, "--body", "Hi {{ name }}", "--dry-run", "--json")
    code, out, _ = await asyncio.to_thread(desk.call, *dry_run)  # it runs a loop of its own
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
