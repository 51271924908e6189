"""Senders over HTTP: seen, paced, paused; numbers however a URL spells them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from asgi_api import api_here
from driving import LANE
from loading import load

from broadcaster.operations.audit import page

if TYPE_CHECKING:
    from broadcaster.store.connection import Store


async def test_senders_come_in_pages_and_by_name(store: Store) -> None:
    await load(store, {f"+1415555010{i}": 1 for i in range(5)})
    async with api_here(store) as (client, _):
        seen, path = [], "/v1/senders?limit=2"
        while path:
            answer = await client.get(path)
            seen.append([sender["name"] for sender in answer.json()["data"]])
            path = answer.links["next"]["url"] if "next" in answer.links else ""
            assert bool(path) == bool(answer.json()["next"])
        assert seen == [["+14155550100", "+14155550101"], ["+14155550102", "+14155550103"], ["+14155550104"]]
        forged = await client.get("/v1/senders?cursor=WyJzZW5kZXJzIiwiKzEiXQ.x")
        assert forged.json()["errors"][0]["parameter"] == "cursor"
        assert (await client.get("/v1/senders?limit=0")).status_code == 422
        assert (await client.get("/v1/senders/12345")).status_code == 404
        neither = await client.put("/v1/senders/12345")
        assert (neither.status_code, neither.headers["allow"]) == (405, "GET, PATCH")


@pytest.mark.parametrize("spelled", ["+14155550100", "%2B14155550100", "%2014155550100", "14155550100"])
async def test_a_sender_is_changed(store: Store, spelled: str) -> None:
    await load(store, {LANE: 1}, rates={LANE: 10.0})
    async with api_here(store) as (client, _):
        path = f"/v1/senders/{spelled}"
        assert (await client.get(path)).json()["rate"] == 10
        assert (await client.patch(path, json={"rate": "30/min"})).json()["rate"] == 0.5
        assert (await client.patch(path, json={"rate": 0.5})).json()["rate"] == 0.5
        paused = (await client.post(f"{path}/pause", json={"reason": "complaints"})).json()
        assert (paused["name"], paused["state"], paused["state_reason"]) == (LANE, "paused", "complaints")
        assert (await client.post(f"{path}/resume")).json()["state"] == "sending"
        assert (await client.post(f"{path}/resume")).json()["state"] == "sending"
    entries = await page(store, what="lane")
    assert [(entry.what, entry.target, entry.old, entry.new) for entry in reversed(entries)] == [
        ("lane.rate", "+1415•••0100", {"rate": 10}, {"rate": 0.5}),
        ("lane.pause", "+1415•••0100", {"paused": None}, {"paused": "complaints"}),
        ("lane.resume", "+1415•••0100", {"paused": "complaints"}, {"paused": None}),
    ]


@pytest.mark.parametrize("rate", [0, -1, "fast", "1/", None, 1e9, "0"])
async def test_what_is_no_rate(store: Store, rate: object) -> None:
    async with api_here(store) as (client, _):
        answer = await client.patch("/v1/senders/12345", json={"rate": rate})
        assert answer.status_code == 422
        assert all(error["pointer"].startswith("/rate") for error in answer.json()["errors"])
        assert (await client.get("/v1/senders")).json() == {"data": [], "next": None}
        assert (await client.post("/v1/senders/not+a+sender!/pause")).status_code == 422


async def test_the_whatsapp_sandbox_is_not_sped_up_unsaid(store: Store) -> None:
    sandbox = "whatsapp:+14155238886"
    async with api_here(store) as (client, _):
        path = f"/v1/senders/{sandbox}"
        told = (await client.patch(path, json={"rate": "1/3s"})).json()
        assert (told["kind"], told["warning"]) == ("whatsapp_sandbox", None)
        told = (await client.patch(path, json={"rate": 1})).json()
        assert (told["rate"], "1/3s" in told["warning"]) == (1, True)
        assert "63018" in told["warning"]
