"""Opt-outs over HTTP and at the shell: added, found, paged, exported, forgotten."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

from asgi_api import api_here

from broadcaster.ledger.optouts import OptOut, hash_opt_outs, opt_in, opt_out, opt_out_each
from broadcaster.ledger.people_key import hashed, people_key
from broadcaster.operations.audit import page

if TYPE_CHECKING:
    import httpx

    from broadcaster.store.connection import Store


def number(i: int) -> str:
    return f"+1415{i:07d}"


async def turn_pages(client: httpx.AsyncClient, query: str = "", limit: int = 7) -> list[list[Any]]:
    pages: list[list[Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = await client.get(
            f"/v1/opt-outs?limit={limit}{query}" + (f"&cursor={cursor}" if cursor else "")
        )
        assert answer.status_code == 200, answer.text
        pages.append([(one["address"], one["sender"]) for one in answer.json()["data"]])
        cursor = answer.json()["next"]
    return pages


async def test_one_is_added_found_and_forgotten(store: Store) -> None:
    async with api_here(store) as (client, _):
        added = await client.post("/v1/opt-outs", json={"address": "+1 415 555 0100", "source": "a call"})
        assert added.json() == {"changed": 1, "given": 1}
        assert (await client.post("/v1/opt-outs", json={"address": "+14155550100"})).json()["changed"] == 0
        await client.post("/v1/opt-outs", json={"addresses": ["+14155550100"], "sender": "12345"})
        for spelled in ("%2B14155550100", "+14155550100", "14155550100", "%2014155550100"):
            found = (await client.get(f"/v1/opt-outs?address={spelled}")).json()["data"]
            assert [(one["address"], one["sender"]) for one in found] == [
                ("+14155550100", "*"), ("+14155550100", "12345"),
            ]  # fmt: skip
        assert (found[0]["source"], found[1]["source"]) == ("a call", "api")
        only = (await client.get("/v1/opt-outs?address=14155550100&sender=12345")).json()["data"]
        assert [one["sender"] for one in only] == ["12345"]
        assert (await client.delete("/v1/opt-outs/14155550100?sender=12345")).status_code == 204
        assert (await client.delete("/v1/opt-outs/%2B14155550100")).status_code == 204
        gone = await client.delete("/v1/opt-outs/%2B14155550100")
        assert (gone.status_code, gone.json()["type"]) == (404, "/problems/not-found")
        assert (await client.get("/v1/opt-outs")).json() == {"data": [], "next": None}
    entries = await page(store, what="opt_out")
    who = hashed(await people_key(store), "+14155550100")
    assert [(entry.what, entry.target) for entry in reversed(entries)] == [
        ("opt_out.add", who), ("opt_out.add", who), ("opt_out.remove", who), ("opt_out.remove", who),
    ]  # fmt: skip
    assert entries[-1].new == {"sender": "*", "changed": 1, "people": [who]}


async def test_every_fault_is_told_and_nothing_is_done(store: Store) -> None:
    async with api_here(store) as (client, _):
        answer = await client.post("/v1/opt-outs", json={"addresses": ["+14155550100", "0", "1.4E+10"]})
        assert answer.status_code == 422
        assert [error["pointer"] for error in answer.json()["errors"]] == ["/addresses/1", "/addresses/2"]
        many = [number(i) for i in range(1001)]
        assert (await client.post("/v1/opt-outs", json={"addresses": many})).status_code == 422
        assert (await client.post("/v1/opt-outs", json={})).status_code == 422
        both = {"address": number(1), "addresses": [number(2)]}
        assert (await client.post("/v1/opt-outs", json=both)).status_code == 422
        for beside in ({"purpose": "marketing"}, {"sender": "12345"}, {"source": "a call"}):
            mixed = {"opt_outs": [{"address": number(1)}]} | beside
            answer = await client.post("/v1/opt-outs", json=mixed)
            assert (answer.status_code, next(iter(beside)) in answer.text) == (422, True)
        assert (await client.post("/v1/opt-outs", json={"addresses": many[:1000]})).json()["changed"] == 1000
        assert (await page(store, what="opt_out"))[0].target == "1,000 numbers"


async def test_a_key_for_a_request_answers_it_again(store: Store) -> None:
    async with api_here(store) as (client, _):
        once = {"Idempotency-Key": "a-1"}
        asked = {"addresses": [number(1), number(2)]}
        first = await client.post("/v1/opt-outs", json=asked, headers=once)
        again = await client.post("/v1/opt-outs", json=asked, headers=once)
        assert again.json() == first.json() == {"changed": 2, "given": 2}
        assert again.headers["idempotent-replayed"] == "true"
        other = await client.post("/v1/opt-outs", json={"address": number(3)}, headers=once)
        assert (other.status_code, other.json()["type"]) == (422, "/problems/idempotency-key-reused")
        bad = await client.post("/v1/opt-outs", json={"address": "0"}, headers={"Idempotency-Key": "a-2"})
        assert bad.json()["errors"][0]["pointer"] == "/address"
        assert len(await page(store, what="opt_out")) == 1


async def test_pages_meet_everybody_once_while_others_come_and_go(store: Store) -> None:
    stay = [number(i) for i in range(0, 60, 2)]
    await store.run(opt_out(stay, "test"))
    await store.run(opt_out([f"whatsapp:{number(i)}" for i in range(5)], "test"))
    await store.run(opt_out([number(4)], "test", "12345"))
    async with api_here(store) as (client, _):
        pages = await turn_pages(client)
        assert [len(some) for some in pages] == [7, 7, 7, 7, 7, 1]
        flat = [one for some in pages for one in some]
        assert flat == sorted(flat, key=lambda one: (one[0].startswith("whatsapp"), one))
        assert len(set(flat)) == 36
        first = (await client.get("/v1/opt-outs?limit=7")).json()
        await store.run(opt_in([stay[0], stay[20]], "test"))  # another scope: nothing
        await store.run(opt_in([stay[0], stay[20]]))
        await store.run(opt_out([number(1), number(59)], "test"))
        rest = await turn_pages(client, f"&cursor={first['next']}")
        later = [address for some in rest for address, sender in some if sender == "*"]
        assert set(stay) - {stay[20]} <= {one["address"] for one in first["data"]} | set(later)
        assert len(later) == len(set(later))
        assert not {one["address"] for one in first["data"]} & set(later)
        assert number(59) in later
        assert await turn_pages(client, "&sender=12345") == [[(number(4), "12345")]]


async def test_an_export_is_safe_and_audited(store: Store) -> None:
    await store.run(opt_out([number(i) for i in range(1200)], "=HYPERLINK(1)"))
    async with api_here(store) as (client, _):
        answer = await client.get("/v1/opt-outs/export")
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        assert answer.headers["content-disposition"] == 'attachment; filename="opt-outs.csv"'
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert [row["address"] for row in rows] == [number(i) for i in range(1200)]
        assert {row["source"] for row in rows} == {"'=HYPERLINK(1)"}
        lines = (await client.get("/v1/opt-outs/export?format=ndjson")).text.splitlines()
        assert json.loads(lines[7])["address"] == number(7)
        assert (await client.get("/v1/opt-outs/export?format=xls")).status_code == 422
        assert (await client.put("/v1/opt-outs/export")).headers["allow"] == "GET"
    assert [entry.what for entry in await page(store)][:2] == ["opt_out.export", "opt_out.export"]


async def test_they_may_be_of_a_service_and_of_one_purpose(store: Store) -> None:
    service = "MG" + "1" * 32
    async with api_here(store) as (client, _):
        asked = {"address": number(1), "service": service, "purpose": "marketing", "source": "a form"}
        assert (await client.post("/v1/opt-outs", json=asked)).json()["changed"] == 1
        assert (await client.post("/v1/opt-outs", json=asked | {"source": "another"})).json()["changed"] == 0
        assert (await client.post("/v1/opt-outs", json={"address": number(1)})).json()["changed"] == 1
        found = (await client.get("/v1/opt-outs")).json()["data"]
        assert [(one["sender"], one["purpose"]) for one in found] == [("*", None), (service, "marketing")]
        assert found[1]["source"] == "a form"
        for query, count in (("purpose=marketing", 1), (f"sender={service}", 1), ("sender=*", 1)):
            for more in ("", f"&address={number(1)}"):
                shown = (await client.get(f"/v1/opt-outs?{query}{more}")).json()["data"]
                assert len(shown) == count, query + more
        gone = await client.delete(f"/v1/opt-outs/{number(1)}?sender={service}")
        assert gone.status_code == 404  # that is the one for every purpose
        gone = await client.delete(f"/v1/opt-outs/{number(1)}?sender={service}&purpose=marketing")
        assert gone.status_code == 204
        both = {"address": number(1), "service": service, "sender": "12345"}
        assert (await client.post("/v1/opt-outs", json=both)).status_code == 422
        for wrong in ({"service": "12345"}, {"purpose": "spam"}, {"sender": "+"}):
            answer = await client.post("/v1/opt-outs", json={"address": number(1)} | wrong)
            assert answer.status_code == 422


async def test_what_was_exported_is_taken_back_as_it_was(store: Store) -> None:
    key = await people_key(store)
    entries = [
        OptOut(number(1), "*", "reply:SM1", 1_700_000_000),
        OptOut(number(1), "*#marketing", "=1+1", 1_700_000_001),
        OptOut(f"whatsapp:{number(2)}", "12345", "twilio:21610", 1_700_000_002),
        OptOut(number(3), "*", "a call", 1_700_000_003),
    ]
    await store.run(opt_out_each(entries))
    await store.run(hash_opt_outs(key, [number(3)]))
    held = await store.redis.hgetall(store.keys.plain("optouts"))
    async with api_here(store) as (client, _):
        rows = [
            json.loads(x) for x in (await client.get("/v1/opt-outs/export?format=ndjson")).text.splitlines()
        ]
        assert [row["address"] for row in rows] == [
            number(1), number(1), f"whatsapp:{number(2)}", hashed(key, number(3)),
        ]  # fmt: skip
        assert await turn_pages(client, limit=1) == [[(row["address"], row["sender"])] for row in rows]
        found = (await client.get(f"/v1/opt-outs?address={number(3)}")).json()["data"]
        assert [one["address"] for one in found] == [hashed(key, number(3))]
        await store.redis.delete(store.keys.plain("optouts"))
        given = [{name: value for name, value in row.items() if value is not None} for row in rows]
        assert (await client.post("/v1/opt-outs", json={"opt_outs": given})).json() == {
            "changed": 4,
            "given": 4,
        }
        assert await store.redis.hgetall(store.keys.plain("optouts")) == held
        faulty = [{"address": number(5)}, {"address": "12"}, {"address": number(6), "sender": "+"}]
        answer = await client.post("/v1/opt-outs", json={"opt_outs": faulty})
        assert [error["pointer"] for error in answer.json()["errors"]] == [
            "/opt_outs/1/address", "/opt_outs/2/sender",
        ]  # fmt: skip
        assert await store.redis.hgetall(store.keys.plain("optouts")) == held
