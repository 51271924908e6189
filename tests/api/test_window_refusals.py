"""WhatsApp's 24 hours over the API: what is refused, where, and what a request may say to it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from asgi_api import api_here
from loading import counts
from replying import write
from windowing import HOUR, PERSON, SENDER, Scene, person, scene

from broadcaster.domain.record import State
from broadcaster.simulator.config import ACCOUNT_SID, SERVICE_SID, TEMPLATE_SID

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

    from broadcaster.store.connection import Store

FALLBACK: Final = {"content_sid": TEMPLATE_SID, "content_variables": {"1": "{{ name or 'you' }}"}}
MESSAGES: Final = f"/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json"


@pytest.fixture
async def twilio(store: Store) -> AsyncIterator[Scene]:
    async with scene(store) as made:
        yield made


@pytest.fixture
async def api(twilio: Scene, store: Store) -> AsyncIterator[httpx.AsyncClient]:
    settings = {
        "twilio_account_sid": ACCOUNT_SID,
        "twilio_auth_token": "simulator",
        "twilio_api_base_url": twilio.world.url,
    }
    async with api_here(store, **settings) as (client, _):
        yield client


def faults(answer: httpx.Response) -> list[str]:
    """Return where a refused request is faulty; each fault must say what to do, in fields."""
    assert answer.status_code == 422, answer.text
    for error in answer.json()["errors"]:
        assert "in the last 24 hours" in error["detail"]
        assert "`fallback`" in error["detail"]
        assert "--" not in error["detail"]
    return [error["pointer"] for error in answer.json()["errors"]]


async def test_single_messages_follow_the_same_rule(
    api: httpx.AsyncClient, twilio: Scene, store: Store
) -> None:
    async def post(to: Any = PERSON, **more: Any) -> httpx.Response:
        return await api.post("/v1/messages", json={"from": SENDER, "to": to, "body": "hello", **more})

    assert faults(await post()) == ["/to"]
    assert faults(await post([person(1), person(2)])) == ["/to/0", "/to/1"]
    assert (await post(outside_window="send")).status_code == 202
    made = (await post(variables={"name": "Ada"}, fallback=FALLBACK)).json()["messages"]
    await twilio.wrote(person(1), HOUR)
    assert faults(await post(person(1))) == ["/to"], "who was just asked for isn't again"
    await twilio.wrote(person(3), HOUR)
    assert faults(await post([person(3), person(4)])) == ["/to/1"]
    assert (await post(person(3))).status_code == 202
    await write(store, "hello", person=PERSON, to=SENDER)
    assert (await post()).status_code == 202, "a reply that was reported opens it at once"
    stream = made[0]["id"].split(".")[0]
    await store.redis.delete(store.keys.plain(f"inbound:{SENDER}"))
    await twilio.work(stream)
    assert await counts(store, stream) == {State.ACCEPTED: 1}
    assert "template" in twilio.sent()
    (sent,) = [message for message in twilio.world.messages if message.content_sid]
    assert sent.body == "Hi Ada"
    shown = (await api.get(f"/v1/messages/{made[0]['id']}")).json()
    assert shown["fallback"] == "template"
    by_service = {"from": None, "messaging_service_sid": SERVICE_SID}
    assert faults(await post(**by_service)) == ["/to"]
    assert (await post("+14155550100", **by_service)).status_code == 202, "texts have no window"
    # who speaks to us as to Twilio hears its code
    form = {"To": person(5), "From": SENDER, "Body": "hello"}
    refused = await api.post(MESSAGES, data=form)
    assert (refused.status_code, refused.json()["code"]) == (400, 63016)
    template = {"To": person(5), "From": SENDER, "ContentSid": TEMPLATE_SID}
    assert (await api.post(MESSAGES, data=template)).status_code == 201
    await twilio.wrote(person(6), HOUR)
    assert (await api.post(MESSAGES, data=form | {"To": person(6)})).status_code == 201


async def test_a_list_says_which_rows(api: httpx.AsyncClient, twilio: Scene) -> None:
    order: dict[str, Any] = {"from": SENDER, "body": "hello", "recipients": [person(1), PERSON, person(2)]}
    await twilio.wrote(PERSON, HOUR)

    async def post(**more: Any) -> httpx.Response:
        return await api.post("/v1/broadcasts", json=order | more)

    fallback = FALLBACK | {"content_variables": {"1": "you"}}

    assert faults(await post()) == ["/recipients/0", "/recipients/2"]
    tried = (await post(dry_run=True)).json()
    assert (tried["refused"], tried["rejected"], tried["by_fallback"]) == (True, 2, 0)
    tried = (await post(dry_run=True, fallback=fallback)).json()
    assert (tried["refused"], tried["recipients"], tried["by_fallback"]) == (False, 3, 2)
    assert not tried["warnings"]
    tried = (await post(dry_run=True, outside_window="send")).json()
    assert (tried["refused"], tried["recipients"], tried["by_fallback"]) == (False, 3, 0)
    left_out = (await post(on_invalid="skip")).json()
    assert (left_out["total"], left_out["rejected"]) == (1, 2)
    assert (await post(fallback=fallback)).status_code == 202
    draft = (await api.post("/v1/broadcasts", json={**order, "recipients": None, "draft": True})).json()
    part = f"/v1/broadcasts/{draft['id']}/recipients"
    for people, status in ((order["recipients"], 422), ([PERSON], 200)):
        answer = await api.post(
            part, json={"recipients": people}, headers={"Idempotency-Key": f"part {len(people)}"}
        )
        assert answer.status_code == status, answer.text
