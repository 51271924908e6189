"""Who is not on WhatsApp gets an SMS, the whole way: from the request to what Twilio is asked to send."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from asgi_api import api_here
from content_templates import FROM, VARIABLES, client, hx, settings, simulated
from dispatching import dispatching

from broadcaster.intake.fallbacks import Fallbacks
from broadcaster.ledger.callbacks import Status, write_statuses
from broadcaster.runtime import message_sender
from broadcaster.settings import Settings
from broadcaster.telemetry.metrics import Metrics
from workers.following import Follower

if TYPE_CHECKING:
    from conftest import type_of_wait

    from broadcaster.simulator.server import Simulator
    from broadcaster.store.connection import Store

SMS: Final = "+442071838750"
PEOPLE: Final = [f"+4479000000{n:02}" for n in range(6)]
ENDED: Final = ("delivered", "undelivered", "failed")


def order(**more: Any) -> dict[str, Any]:
    return {
        "from": FROM,
        "recipients": [
            {"to": f"whatsapp:{to}", "variables": {"name": f"N{n}"}} for n, to in enumerate(PEOPLE)
        ],
        "content_sid": hx("good"),
        "content_variables": VARIABLES | {"1": "{{ name }}"},
        "sms_fallback": {"from": SMS, "body": "{{ name }}, see you at 15:00."},
        **more,
    }


async def ended(store: Store, simulator: Simulator, bid: str) -> bool:
    """Take what Twilio says of the WhatsApp messages, as its callbacks would; whether all have ended."""
    async with client(simulator) as rest:
        found = [message async for message in rest.list_messages()]
    said = [
        Status(bid, "0.0", PEOPLE.index(m.to[9:]), 1, m.sid, m.status, m.error_code or 0)
        for m in found
        if m.to and m.to.startswith("whatsapp:") and m.status in ENDED
    ]
    await store.run(write_statuses(said))
    return len(said) == len(PEOPLE)


def sent(simulator: Simulator) -> dict[str, list[str]]:
    """Return the texts that went by SMS, by number."""
    found: dict[str, list[str]] = {}
    for message in simulator.world.messages:
        if not message.to.startswith("whatsapp:"):
            found.setdefault(message.to, []).append(message.body)
    return found


async def test_each_of_them_gets_one(store: Store, wait_until: type_of_wait) -> None:
    missing = {PEOPLE[1]: 63024, PEOPLE[4]: 63003}
    async with (
        simulated(not_on_whatsapp=missing, delivery_seconds=0.01) as simulator,
        api_here(store, **settings(simulator)) as (api, _),
    ):
        refused = await api.post("/v1/broadcasts", json=order(sms_fallback={"from": SMS}))
        assert refused.status_code == 422, "a template has no text that an SMS could have"
        made = await api.post("/v1/broadcasts", json=order())
        assert made.status_code == 202, made.text
        bid = made.json()["id"]
        chosen = Settings(**settings(simulator))
        async with message_sender(chosen, 4) as sender, client(simulator) as rest:
            follower = Follower(store, Metrics(), Fallbacks(store, chosen, rest.service_pool))
            async with dispatching(store, sender):

                async def completed() -> bool:
                    shown = (await api.get(f"/v1/broadcasts/{bid}")).json()
                    return bool(shown["state"] == "completed")

                for _ in range(2):
                    await wait_until(lambda: ended(store, simulator, bid))
                    await follower.round()
                await wait_until(lambda: len(sent(simulator)) == len(missing))
                await wait_until(completed)
        assert sent(simulator) == {
            PEOPLE[1]: ["N1, see you at 15:00."],
            PEOPLE[4]: ["N4, see you at 15:00."],
        }
        shown = (await api.get(f"/v1/broadcasts/{bid}")).json()
        assert (shown["total"], sum(shown["counts"].values())) == (6, 6)
        assert shown["fallbacks"]["total"] == 2
        parent = (await api.get(f"/v1/messages/{bid}.0.0.1")).json()
        assert (parent["state"], parent["code"], parent["fallback"]) == ("undelivered", 63024, "sms")
        child = (await api.get(f"/v1/messages/{parent['fallback_id']}")).json()
        assert (child["to"], child["sender"], child["fallback_of"]) == (PEOPLE[1], SMS, parent["id"])
        again = (await api.post(f"/v1/broadcasts/{bid}/retry")).json()
        assert (again["retried"], again["sms_instead"]) == (0, 2)


async def test_a_single_message_has_one_too(store: Store, wait_until: type_of_wait) -> None:
    async with (
        simulated(not_on_whatsapp={PEOPLE[1]: 63024}, delivery_seconds=0.01) as simulator,
        api_here(store, **settings(simulator)) as (api, _),
    ):
        about = {"from": FROM, "content_sid": hx("good"), "content_variables": VARIABLES}
        to = [{"to": f"whatsapp:{number}", "variables": {"name": "Ada"}} for number in PEOPLE]
        text = {"from": SMS, "body": "{{ name }}, see you at 15:00."}
        refused = await api.post("/v1/messages", json={**about, "to": to, "sms_fallback": {"from": SMS}})
        assert [error["pointer"] for error in refused.json()["errors"]] == ["/sms_fallback/body"]
        made = await api.post("/v1/messages", json={**about, "to": to, "sms_fallback": text})
        assert made.status_code == 202, made.text
        name = made.json()["messages"][1]["id"]
        chosen = Settings(**settings(simulator))
        async with message_sender(chosen, 4) as sender, client(simulator) as rest:
            fallbacks = Fallbacks(store, chosen, rest.service_pool, verified=rest.trial.known)
            follower = Follower(store, Metrics(), fallbacks)
            async with dispatching(store, sender):
                await wait_until(lambda: ended(store, simulator, name.split(".")[0]))
                await follower.round()
                await wait_until(lambda: bool(sent(simulator)))
                assert await ended(store, simulator, name.split(".")[0])
                await follower.round()
        assert sent(simulator) == {PEOPLE[1]: ["Ada, see you at 15:00."]}
        parent = (await api.get(f"/v1/messages/{name}")).json()
        assert (parent["state"], parent["code"], parent["fallback"]) == ("undelivered", 63024, "sms")
        child = (await api.get(f"/v1/messages/{parent['fallback_id']}")).json()
        assert (child["to"], child["sender"], child["fallback_of"]) == (PEOPLE[1], SMS, name)
