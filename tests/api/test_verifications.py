"""Verifications over HTTP, against the simulated Twilio: once for each key, checked, limited, refused."""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from serving import bearer, key_for
from verifying import SERVICE, TO, VE, desk, problem

from broadcaster.domain.api_keys import Scope
from broadcaster.operations import audit
from broadcaster.simulator.verify_settings import VERIFY_SID
from broadcaster.telemetry.logs import configure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.store.connection import Store

BLOCKED = "+14155550109"


async def forget_turns(store: Store) -> None:
    """Leave it as a process does that dies before it has kept its answer."""
    for turn in await store.redis.keys(store.keys.plain("once:*")):
        await store.redis.delete(turn)


async def test_a_code_is_sent_once_for_a_key_and_checked(store: Store) -> None:
    async with desk(store) as at_desk:
        tags = {"shop": "7"}
        first = await at_desk.post(key="one", to=TO, locale="de", tags=tags)
        assert first.status_code == 201, first.text
        made = first.json()
        assert (made["status"], made["channel"], made["valid"]) == ("pending", "sms", False)
        assert (made["to"], len(made["sends"]), made["service_sid"]) == (TO, 1, VERIFY_SID)
        assert first.headers["location"] == f"/v1/verifications/{made['sid']}"
        again = await at_desk.post(key="one", locale="de", tags=tags, to=TO)
        assert (again.content, again.headers["idempotent-replayed"]) == (first.content, "true")
        names = [name for name in await store.redis.keys("*") if await store.redis.type(name) == b"hash"]
        kept = [await store.redis.hgetall(name) for name in names]
        assert TO not in repr(kept), "nobody's number is kept"
        await forget_turns(store)
        assert (await at_desk.post(key="one", to=TO, locale="de", tags=tags)).json() == made
        await forget_turns(store)
        other = await at_desk.post(key="one", to=TO, locale="fr", tags=tags)
        assert problem(other) == (422, "idempotency-key-reused")
        assert len(at_desk.known()["sent"]) == 1

        shown = await at_desk.client.get(f"/v1/verifications/{made['sid']}")
        assert shown.json() == made
        code = at_desk.known()["code"]
        wrong = await at_desk.post("/check", to=TO, code=code[::-1] + "0")
        assert (wrong.status_code, wrong.json()["valid"], wrong.json()["status"]) == (200, False, "pending")
        right = await at_desk.post("/check", sid=made["sid"], code=code)
        assert (right.status_code, right.json()["valid"], right.json()["status"]) == (200, True, "approved")
        for path, body in (("/check", {"to": TO, "code": code}), (f"/{made['sid']}/cancel", {})):
            gone = await at_desk.post(path, **body)
            assert problem(gone) == (404, "not-found")
            assert "approved or canceled, or has expired" in gone.json()["detail"]
            assert TO not in gone.text
        assert len(at_desk.asked) == 6


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """All that the process logs, as it would."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    stream = io.StringIO()
    configure("debug", "json", stream=stream)
    yield stream
    root.handlers[:], level = before
    root.setLevel(level)
    structlog.reset_defaults()


async def test_custom_codes_are_kept_nowhere(store: Store, lines: io.StringIO) -> None:
    async with desk(store) as at_desk:
        made = (await at_desk.post(key="k", to=TO, channel="whatsapp", custom_code="884422")).json()
        assert made["channel"] == "whatsapp"
        another = await at_desk.post(key="k", to=TO, channel="whatsapp", custom_code="884423")
        assert problem(another) == (422, "idempotency-key-reused")
        assert not (await at_desk.post("/check", to=TO, code="884421")).json()["valid"]
        assert (await at_desk.post(f"/{made['sid']}/approve")).json()["status"] == "approved"
        made = (await at_desk.post(to=TO)).json()
        assert (await at_desk.post(f"/{made['sid']}/cancel")).json()["status"] == "canceled"
        assert problem(await at_desk.post(f"/{VE}/approve")) == (404, "not-found")
        entries = await audit.page(store, what="verification")
        assert [(one.what, one.old, one.new) for one in reversed(entries)] == [
            ("verification.approve", "pending", "approved"),
            ("verification.cancel", "pending", "canceled"),
        ]
        shown = lines.getvalue()
        assert "verification.started" in shown
        assert "+1415•••0100" in shown
        assert "8844" not in shown
        assert TO not in shown
        kept = [await store.redis.dump(name) for name in await store.redis.keys("*")]
        assert not any(b"8844" in raw for raw in kept)
        assert not any("8844" in request.path + request.query for request in at_desk.asked)


async def test_faults_refusals_and_limits_say_what_and_when_to_ask_again(store: Store) -> None:
    async with desk(store, verify_recipients={BLOCKED: 60410}) as at_desk:

        async def told(path: str, **body: Any) -> set[str]:
            answer = await at_desk.post(path, **body)
            assert problem(answer) == (422, "invalid")
            assert '"98"' not in answer.text
            return {str(one.get("pointer", one.get("parameter"))) for one in answer.json()["errors"]}

        assert await told(
            "", to="12", channel="pigeon", custom_code="98", locale="!", tags={"a": "b" * 200}
        ) == {"/to", "/channel", "/custom_code", "/locale", "/tags"}
        assert await told("/check", code="1") == {"/to", "/code"}
        assert await told("/VE1/cancel") == {"sid"}
        assert await told("", to=TO, service_sid="x") == {"/service_sid"}
        assert at_desk.asked == []

        for _ in range(2):
            limited = await at_desk.post(to=TO, rate_limits={"user": "7"})
        assert problem(limited) == (429, "twilio-limited")
        assert (limited.json()["limit"], limited.json()["code"]) == ("user", 20429)
        assert 0 < int(limited.headers["retry-after"]) <= 60
        for _ in range(5):
            limited = await at_desk.post(to=TO)
        assert problem(limited) == (429, "twilio-limited")
        assert (limited.json()["limit"], limited.json()["code"]) == ("send_attempts", 60203)
        assert 500 < int(limited.headers["retry-after"]) <= 600
        for _ in range(6):
            limited = await at_desk.post("/check", to=TO, code="0000")
        assert (limited.json()["limit"], limited.json()["code"]) == ("check_attempts", 60202)

        refused = await at_desk.post(key="one", to=BLOCKED)
        assert problem(refused) == (422, "twilio-refused")
        assert (refused.json()["code"], "fraud" in refused.json()["detail"]) == (60410, True)
        assert (await at_desk.post(key="one", to="+14155550101")).status_code == 201
        unknown = await at_desk.post(to="+14155550102", service_sid="VA" + "9" * 32)
        assert problem(unknown) == (404, "not-found")
        assert "Verify service" in unknown.json()["detail"]


async def test_services_are_made_shown_and_changed_by_admins(store: Store) -> None:
    async with desk(store, verify_services={VERIFY_SID: SERVICE}) as at_desk:
        client = at_desk.client
        made = await client.post("/v1/verify-services", json={"friendly_name": "Owl", "code_length": 8})
        assert (made.status_code, made.json()["code_length"]) == (201, 8)
        assert made.json()["only_by_support"] == {"code_valid_seconds": 600, "sends": 5, "checks": 5}
        where = made.headers["location"]
        changed = await client.patch(where, json={"lookup_enabled": True, "skip_sms_to_landlines": True})
        assert changed.json()["skip_sms_to_landlines"]
        assert (await client.get(where)).json() == changed.json()
        own = (await client.get("/v1/verify-services/default")).json()
        assert (await client.get("/v1/verify-services")).json()["data"] == [own, changed.json()]
        assert (own["sid"], own["custom_code_enabled"]) == (VERIFY_SID, True)
        wrong = await client.patch(where, json={"code_length": 11, "friendly_name": "Call 12345"})
        assert {one["pointer"] for one in wrong.json()["errors"]} == {"/code_length", "/friendly_name"}
        assert problem(await client.get(f"/v1/verify-services/VA{'9' * 32}")) == (404, "not-found")
        verify = bearer(await key_for(store, Scope.VERIFY))
        assert (await client.get(where, headers=verify)).status_code == 200
        assert (await client.patch(where, json={}, headers=verify)).status_code == 403
    entries = await audit.page(store, what="verify_service")
    assert [(one.what, one.old, one.new) for one in reversed(entries)] == [
        ("verify_service.create", None, {"friendly_name": "Owl", "code_length": 8}),
        (
            "verify_service.update",
            {"lookup_enabled": False, "skip_sms_to_landlines": False},
            {"lookup_enabled": True, "skip_sms_to_landlines": True},
        ),
    ]
