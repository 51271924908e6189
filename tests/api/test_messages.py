"""Single messages over HTTP: sent once, found by every name, stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hosting import hosting
from serving import Api, whole

from broadcaster.domain.message_ids import sid_like
from broadcaster.lanes.control import pause_account, resume_account
from broadcaster.ledger.optouts import opt_out

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import type_of_wait
    from deployment import Deployment

    from broadcaster.store.connection import Store

ADA, BOB, CAM, DAN, EVE, FAY = (f"+1415555010{number}" for number in range(6))


async def shown(api: Api, message: str) -> dict[str, Any]:
    answer = await api.client.get(f"/v1/messages/{message}")
    assert answer.status_code == 200, answer.text
    return answer.json()  # type: ignore[no-any-return]


@pytest.mark.slow  # flow/test_twilio_transcript takes this path, too
async def test_on_the_whole_path(tmp_path: Path, wait_until: type_of_wait) -> None:
    async with whole(tmp_path) as (run, api):
        await _is_sent_once_and_found_by_every_name(run, api, wait_until)
        await _each_gets_their_own_text_and_the_opted_out_none(run, api)
        await _one_that_has_not_left_can_be_stopped(run, api, wait_until)
        assert await run.simulator.accepted() == dict.fromkeys((ADA, BOB, CAM, FAY), 1)


async def _is_sent_once_and_found_by_every_name(run: Deployment, api: Api, wait_until: type_of_wait) -> None:
    body = {"to": ADA, "body": "The river rises.", "reference": "alert-17"}
    key = {"Idempotency-Key": "alert-17"}
    answer = await api.client.post("/v1/messages", json=body, headers=key)
    assert answer.status_code == 202, answer.text
    (message,) = answer.json()["messages"]
    assert (message["to"], message["state"], message["reference"]) == (ADA, "queued", "alert-17")
    assert answer.headers["location"] == f"/v1/messages/{message['id']}"
    again = await api.client.post("/v1/messages", json=body, headers=key)
    assert (again.json(), again.headers["idempotent-replayed"]) == (answer.json(), "true")
    other = await api.client.post("/v1/messages", json={**body, "body": "Else"}, headers=key)
    assert (other.status_code, other.json()["type"]) == (422, "/problems/idempotency-key-reused")

    async def accepted() -> dict[str, Any] | None:
        now = await shown(api, message["id"])
        return now if now["state"] == "accepted" else None

    now = await wait_until(accepted)
    assert (now["history"][-1]["sid"], now["attempts"]) == (now["sid"], 1)
    assert await run.simulator.accepted() == {ADA: 1}
    assert (await shown(api, now["sid"]))["id"] == message["id"]
    assert (await shown(api, sid_like(message["id"])))["id"] == message["id"]
    for written in (ADA, ADA.removeprefix("+"), f" {ADA[1:]}"):
        found = (await api.client.get("/v1/messages", params={"to": written})).json()
        assert [entry["id"] for entry in found["data"]] == [message["id"]]
    assert (await api.client.get("/v1/messages/SM" + "0" * 32)).status_code == 404


async def _each_gets_their_own_text_and_the_opted_out_none(run: Deployment, api: Api) -> None:
    await run.store.run(opt_out([EVE], "test"))
    to = [{"to": BOB, "variables": {"name": "Ada"}, "reference": "a"}, {"to": CAM}, EVE, BOB]
    answer = await api.client.post("/v1/messages", json={"to": to, "body": "Hi {{ name or 'you' }}"})
    assert answer.status_code == 202, answer.text
    messages = answer.json()["messages"]
    assert [(m["to"], m["state"]) for m in messages] == [
        (BOB, "queued"),
        (CAM, "queued"),
        (EVE, "skipped"),
        (BOB, "skipped"),
    ]
    bid = messages[0]["id"].split(".")[0]
    await run.settled(bid, timeout=20)
    sent = {m["to"]: m["body"] for m in await run.simulator.lines("accepted") if m["to"] != ADA}
    assert sent == {BOB: "Hi Ada", CAM: "Hi you"}


async def test_what_is_wrong_is_said_with_its_place(store: Store) -> None:
    async with hosting(store) as api:

        async def faults(**body: Any) -> list[tuple[str, str]]:
            answer = await api.client.post("/v1/messages", json=body)
            assert answer.status_code == 422, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
            return [(fault["pointer"], fault["detail"]) for fault in answer.json()["errors"]]

        assert [place for place, _ in await faults(to="12", body="x")] == ["/to"]
        ((_, told),) = await faults(to="12", body="x")
        assert "`region`" in told  # and no option of the command line
        assert "--" not in told
        places = [place for place, _ in await faults(to=[ADA, "12", "nobody"], body="x")]
        assert places == ["/to/1", "/to/2"]
        assert [place for place, _ in await faults(to=ADA, body="{{ name")] == ["/body"]
        missing = await faults(to=[{"to": ADA}], body="Hi {{ name }}")
        assert missing[0][0].startswith("/to/0")
        assert "name" in missing[0][1]
        assert await faults(to=ADA)
        (unknown,) = await faults(to=ADA, body="x", bodi="y")
        assert unknown[0] == "/bodi"
        assert await store.redis.zcard(store.keys.plain("streams")) == 0
        assert {place for place, _ in await faults(to=ADA, body="x", expires_in="soon")} == {"/expires_in"}
        assert "/to/0/to" in {place for place, _ in await faults(to=[{"reference": "r"}], body="x")}
        nothing = await api.client.post(
            "/v1/messages", content=b"{", headers={"Content-Type": "application/json"}
        )
        assert "no JSON" in nothing.json()["errors"][0]["detail"]


async def _one_that_has_not_left_can_be_stopped(run: Deployment, api: Api, wait_until: type_of_wait) -> None:
    await run.store.run(pause_account("the test"))
    answer = await api.client.post("/v1/messages", json={"to": [DAN, FAY], "body": "x"})
    dan, fay = (m["id"] for m in answer.json()["messages"])
    for _ in range(2):  # twice is once
        stopped = await api.client.post(f"/v1/messages/{dan}/cancel")
        assert (stopped.status_code, stopped.json()["state"]) == (200, "skipped")
    await run.store.run(resume_account())

    async def left() -> bool:
        return str((await shown(api, fay))["state"]) == "accepted"

    await wait_until(left)
    late = await api.client.post(f"/v1/messages/{fay}/cancel")
    assert (late.status_code, late.json()["state"]) == (409, "accepted")
    assert (await api.client.post("/v1/messages/nothing/cancel")).status_code == 404
