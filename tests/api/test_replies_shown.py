"""Replies over HTTP and at the shell: shown, made opt-outs of, done; the same from wherever it is asked."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

from asgi_api import api_here
from commanding import Desk
from hosting import hosting
from replying import LONG_CODE, PERSON, SERVICE, opted_out, write
from serving import bearer, key_for

from broadcaster.client import Client
from broadcaster.domain.api_keys import Scope

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from broadcaster.store.connection import Store

OTHER = "whatsapp:+14155550101"
TIMES = re.compile(r'"(?:done|received)_(at|by)":("[^"]*"|[\d.]+)|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC')


async def ids(client: httpx.AsyncClient, query: str = "") -> list[str]:
    """Turn all pages of two; return the ids."""
    found: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = await client.get(f"/v1/replies?limit=2{query}" + (f"&cursor={cursor}" if cursor else ""))
        assert answer.status_code == 200, answer.text
        assert len(answer.json()["data"]) <= 2
        found += [one["id"] for one in answer.json()["data"]]
        cursor = answer.json()["next"]
    return found


async def test_replies_are_listed_shown_and_dealt_with(store: Store) -> None:
    await write(store, "hello", sid="SM1")
    await write(store, "please stop", sid="SM2", MessagingServiceSid=SERVICE)
    await write(store, "por favor, baja", sid="SM3", person=OTHER, to="whatsapp:" + LONG_CODE)
    async with api_here(store) as (client, _):
        assert await ids(client) == ["SM3", "SM2", "SM1"]
        for spelled in ("%2B14155550100", "+14155550100", "14155550100", "%2B1%20415%20555%200100"):
            assert await ids(client, f"&from={spelled}") == ["SM2", "SM1"]
        assert await ids(client, "&from=whatsapp:14155550101&flagged=true") == ["SM3"]
        assert await ids(client, "&from=14155550101") == ["SM3"], "a number is meant on every channel"
        assert await ids(client, "&from=whatsapp:14155550100") == []
        (one,) = (await client.get("/v1/replies?since=1e10")).json()["data"] or [None]
        assert one is None
        shown = (await client.get("/v1/replies/SM2")).json()
        assert (shown["flagged"], shown["from"], shown["to"]) == (True, PERSON, LONG_CODE)
        for _ in range(2):
            done = await client.post("/v1/replies/SM2/opt-out")
            assert (done.status_code, done.json()["done"], done.json()["flagged"]) == (200, "opt-out", False)
        assert set(await opted_out(store)) == {f"{SERVICE}|{PERSON}", f"{LONG_CODE}|{PERSON}"}
        assert (await client.post("/v1/replies/SM3/done")).json()["done"] == "done"
        assert await ids(client, "&flagged=true") == []
        for answer in (
            await client.get("/v1/replies/SM9"),
            await client.post("/v1/replies/SM9/opt-out"),
            await client.post("/v1/replies/SM9/done"),
        ):
            assert (answer.status_code, answer.json()["detail"]) == (404, "there is no reply SM9.")
        assert (await client.get("/v1/replies?since=nan")).status_code == 422
        reading = bearer(await key_for(store, Scope.REPLIES_READ))
        assert (await client.get("/v1/replies", headers=reading)).status_code == 200
        assert (await client.post("/v1/replies/SM1/done", headers=reading)).status_code == 403


async def test_who_has_no_number_is_a_conflict(store: Store) -> None:
    await write(store, "STOP", sid="SM4", person="whatsapp:US.1349")
    async with api_here(store) as (client, _):
        answer = await client.post("/v1/replies/SM4/opt-out")
        assert (answer.status_code, answer.json()["type"]) == (409, "/problems/conflict")
        assert await ids(client, "&from=whatsapp:US.1349") == ["SM4"]


async def test_the_command_and_the_client_are_the_same_everywhere(store: Store, tmp_path: Path) -> None:
    for i in range(3):
        await write(store, "please stop\n  now", sid=f"SM{i}", MediaUrl0="https://api.twilio.com/x")
    await write(store, "hello", sid="SM3", person=OTHER, Latitude="1", Longitude="2")
    prefix = store.keys.prefix.rstrip(":")
    here = Desk(tmp_path, "", {"REDIS_URL": store.url, "BROADCASTER_KEY_PREFIX": prefix})
    async with hosting(store) as api:
        key, url = await key_for(store), f"http://127.0.0.1:{api.port}"
        there = Desk(tmp_path, "", {"BROADCASTER_API_URL": url, "BROADCASTER_API_KEY": key})

        async def call(desk: Desk, *command: str) -> tuple[int, str, str]:
            return await asyncio.to_thread(desk.call, "replies", *command)

        for command in (
            ["list", "--json"],
            ["list", "--flagged", "--from", "+1 415 555 0100", "--since", "1h", "--json"],
            ["list", "--since", "2099-01-01T00:00Z"],
            ["show", "SM0"],
            ["list", "--since", "soon"],
            ["show", "SM9"],
        ):
            one, other = await call(here, *command), await call(there, *command)
            assert one == other, command
            assert (one[0] == 0) is (command[-1] not in {"soon", "SM9"}), one
        assert "there is no reply SM9" in one[2]
        _, out, err = await call(here, "list", "--limit", "2")
        assert out.splitlines()[1].split("\t")[4:6] == ["other", "hello"]
        assert out.splitlines()[2].split("\t")[4:] == ["flagged", "please stop now", "1"]
        assert "more than 2" in err
        acts: list[Any] = []
        for desk, name in ((here, "SM0"), (there, "SM1")):
            done = [await call(desk, "opt-out", name, *more) for more in ([], ["--json"])]
            done += [await call(desk, "done", "SM2"), await call(desk, "opt-out", "SM9")]
            acts.append([TIMES.sub("", str(one).replace(name, "SM")) for one in done])
        assert acts[0] == acts[1]
        assert f"{PERSON} is opted out of {LONG_CODE}" in acts[0][0]
        with Client(url, key) as client:
            found = await asyncio.to_thread(lambda: list(client.replies(from_=PERSON, limit=1)))
            assert [(one.id, one.flagged, one.media[0][0]) for one in found] == [
                (f"SM{i}", False, "https://api.twilio.com/x") for i in (2, 1, 0)
            ]
            assert (await asyncio.to_thread(client.reply, "SM3")).body == "hello"
    assert list(await opted_out(store)) == [f"{LONG_CODE}|{PERSON}"]
