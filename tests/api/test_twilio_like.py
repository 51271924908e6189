"""What speaks to Twilio speaks to us by another host name: Twilio's own Python client, and bare HTTP."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from serving import Api, key_for, whole
from twilio.base.exceptions import TwilioRestException  # type: ignore[import-untyped]
from twilio.rest import Client  # type: ignore[import-untyped]

from broadcaster.domain.api_keys import Scope
from broadcaster.domain.message_ids import id_of
from broadcaster.lanes.control import pause_account, resume_account
from broadcaster.ledger.optouts import opt_out
from broadcaster.simulator.config import ACCOUNT_SID

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx
    from conftest import type_of_wait

SENDER, ADA, BOB, EVE = "+15005550006", "+14155550100", "+14155550101", "+14155550102"
MESSAGES = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages"
#: Property names, types, patterns and enums of Twilio's OpenAPI files.
SCHEMAS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "twilio" / "simulator_schemas.json").read_text()
)


async def client_of(api: Api, run: Any) -> Client:
    client = Client(ACCOUNT_SID, await key_for(run.store))
    client.api.base_url = api.url
    return client


async def called(call: Callable[[], Any]) -> Any:
    return await asyncio.to_thread(call)


async def test_the_official_client_sends_finds_and_cancels(tmp_path: Path, wait_until: type_of_wait) -> None:
    async with whole(tmp_path) as (run, api):
        client = await client_of(api, run)
        body = "Grüße {{ literally }} & more"
        made = await called(lambda: client.messages.create(to=ADA, from_=SENDER, body=body))
        assert made.status in ("queued", "sending")  # the worker may be quicker than the answer
        assert (made.body, made.num_segments, made.direction) == (body, "1", "outbound-api")
        assert made.date_created is not None
        ours = id_of(made.sid)

        async def taken() -> Any:
            now = await called(client.messages(made.sid).fetch)
            return now if now.status != "queued" else None

        assert (await wait_until(taken)).status == "sending", "Twilio has it; more is not known yet"
        (accepted,) = await run.simulator.lines("accepted")
        assert (accepted["to"], accepted["body"]) == (ADA, body)

        async def written() -> bool:  # Twilio's answer is, a moment after it came
            return (await api.client.get(f"/v1/messages/{accepted['sid']}")).is_success

        await wait_until(written)
        by_twilios = await called(client.messages(accepted["sid"]).fetch)
        assert (by_twilios.to, by_twilios.body) == (ADA, body)
        assert (await api.client.get(f"/v1/messages/{accepted['sid']}")).json()["id"] == ours

        await run.store.run(pause_account("the test"))
        waiting = await called(lambda: client.messages.create(to=BOB, from_=SENDER, body="x"))
        stopped = await called(lambda: client.messages(waiting.sid).update(status="canceled"))
        assert stopped.status == "canceled"
        await run.store.run(resume_account())
        with pytest.raises(TwilioRestException) as late:
            await called(lambda: client.messages(made.sid).update(status="canceled"))
        assert (late.value.status, late.value.code) == (409, 30409)
        for _ in range(3):
            await called(lambda: client.messages.create(to=EVE, from_=SENDER, body="x"))
        listed = await called(lambda: client.messages.list(page_size=2))
        assert [message.to for message in listed] == [EVE, EVE, EVE, BOB, ADA]
        assert [m.sid for m in await called(lambda: client.messages.list(to=ADA))] == [made.sid]
        client.http_client.session.close()


@pytest.mark.slow
async def test_answers_and_refusals_are_twilios(tmp_path: Path) -> None:
    async with whole(tmp_path, workers=0) as (run, api):
        key = await key_for(run.store, Scope.MESSAGES_READ, Scope.MESSAGES_WRITE)
        auth = (ACCOUNT_SID, key)

        async def send(**form: Any) -> httpx.Response:
            return await api.client.post(f"{MESSAGES}.json", data=form, auth=auth)

        made = await send(To=ADA, From=SENDER, Body="x", ValidityPeriod="60")
        assert made.status_code == 201, made.text
        jsonschema.validate(made.json(), SCHEMAS["message"])
        page = await api.client.get(f"{MESSAGES}.json", params={"PageSize": 1}, auth=auth)
        jsonschema.validate(page.json(), SCHEMAS["message_page"])

        await run.store.run(opt_out([EVE], "test"))
        for form, code in (
            ({"From": SENDER, "Body": "x"}, 21604),
            ({"To": ADA, "Body": "x"}, 21603),
            ({"To": ADA, "From": SENDER}, 21619),
            ({"To": "12", "From": SENDER, "Body": "x"}, 21211),
            ({"To": ADA, "From": "+12 nobody", "Body": "x"}, 21212),
            ({"To": ADA, "From": SENDER, "Body": "x" * 1601}, 21617),
            ({"To": EVE, "From": SENDER, "Body": "x"}, 21610),
            ({"To": ADA, "From": SENDER, "Body": "x", "Colour": "red"}, 20001),
        ):
            refused = await send(**form)
            told = refused.json()
            assert (refused.status_code, told["code"], told["status"]) == (400, code, 400), told
            assert set(told) == {"code", "message", "more_info", "status"}

        for to, status in ((EVE, 400), (ADA, 201)):  # a refusal leaves the key free
            form = {"To": to, "From": SENDER, "Body": "x"}
            answer = await api.client.post(
                f"{MESSAGES}.json", data=form, auth=auth, headers={"Idempotency-Key": "freed"}
            )
            assert answer.status_code == status, answer.text

        async def get(path: str, **more: Any) -> tuple[int, int]:
            answer = await api.client.get(path, **{"auth": auth, **more})
            return answer.status_code, answer.json()["code"]

        sid = made.json()["sid"]
        assert await get(f"{MESSAGES}/SM{'0' * 32}.json") == (404, 20404)
        assert await get(f"{MESSAGES}/{sid}.json".replace(ACCOUNT_SID, "AC" + "1" * 32)) == (404, 20404)
        assert await get(f"{MESSAGES}/{sid}.json", auth=(ACCOUNT_SID, "nothing")) == (401, 20003)
        assert await get(f"{MESSAGES}/{sid}.json", auth=("AC" + "1" * 32, key)) == (401, 20003)
        reader = await key_for(run.store, Scope.BROADCASTS_READ)
        assert await get(f"{MESSAGES}/{sid}.json", auth=(ACCOUNT_SID, reader)) == (403, 20003)
        assert await get(f"{MESSAGES}/{sid}/Media.json") == (404, 20404)
        assert (await get(f"{MESSAGES}.json?PageToken=mine"))[0] == 400
