"""What the account allows is asked before anything is queued: a trial's verified numbers, senders' limits."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from asgi_api import api_here

from broadcaster.reporting.health_twilio import check_twilio
from broadcaster.simulator.config import ACCOUNT_SID, SimulatorConfig, TemplateConfig, WhatsAppSenderConfig
from broadcaster.simulator.server import running_simulator
from broadcaster.twilio.caller_ids import verified_numbers
from broadcaster.twilio.rest import TwilioRest
from broadcaster.twilio.whatsapp_senders import whatsapp_senders

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx
    import pytest

    from broadcaster.simulator.server import Simulator
    from broadcaster.store.connection import Store

SMS: Final = "+14155550100"
TOKEN: Final = "0123456789abcdef0123456789abcdef"
WHATSAPP: Final = "whatsapp:+14155550180"
TEMPLATE: Final = "HX" + "a" * 32
VERIFIED: Final = ("+14155550111", "+14155550112")
LIST: Final = ["+14155550111", "+14155550113", "+14155550112", "+14155550114"]


def known(simulator: Simulator, token: str = TOKEN) -> dict[str, Any]:
    """Return the settings of who sends through it."""
    return {
        "twilio_account_sid": ACCOUNT_SID, "twilio_auth_token": token, "twilio_api_base_url": simulator.url,
    }  # fmt: skip


@asynccontextmanager
async def over_api(store: Store, **config: Any) -> AsyncIterator[httpx.AsyncClient]:
    """The API, with a simulated account behind."""
    templates = {TEMPLATE: TemplateConfig(body="Hi", variables={})}
    simulated = SimulatorConfig(token=TOKEN, templates=templates, **config)
    async with running_simulator(simulated) as simulator, api_here(store, **known(simulator)) as (api, _):
        yield api


async def asked(store: Store, order: dict[str, Any], **config: Any) -> dict[str, Any]:
    async with over_api(store, **config) as api:
        answer = await api.post("/v1/broadcasts", json=order)
        return {"status": answer.status_code, **answer.json()}


def order(**more: Any) -> dict[str, Any]:
    return {"from": SMS, "body": "Hi", "recipients": LIST, **more}


async def test_a_trial_account_skips_who_is_not_verified(store: Store) -> None:
    trial: dict[str, Any] = {"account_type": "Trial", "verified": VERIFIED}
    looked = await asked(store, order(dry_run=True), **trial)
    assert (looked["recipients"], looked["unverified"]) == (2, 2)
    assert looked["first_unverified"] == ["+14155550113", "+14155550114"]
    made = await asked(store, order(), **trial)
    assert made["status"] == 202
    assert (made["total"], made["counts"]["skipped"]) == (4, 2)
    assert [c for c in made["codes"] if c["state"] == "skipped"] == [
        {"state": "skipped", "code": 16, "count": 2}
    ]


async def test_a_draft_that_is_filled_in_parts_skips_them_too(store: Store) -> None:
    async with over_api(store, account_type="Trial", verified=VERIFIED) as api:
        draft = (await api.post("/v1/broadcasts", json={"from": SMS, "body": "Hi", "draft": True})).json()
        told = await api.post(
            f"/v1/broadcasts/{draft['id']}/recipients",
            json={"recipients": LIST},
            headers={"Idempotency-Key": "one"},
        )
    assert (told.json()["recipients"], told.json()["unverified"]) == (2, 2)


async def test_a_full_account_writes_to_anybody(store: Store) -> None:
    looked = await asked(store, order(dry_run=True), verified=VERIFIED)
    assert (looked["recipients"], looked["unverified"], looked["warnings"]) == (4, 0, [])


async def test_a_trial_account_sends_from_no_name(store: Store) -> None:
    sms = {"from": "Acme", "body": "Hi"}
    refused = await asked(
        store, order(**{"from": "Acme"}, sms_fallback=sms), account_type="Trial", verified=VERIFIED
    )
    assert refused["status"] == 422
    assert {error["pointer"] for error in refused["errors"]} == {"/from", "/sms_fallback/from"}
    assert "21267" in refused["errors"][0]["detail"]


async def test_people_on_whatsapp_are_not_skipped(store: Store) -> None:
    """Whether they must be verified isn't written down anywhere."""
    people = [f"whatsapp:{number}" for number in LIST]
    looked = await asked(
        store,
        {"from": WHATSAPP, "content_sid": TEMPLATE, "recipients": people, "dry_run": True},
        account_type="Trial",
        verified=VERIFIED,
    )
    assert (looked["recipients"], looked["unverified"]) == (4, 0)


