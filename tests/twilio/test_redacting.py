"""A person's messages redacted at Twilio: all of them, patiently, with every failure told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faulty import SID, Visit, answer, serving

from broadcaster.domain.failures import Kind
from broadcaster.domain.forgotten import addresses_of
from broadcaster.operations import at_twilio
from broadcaster.operations.at_twilio import redact_person
from broadcaster.simulator.config import ACCOUNT_SID, SimulatorConfig
from broadcaster.simulator.server import running_simulator
from broadcaster.twilio.forms import FormTemplate
from broadcaster.twilio.rest import TwilioRest
from broadcaster.twilio.send import MessageSender

if TYPE_CHECKING:
    import pytest

AUTH = (ACCOUNT_SID, "simulator")
PERSON, OTHER = "+14155550100", "+14155550101"


async def test_only_the_person_s_messages_are_emptied() -> None:
    async with running_simulator(SimulatorConfig()) as simulator:
        async with MessageSender(ACCOUNT_SID, AUTH, simulator.url) as sender:
            for to in (PERSON, OTHER, f"whatsapp:{PERSON}", PERSON):
                from_ = "whatsapp:+14155238886" if to.startswith("w") else "+14155550006"
                form = FormTemplate([("From", from_)]).encode(to, "the text")
                assert (await sender.post(form)).kind is Kind.ACCEPTED
        async with TwilioRest(ACCOUNT_SID, AUTH, simulator.url) as rest:
            done = await redact_person(rest, addresses_of(PERSON), every_seconds=0)
            assert (done.found, done.redacted, done.failed) == (3, 3, 0)
            bodies = {(m.to, m.body) async for m in rest.list_messages()}
            again = await redact_person(rest, addresses_of(PERSON), every_seconds=0)
    assert bodies == {(PERSON, ""), (OTHER, "the text"), (f"whatsapp:{PERSON}", "")}
    assert (again.found, again.redacted, again.failed) == (3, 0, 0)


async def test_what_fails_is_told_and_the_rest_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_twilio, "_REST_SECONDS", 0.0)
    asked: list[str] = []
    kinds = {"1": "scheduled", "2": "sending", "3": "delivered", "4": "received"}
    sids = {SID[:-1] + last: status for last, status in kinds.items()}

    async def twilio(visit: Visit) -> None:
        while True:
            head = (await visit.reader.readuntil(b"\r\n\r\n")).decode()
            verb, path, _ = head.split("\r\n")[0].split(" ")
            if verb == "GET":
                whose = [sid for sid in sids if (sids[sid] == "received") == ("From=" in path)]
                rows = [
                    f'{{"sid":"{sid}","status":"{sids[sid]}","body":"the text","num_media":"1"}}'
                    for sid in whose
                ]
                listed = ",".join(rows) if "whatsapp" not in path else ""
                visit.send(answer("200 OK", f'{{"messages":[{listed}]}}'.encode()))
                continue
            length = int(head.lower().partition("content-length: ")[2].split("\r\n")[0])
            sid, form = path[-39:-5], (await visit.reader.readexactly(length)).decode()
            asked.append(f"{sid[-1]} {form}")
            if sids[sid] == "sending":
                body = b'{"code":20009,"message":"not finished","status":409}'
                visit.send(answer("409 Conflict", body))
            elif sids[sid] == "delivered" and asked.count(asked[-1]) == 1:
                visit.send(answer("429 Too Many Requests", b'{"code":20429,"message":"slow","status":429}'))
            else:
                visit.send(answer("200 OK", f'{{"sid":"{sid}"}}'.encode()))

    async with serving(twilio) as (url, _), TwilioRest("AC0", ("AC0", "x"), url) as rest:
        done = await redact_person(rest, addresses_of(PERSON), every_seconds=0)
    assert asked == ["1 Status=canceled", "1 Body=", "2 Body=", "3 Body=", "3 Body=", "4 Body="]
    assert (done.found, done.redacted, done.canceled, done.media, done.failed) == (4, 3, 1, 4, 1)
    (failure,) = done.failures
    assert (failure["sid"], failure["code"]) == (SID[:-1] + "2", 20009)


async def test_a_list_that_cannot_be_read_is_a_failure() -> None:
    async with TwilioRest("AC0", ("AC0", "x"), "http://127.0.0.1:9") as rest:
        done = await redact_person(rest, addresses_of(PERSON), every_seconds=0)
    assert (done.found, done.failed) == (0, 4)
    assert {failure["sid"] for failure in done.failures} == {None}
    assert PERSON not in str(done.summary())
