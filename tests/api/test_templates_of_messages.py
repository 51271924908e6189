"""Single messages are refused for their templates as broadcasts are, at no cost to a burst of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from unittest.mock import AsyncMock

from asgi_api import api_here
from content_templates import FROM, SANDBOX, TO, decide, errors, hx, settings, simulated, single

from broadcaster.api.once import Turn
from broadcaster.twilio.content import Templates

if TYPE_CHECKING:
    import pytest

    from broadcaster.store.connection import Store

SINGLES: Final[dict[str, tuple[dict[str, Any], dict[str, str]]]] = {
    "approved": (single("good"), {}),
    "missing": (single("no such"), {"/content_sid": "has no template"}),
    "pending": (single("pending"), {"/content_sid": "not approved yet"}),
    "rejected": (single("rejected"), {"/content_sid": "INVALID_FORMAT"}),
    "category": (single("offer"), {"/content_sid": "MARKETING"}),
    "unsubmitted, in answer to somebody": (single("unsubmitted"), {}),
    "unsubmitted, of a type that needs approval": (
        single("buttons", content_variables={}),
        {"/content_sid": "never submitted"},
    ),
    "a place, in answer to somebody": (single("place", content_variables={}), {}),
    "a line break in one person's value": (
        single("good", content_variables={"1": "{{ n }}", "2": "x"}, variables={"n": "12 High St\nLondon"}),
        {"/variables": "variable 1 has a line break"},
    ),
    "a line break in another's": (
        {
            "to": [{"to": TO, "variables": {"n": "a"}}, {"to": TO[:-1] + "1", "variables": {"n": "a\tb"}}],
            "from": FROM,
            "content_sid": hx("good"),
            "content_variables": {"1": "{{ n }}"},
        },
        {"/to/1/variables": "variable 1 has a line break, a tab"},
    ),
    "a line break by SMS": (
        single("good", "+14155550100", **{"from": "+14155550199"}, content_variables={"1": "a\nb"}),
        {},
    ),
    "the sandbox's own": (single("no such", **{"from": SANDBOX}), {}),
    "wrong variables": (
        single("good", content_variables={"3": "x"}),
        {"/content_variables/1": "needs variable 1", "/content_variables/3": "has no variable 3"},
    ),
    "unsubmitted, to stand in where the window is closed": (
        {"to": TO, "from": FROM, "body": "Hi", "fallback": {"content_sid": hx("unsubmitted")}},
        {"/fallback/content_sid": "never submitted", "/fallback/content_variables/1": "needs variable 1"},
    ),
    "pending by SMS": (single("pending", "+14155550100", **{"from": "+14155550199"}), {}),
}


async def test_which_are_refused(store: Store) -> None:
    async with simulated() as simulator, api_here(store, **settings(simulator)) as (api, _):
        for case, (asked, expected) in SINGLES.items():
            answer = await api.post("/v1/messages", json=asked)
            if not expected:
                assert answer.status_code == 202, (case, answer.text)
                continue
            found = errors(answer)
            assert found.keys() == expected.keys(), (case, found)
            for pointer, words in expected.items():
                assert words in found[pointer], case
        sent = (await api.get("/v1/messages", params={"to": TO})).json()["data"]
        assert len(sent) == 4  # those that were taken


async def test_what_is_queued_already_is_not_refused(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer was lost, and the template paused meanwhile: the same request gets the same answer."""
    async with simulated() as simulator, api_here(store, **settings(simulator)) as (api, app):
        key = {"Idempotency-Key": "once"}
        with monkeypatch.context() as patch:
            patch.setattr(Turn, "keep", AsyncMock(side_effect=lambda answer, _: answer))
            first = await api.post("/v1/messages", json=single("good"), headers=key)
        assert first.status_code == 202, first.text
        decide(simulator, "good", status="paused")
        twilio = app.state.parts.twilio
        twilio.templates = Templates(twilio)  # some seconds later
        again = await api.post("/v1/messages", json=single("good"), headers=key)
        assert (again.status_code, again.json()) == (202, first.json())
        assert errors(await api.post("/v1/messages", json=single("good"))).keys() == {"/content_sid"}


async def test_a_burst_asks_once_for_some_seconds(store: Store) -> None:
    async with simulated() as simulator, api_here(store, **settings(simulator)) as (api, _):
        for _ in range(3):
            assert (await api.post("/v1/messages", json=single("good"))).status_code == 202
        assert simulator.world.requests == 2  # the template and its approval
        decide(simulator, "good", status="paused")
        assert (await api.post("/v1/messages", json=single("good"))).status_code == 202


async def test_the_sandbox_is_known_as_the_sender_of_the_settings(store: Store) -> None:
    async with simulated() as simulator:
        for sender, status in ((SANDBOX, 202), (FROM, 422)):
            here = {**settings(simulator), "twilio_whatsapp_from": sender}
            async with api_here(store, **here) as (api, _):
                order = single("no such") | {"from": None}
                assert (await api.post("/v1/messages", json=order)).status_code == status