async def test_what_a_key_may_not_read_is_a_warning(store: Store) -> None:
    config = SimulatorConfig(token=TOKEN, account_type="Trial", verified=VERIFIED)
    async with (
        running_simulator(config) as simulator,
        api_here(store, **known(simulator, "wrong" * 8)) as (api, _),
    ):
        looked = (await api.post("/v1/broadcasts", json=order(dry_run=True))).json()
    assert looked["recipients"] == 4
    (warning,) = looked["warnings"]
    assert "can't be told: this API key may not read the account" in warning


LIMITED: Final[list[tuple[WhatsAppSenderConfig | None, str | None]]] = [
    (WhatsAppSenderConfig(messaging_limit="3 Customers/24hr"), "may begin to write to 3 people"),
    (WhatsAppSenderConfig(messaging_limit="4 Customers/24hr"), None),
    (WhatsAppSenderConfig(messaging_limit="Unlimited"), None),
    (WhatsAppSenderConfig(messaging_limit="soon"), "isn't known: Twilio says 'soon'"),
    (WhatsAppSenderConfig(status="OFFLINE"), "is OFFLINE as a WhatsApp sender"),
    (WhatsAppSenderConfig(status="ONLINE:UPDATING"), None),
    (None, "is none of this account's WhatsApp senders"),
]


async def test_a_list_beyond_what_its_sender_may_do_is_told_of(store: Store) -> None:
    names = [f"whatsapp:+1415555018{n}" for n in range(len(LIMITED))]
    senders = {name: sender for name, (sender, _) in zip(names, LIMITED, strict=True) if sender}
    people = [f"whatsapp:{number}" for number in LIST]
    async with over_api(store, whatsapp_senders=senders) as api:
        for name, (_, told) in zip(names, LIMITED, strict=True):
            request = {"from": name, "content_sid": TEMPLATE, "recipients": people}
            for how in ("dry_run", "draft"):
                answer = (await api.post("/v1/broadcasts", json=request | {how: True})).json()
                found = [text for text in answer["warnings"] if name in text]
                assert len(found) == (told is not None), answer
                assert all(str(told) in text for text in found)
        # free text goes to those only who have written: that begins nothing
        text = {"from": names[0], "body": "Hi", "recipients": people, "dry_run": True}
        answer = (await api.post("/v1/broadcasts", json=text)).json()
        assert not [text for text in answer["warnings"] if "may begin" in text]


async def test_pages_are_read_to_their_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broadcaster.twilio.caller_ids._PAGE_SIZE", 2)
    monkeypatch.setattr("broadcaster.twilio.whatsapp_senders._PAGE_SIZE", 2)
    numbers = tuple(f"+1415555{n:04}" for n in range(5))
    config = SimulatorConfig(
        token=TOKEN,
        verified=numbers,
        whatsapp_senders={f"whatsapp:{n}": WhatsAppSenderConfig() for n in numbers},
    )
    async with (
        running_simulator(config) as simulator,
        TwilioRest(ACCOUNT_SID, (ACCOUNT_SID, TOKEN), simulator.url) as rest,
    ):
        assert await verified_numbers(rest) == set(numbers)
        found = await whatsapp_senders(rest)
        assert set(found) == {f"whatsapp:{n}" for n in numbers}
        assert found[f"whatsapp:{numbers[4]}"].people.people == 10_000
        # and the doctor says how they are
        checks = await check_twilio(rest, {"TWILIO_WHATSAPP_FROM": f"whatsapp:{numbers[0]}"}, base_url=None)
    told = {check.name: check.found for check in checks}
    assert told[f"whatsapp {numbers[0]}"] == "ONLINE, quality HIGH, messaging limit 10K Customers/24hr"
