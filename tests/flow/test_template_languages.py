"""One template a language, the whole way: from an array of recipients to what Twilio is asked to send."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from asgi_api import api_here
from content_templates import FROM, TO, hx, settings, simulated

from broadcaster.ledger.outcomes import RetryPolicy
from broadcaster.runtime import message_sender
from broadcaster.settings import Settings
from broadcaster.store.ending import end
from broadcaster.telemetry.metrics import Metrics
from workers.dispatcher import Dispatcher
from workers.lease import Limits

if TYPE_CHECKING:
    from conftest import type_of_wait

    from broadcaster.simulator.server import Simulator
    from broadcaster.store.connection import Store


def person(number: int, language: str, name: str = "Ada") -> dict[str, Any]:
    return {"to": f"whatsapp:+1415555010{number}", "variables": {"language": language, "name": name}}


def order(*people: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "from": FROM,
        "recipients": list(people),
        "content_sids": {"de": hx("german"), "en": hx("good")},
        "language_column": "language",
        "content_variables": {"1": "{{ name }}", "2": "15:00"},
        **more,
    }


async def arrived(store: Store, simulator: Simulator, count: int, wait_until: type_of_wait) -> dict[str, str]:
    """Let a worker send until so many are at Twilio; return what each is told."""
    chosen = Settings(**settings(simulator))
    async with message_sender(chosen, 4) as sender:
        limits = Limits(concurrency=4, drain_seconds=5.0)
        dispatcher = Dispatcher(store, sender, limits, RetryPolicy(), Metrics())
        running = asyncio.create_task(dispatcher.run())
        try:
            await wait_until(lambda: len(simulator.world.messages) == count)
        finally:
            dispatcher.stop()
            await running
            await end([running])
    return {message.to: message.body for message in simulator.world.messages}


async def test_two_languages_to_an_array(store: Store, wait_until: type_of_wait) -> None:
    people = (person(1, "de"), person(2, "en", "Bob"), person(3, "DE_at", "Cy"), person(4, "fr", "Di"))
    async with simulated() as simulator, api_here(store, **settings(simulator)) as (api, _):
        asked = order(*people, content_sid=hx("good"))
        shown = (await api.post("/v1/broadcasts", json={**asked, "dry_run": True})).json()
        sids = [message["content_sid"] for message in shown["messages"]]
        assert sids == [hx("german"), hx("good"), hx("german")]
        made = await api.post("/v1/broadcasts", json=asked)
        assert made.status_code == 202, made.text
        told = await arrived(store, simulator, 4, wait_until)
    assert told == {
        people[0]["to"]: "Hallo Ada, bis 15:00.",
        people[1]["to"]: "Hi Bob, see you at 15:00.",
        people[2]["to"]: "Hallo Cy, bis 15:00.",
        people[3]["to"]: "Hi Di, see you at 15:00.",  # `content_sid` is for all others
    }


async def test_a_language_without_a_template_is_a_faulty_row(store: Store, wait_until: type_of_wait) -> None:
    people = (person(1, "de"), person(2, "fr"), person(3, ""), {"to": TO, "variables": {"name": "Eve"}})
    async with simulated() as simulator, api_here(store, **settings(simulator)) as (api, _):
        refused = await api.post("/v1/broadcasts", json=order(*people))
        assert refused.status_code == 422
        faults = {error["pointer"]: error["detail"] for error in refused.json()["errors"]}
        assert faults["/recipients/1"] == (
            "no template for the language 'fr'; there are templates for de, en"
        )
        assert faults.keys() == {"/recipients/1", "/recipients/2", "/recipients/3"}
        assert not (await api.get("/v1/broadcasts")).json()["data"]

        made = await api.post("/v1/broadcasts", json=order(*people, on_invalid="skip"))
        assert made.status_code == 202, made.text
        assert (made.json()["total"], made.json()["rejected"]) == (1, 3)
        rejects = (await api.get(f"/v1/broadcasts/{made.json()['id']}/rejects")).text
        assert "no template for the language" in rejects
        told = await arrived(store, simulator, 1, wait_until)
    assert told == {people[0]["to"]: "Hallo Ada, bis 15:00."}
