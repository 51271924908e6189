"""Twilio's own messages by hand: over HTTP, on the command line and over both, against the simulator."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import httpx
import msgspec
import pytest
from asgi_api import api_here
from broadcasting import pages
from commanding import Desk
from driving import ask, join, result, take, tell
from hosting import Hosted, hosting
from loading import load, number, records
from over_api import over_api
from serving import TESTER, key_for
from structlog.testing import capture_logs

from broadcaster.domain.broadcast import BroadcastSpec
from broadcaster.domain.content import Content
from broadcaster.domain.create_message import option_pairs
from broadcaster.domain.message_ids import id_of
from broadcaster.domain.record import Reason, State
from broadcaster.operations import audit
from broadcaster.operations import twilio_messages as acts
from broadcaster.simulator.config import ACCOUNT_SID, SERVICE_SID, SimulatorConfig
from broadcaster.simulator.server import running_simulator
from broadcaster.twilio.rest import TwilioRest, TwilioUnreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from broadcaster.simulator.server import Simulator
    from broadcaster.store.connection import Store

AUTH = (ACCOUNT_SID, "simulator")
FROM, ADA, BOB = "+14155550199", "+14155550100", "+14155550101"
NOBODY = "SM" + "0" * 32


@dataclass
class Scene:
    """A simulated account, an API for it, and desks beside Redis and over the API."""

    store: Store
    simulator: Simulator
    api: Hosted
    here: Desk
    there: Desk
    http: httpx.AsyncClient

    async def post(self, to: str, **form: str) -> str:
        path = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"
        sent = await self.http.post(path, data={"To": to, "From": FROM, "Body": "the text", **form})
        assert sent.status_code == 201, sent.text
        return str(sent.json()["sid"])

    async def waiting(self, to: str) -> str:
        """A message that Twilio keeps back."""
        return await self.post(to, From="", MessagingServiceSid=SERVICE_SID, **later())

    async def handed(self, attempts: int = 1) -> tuple[str, str]:
        """A broadcast to one that Twilio keeps back; return its id and the SID."""
        bid = await load(self.store, {SERVICE_SID: 1}, content=Content(body="hello", options=later()))
        await join(self.store)
        (held,) = await take(self.store, horizon_seconds=5)
        assert set((await ask(self.store, held)).yes) == {"1"}
        sid = await self.waiting(number(0))
        await tell(self.store, held, [result(0, attempts, State.ACCEPTED, sid=bytes.fromhex(sid[2:]))])
        return bid, sid

    async def call(self, desk: Desk, *command: str) -> tuple[int, str, str]:
        return await asyncio.to_thread(desk.call, *command)

    async def same(self, *command: str) -> tuple[int, str, str]:
        """Call a command beside Redis and over the API, which say the same."""
        one, other = [await self.call(desk, *command) for desk in (self.here, self.there)]
        assert one == other, command
        return one


def later(minutes: float = 60) -> dict[str, str]:
    at = datetime.now(UTC) + timedelta(minutes=minutes)
    return {"ScheduleType": "fixed", "SendAt": at.isoformat()}


@asynccontextmanager
async def scene(store: Store, folder: Path) -> AsyncIterator[Scene]:
    config = SimulatorConfig(delivery_seconds=0, senders={FROM: 1000.0})
    twilio = {"twilio_account_sid": ACCOUNT_SID, "twilio_auth_token": "simulator"}
    async with (
        quiet(),
        running_simulator(config) as simulator,
        httpx.AsyncClient(base_url=simulator.url, auth=AUTH, trust_env=False) as http,
        hosting(store, twilio_api_base_url=simulator.url, **twilio) as api,
    ):
        prefix = store.keys.prefix.rstrip(":")
        here = Desk(folder, simulator.url, {"REDIS_URL": store.url, "BROADCASTER_KEY_PREFIX": prefix})
        there = over_api(folder, f"http://127.0.0.1:{api.port}", await key_for(store))
        yield Scene(store, simulator, api, here, there, http)


@asynccontextmanager
async def quiet() -> AsyncIterator[None]:
    """Let nothing be logged: a command's output is this process' own."""
    with capture_logs():
        yield


async def test_by_hand(store: Store, tmp_path: Path) -> None:
    async with scene(store, tmp_path) as it:
        await _the_list_is_twilios_by_its_filters_and_pages(it)
        await _fetch_redact_and_delete_answer_what_twilio_does(it)
        await _one_of_ours_is_stopped_by_its_id(it)
        await _canceling_by_sid_reaches_twilio_and_the_ledger(it)
        await _what_became_of_a_message_is_read_before_it_is_deleted(it)
        await _a_place_goes_by_whatsapp_alone_and_may_be_several(it)
        await _what_twilio_refuses_is_never_taken_for_our_own_refusal(it)


async def _the_list_is_twilios_by_its_filters_and_pages(it: Scene) -> None:
    sids = [await it.post(to) for to in (ADA, BOB, ADA)]
    whole = await pages(it.api, "/v1/twilio/messages", limit=2)
    assert {one["sid"] for one in whole} == set(sids)
    assert {"account_sid", "subresource_uris", "date_sent", "price_unit"} <= whole[0].keys()
    today, tomorrow = (datetime.now(UTC) + timedelta(days=d) for d in (0, 1))
    for query, count in (
        ({"to": ADA}, 2),
        ({"to": ADA.removeprefix("+")}, 2),
        ({"from": BOB}, 0),
        ({"from": FROM, "sent_on": f"{today:%Y-%m-%d}"}, 3),
        ({"sent_after": f"{tomorrow:%Y-%m-%d}"}, 0),
        ({"sent_before": f"{tomorrow:%Y-%m-%dT%H:%M}+02:00", "sent_after": "2020-01-01"}, 3),
    ):
        assert len(await pages(it.api, "/v1/twilio/messages", **query)) == count, query
    bad = await it.api.client.get("/v1/twilio/messages", params={"sent_on": "today", "limit": 1001})
    assert bad.status_code == 422
    asked = it.simulator.world.requests
    for name, text in (("to", "nobody at all"), ("from", "nobody at all"), ("to", "(415) 555-0100")):
        bad = await it.api.client.get("/v1/twilio/messages", params={name: text})
        assert (bad.status_code, [e["pointer"] for e in bad.json()["errors"]]) == (422, [f"/{name}"])
    assert it.simulator.world.requests == asked
    code, out, _ = await it.call(it.here, "messages", "list", "--page-size", "2", "--json")
    assert (code, len(json.loads(out))) == (0, 3)
    assert it.simulator.world.requests == asked + 2
    for options, count in (
        (["--at-twilio", "--to", ADA, "--limit", "1"], 1),
        (["--from", FROM, "--sent-on", f"{today:%Y-%m-%d}", "--sent-after", "2020-01-01T00:00Z"], 3),
    ):
        code, out, err = await it.same("messages", "list", *options)
        assert (code, len(out.splitlines())) == (0, count + 1), err
    for wrong in (
        ["--at-twilio", "--broadcast", "x"],
        ["--sent-after", "2020-01-01T00:00"],
        ["--page-size", "1001"],
        ["--at-twilio", "--to", "nobody at all"],
    ):
        code, _, err = await it.call(it.there, "messages", "list", *wrong)
        assert (code, "Traceback" in err) == (2, False)


async def _fetch_redact_and_delete_answer_what_twilio_does(it: Scene) -> None:
    sid = await it.post(ADA)
    code, out, _ = await it.same("messages", "fetch", sid, "--json")
    assert (code, json.loads(out)["body"]) == (0, "the text")
    plain = await it.call(it.here, "messages", "fetch", sid)
    assert f"sid: {sid}\n" in plain[1]
    assert "account_sid: " in plain[1]
    asked = it.simulator.world.requests
    code, out, err = await it.same("messages", "redact", sid, "--body", "another")
    assert (code, out, "Twilio takes only an empty body" in err) == (2, "", True)
    another = await it.api.client.post(f"/v1/twilio/messages/{sid}/redact", json={"body": "another"})
    assert (another.status_code, another.json()["errors"][0]["pointer"]) == (422, "/body")
    assert it.simulator.world.requests == asked
    code, out, _ = await it.call(it.here, "messages", "redact", sid, "--json")
    assert (code, json.loads(out)["body"]) == (0, "")
    assert (await it.api.client.post(f"/v1/twilio/messages/{sid}/redact")).json()["body"] == ""
    code, out, _ = await it.call(it.there, "messages", "delete", sid)
    assert (code, sid in out) == (0, True)
    for command in (["fetch", sid], ["redact", sid], ["delete", sid], ["cancel", NOBODY]):
        ask = it.same if command[0] == "fetch" else partial(it.call, it.here)
        code, out, err = await ask("messages", *command, "--json")
        answered = json.loads(out)
        assert (code, answered["code"], answered["status"]) == (1, 20404, 404)
        assert answered["more_info"].endswith("/20404")
        told = f"HTTP 404, code 20404: {answered['message']} ({answered['more_info']})"
        assert told in err
    code, _, err = await it.call(it.there, "messages", "fetch", "../Calls/CA1")
    assert (code, "is no SID of a message" in err) == (2, True)
    entries = [(e.what, e.target, e.new) for e in await audit.page(it.store, what="twilio-message")]
    assert entries[:-3:-1] == [("twilio-message.redact", sid, told) for told in (acts.ASKED, "delivered")]
    deleted = [entry for entry in entries if entry[0] == "twilio-message.delete"]
    assert deleted == [("twilio-message.delete", sid, told) for told in (None, acts.ASKED)]


async def _canceling_by_sid_reaches_twilio_and_the_ledger(it: Scene) -> None:
    bid, sid = await it.handed()
    early = await it.api.client.post(f"/v1/messages/{bid}.0.0.0/cancel")
    assert (early.status_code, sid in early.json()["detail"]) == (409, True)
    other = await it.waiting(ADA)
    code, out, err = await it.call(it.here, "messages", "cancel", other, "--json")
    assert (code, json.loads(out)["status"]) == (0, "canceled"), err
    answer = await it.api.client.post(f"/v1/twilio/messages/{sid}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (200, "canceled")
    record = (await records(it.store, bid))["0.0", 0]
    assert (record.state, record.code) == (State.SKIPPED, Reason.SCHEDULED_CANCELED)
    late = await it.api.client.post(f"/v1/twilio/messages/{sid}/cancel")
    assert (late.status_code, late.json()["twilio"]["code"]) == (409, 30409)
    code, _, err = await it.same("messages", "cancel", sid)
    assert (code, "HTTP 409, code 30409" in err) == (1, True)


async def _one_of_ours_is_stopped_by_its_id(it: Scene) -> None:
    before = len(it.simulator.world.messages)
    made = await it.api.client.post("/v1/messages", json={"to": [ADA, BOB], "body": "x", "from": FROM})
    ids = [one["id"] for one in made.json()["messages"]]
    for desk, name in ((it.here, ids[0]), (it.there, ids[1])):
        code, out, err = await it.call(desk, "messages", "cancel", name, "--json")
        assert (code, json.loads(out)["state"]) == (0, "skipped"), err
    sent = {"To": ADA, "From": FROM, "Body": "x"}
    path = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"
    key = await key_for(it.store)
    for desk in (it.here, it.there):
        ours = await it.api.client.post(
            path, data=sent, auth=(ACCOUNT_SID, key), headers={"Authorization": ""}
        )
        code, out, err = await it.call(desk, "messages", "cancel", ours.json()["sid"], "--json")
        assert (code, json.loads(out)["state"]) == (0, "skipped"), err
    assert len(it.simulator.world.messages) == before


async def _what_became_of_a_message_is_read_before_it_is_deleted(it: Scene) -> None:
    bid, sid = await it.handed()
    unfinished = await it.api.client.delete(f"/v1/twilio/messages/{sid}")
    assert (unfinished.status_code, unfinished.json()["twilio"]["code"]) == (409, 20009)
    await it.http.post(f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages/{sid}.json", data={"Status": "canceled"})
    gone = await it.api.client.delete(f"/v1/twilio/messages/{sid}")
    assert (gone.status_code, gone.content) == (204, b"")
    assert (await records(it.store, bid))["0.0", 0].code == Reason.SCHEDULED_CANCELED


async def test_without_an_answer_it_is_audited_as_unknown(store: Store) -> None:
    async with TwilioRest(ACCOUNT_SID, AUTH, "http://127.0.0.1:9") as rest:
        with pytest.raises(TwilioUnreachable):
            await acts.cancel(store, rest, TESTER, NOBODY)
    after, before = await audit.page(store)
    assert (after.what, after.target, before.new) == ("twilio-message.cancel", NOBODY, acts.ASKED)
    assert "unknown" in after.new


async def _a_place_goes_by_whatsapp_alone_and_may_be_several(it: Scene) -> None:
    """Single messages, in JSON and as Twilio's own clients write them."""
    place = {"latitude": 47.3769, "longitude": 8.5417, "label": "Main station"}
    both = {"to": [f"whatsapp:{ADA}", ADA], "messaging_service_sid": SERVICE_SID}
    more = {"body": "Shelter", "location": place, "outside_window": "send"}
    told = await it.api.client.post("/v1/messages", json={**both, **more})
    assert (told.status_code, [e["pointer"] for e in told.json()["errors"]]) == (422, ["/to/1"])
    wrote = {"from": f"whatsapp:{ADA}", "to": "whatsapp:+14155238886", "body": "Where?"}
    (await it.http.post("/_simulator/inbound", json=wrote)).raise_for_status()
    places = ["geo:47.3769,8.5417|Main station", "geo:-90,180"]
    form = {
        "To": f"whatsapp:{ADA}",
        "From": "whatsapp:+14155238886",
        "Body": "Shelter",
        "PersistentAction": places,
    }
    path, auth = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json", (ACCOUNT_SID, await key_for(it.store))
    made = await it.api.client.post(path, data=form, auth=auth, headers={"Authorization": ""})
    assert made.status_code == 201, made.text
    bid = (id_of(made.json()["sid"]) or "").partition(".")[0]
    spec = msgspec.msgpack.decode(
        await it.store.redis.hget(it.store.keys.broadcast(bid), "spec"), type=BroadcastSpec
    )
    assert option_pairs(spec.content.options) == [("PersistentAction", one) for one in places]


async def _what_twilio_refuses_is_never_taken_for_our_own_refusal(it: Scene) -> None:
    it.simulator.configure(token="another")
    answer = await it.api.client.get("/v1/twilio/messages")
    assert (answer.status_code, answer.json()["twilio"]["code"]) == (502, 20003)
    code, _, err = await it.call(it.there, "messages", "list", "--at-twilio")
    assert (code, "HTTP 401, code 20003" in err) == (1, True)


async def test_without_credentials_nothing_is_asked(store: Store) -> None:
    async with quiet(), api_here(store) as (client, _):
        answer = await client.get(f"/v1/twilio/messages/{NOBODY}")
    assert (answer.status_code, "credentials" in answer.json()["detail"]) == (422, True)
