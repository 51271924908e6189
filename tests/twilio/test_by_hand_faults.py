"""Messages by hand where what answers is no Twilio, or only half of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from asgi_api import api_here
from faulty import Visit, answer
from faulty import serving as misbehaving
from serving import TESTER
from verifying import problem

from broadcaster.operations import audit
from broadcaster.operations import twilio_messages as acts
from broadcaster.simulator.config import ACCOUNT_SID
from broadcaster.twilio.wire import TwilioError, Wire

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

SM = "SM" + "0" * 32
AUTH = (ACCOUNT_SID, "simulator")


@pytest.mark.parametrize("status", ["520 Web Server Returned an Unknown Error", "429 Too Many Requests"])
async def test_what_stands_before_twilio_answers(store: Store, status: str) -> None:
    async def script(visit: Visit) -> None:
        await visit.reader.readuntil(b"\r\n\r\n")
        visit.send(answer(status, b"<html>", "Retry-After: 7"))

    async with (
        misbehaving(script) as (url, _),
        api_here(store, twilio_account_sid=ACCOUNT_SID, twilio_auth_token="x", twilio_api_base_url=url) as (
            api,
            _app,
        ),
    ):
        found = await api.get(f"/v1/twilio/messages/{SM}")
    assert problem(found) == (502, "twilio-failed")
    assert found.json()["twilio"]["status"] == int(status[:3])
    assert found.headers["Retry-After"] == "7"


async def test_a_change_that_may_have_been_made_is_in_the_audit(store: Store) -> None:
    async def script(visit: Visit) -> None:
        await visit.request()
        visit.send(answer("200 OK", b"<html>"))

    async with misbehaving(script) as (url, _), Wire(ACCOUNT_SID, AUTH, url) as wire:
        with pytest.raises(TwilioError):
            await acts.redact(store, wire, TESTER, SM)
    after, before = await audit.page(store)
    assert (after.what, after.target, before.new) == ("twilio-message.redact", SM, acts.ASKED)
    assert "unknown" in after.new
