"""Templates are checked at Twilio before anything is queued: approved, of the right category, filled in.

The table that the issue asks for: each row is an order over the API, with the simulated Content API behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from asgi_api import api_here

from broadcaster.simulator.config import ACCOUNT_SID, SimulatorConfig, TemplateConfig
from broadcaster.simulator.server import running_simulator

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

    from broadcaster.simulator.server import Simulator
    from broadcaster.store.connection import Store

FROM: Final = "whatsapp:+14155550199"
TO: Final = "whatsapp:+14155550100"
CONSENT: Final = {"source": "webform", "at": "2026-01-31"}


def hx(name: str) -> str:
    """Return a template's SID that begins with a word in hexadecimal letters."""
    return f"HX{name.encode().hex()[:32]:0<32}"


def template(body: str = "Hi {{1}}, see you at {{2}}.", **fields: Any) -> TemplateConfig:
    return TemplateConfig(body=body, **{"variables": {"2": "14:00"}, "friendly_name": "visit", **fields})


TEMPLATES: Final = {
    "good": template(),
    "german": template("Hallo {{1}}, bis {{2}}.", language="de"),
    "swiss": template("Hoi {{1}}, bis {{2}}.", language="de_CH", friendly_name="visit"),
    "short": template("Servus {{1}}.", language="de", variables={}),
    "pending": template(status="pending"),
    "received": template(status="received"),
    "unsubmitted": template(status="unsubmitted", category=""),
    "rejected": template(status="rejected", rejection_reason="INVALID_FORMAT"),
    "paused": template(status="paused"),
    "disabled": template(status="disabled"),
    "offer": template("{{1}}, buy one, get two at {{2}}", category="MARKETING"),
    "code": TemplateConfig(types={"whatsapp/authentication": {"actions": []}}, category="AUTHENTICATION"),
    "buttons": TemplateConfig(types={"twilio/call-to-action": {"body": "Hi"}}, status="unsubmitted"),
}
VARIABLES: Final = {"1": "Ada", "2": "15:00"}


def order(name: str, **more: Any) -> dict[str, Any]:
    content = {"content_sid": hx(name), "content_variables": VARIABLES}
    return {"from": FROM, "recipients": [TO], **content, **more}


def free_text(fallback: dict[str, Any]) -> dict[str, Any]:
    return {"from": FROM, "recipients": [TO], "body": "Hi", "fallback": fallback}


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    config = SimulatorConfig(templates={hx(name): one for name, one in TEMPLATES.items()})
    async with running_simulator(config) as running:
        yield running


@pytest.fixture
async def api(simulator: Simulator, store: Store) -> AsyncIterator[httpx.AsyncClient]:
    settings = {
        "twilio_account_sid": ACCOUNT_SID,
        "twilio_auth_token": "simulator",
        "twilio_api_base_url": simulator.url,
    }
    async with api_here(store, **settings) as (client, _):
        yield client


def errors(answer: httpx.Response) -> dict[str, str]:
    """Return the faults of a refusal by their pointers."""
    assert answer.status_code == 422, answer.text
    return {error["pointer"]: error["detail"] for error in answer.json()["errors"]}


REFUSED: Final[dict[str, tuple[dict[str, Any], dict[str, str]]]] = {
    "missing": (order("no such"), {"/content_sid": "has no template"}),
    "pending": (order("pending"), {"/content_sid": "WhatsApp is looking at it: wait"}),
    "received": (order("received"), {"/content_sid": "not approved yet, it was submitted"}),
    "unsubmitted": (order("unsubmitted"), {"/content_sid": "never submitted to WhatsApp"}),
    "rejected": (
        order("rejected"),
        {"/content_sid": "rejected by WhatsApp (INVALID_FORMAT): make a new one"},
    ),
    "paused": (order("paused"), {"/content_sid": "paused by WhatsApp"}),
    "disabled": (order("disabled"), {"/content_sid": "disabled by WhatsApp"}),
    "marketing in utility": (order("offer"), {"/content_sid": "of the category MARKETING, this is utility"}),
    "marketing in an emergency": (
        order("offer", purpose="emergency"),
        {"/content_sid": "use a template of UTILITY, or send it with the purpose marketing"},
    ),
    "utility in marketing": (
        order("good", purpose="marketing", consent=CONSENT),
        {"/content_sid": "of the category UTILITY, this is marketing"},
    ),
    "a code in utility": (
        order(
            "code", content_variables={"1": "{{ code }}"}, recipients=[{"to": TO, "variables": {"code": 1}}]
        ),
        {"/content_sid": "of the category AUTHENTICATION"},
    ),
    "unknown variable": (
        order("good", content_variables={**VARIABLES, "3": "x", "a/b": "y"}),
        {
            "/content_variables/3": "has no variable 3: it takes 1, 2",
            "/content_variables/a~1b": "no variable",
        },
    ),
    "missing variable": (
        order("good", content_variables={"2": "15:00"}),
        {"/content_variables/1": "needs variable 1, which has no default"},
    ),
    "empty variable": (
        order("good", content_variables={"1": "  ", "2": "x"}),
        {"/content_variables/1": "content variable 1 is empty: give it a value"},
    ),
    "empty variable of a fallback": (
        free_text({"content_sid": hx("good"), "content_variables": {"1": ""}}),
        {"/fallback/content_variables/1": "variable 1 is empty: give it a value"},
    ),
    "line breaks": (
        order("good", content_variables={"1": "a\nb", "2": "a      b"}),
        {"/content_variables/1": "line break", "/content_variables/2": "five spaces"},
    ),
    "long variable": (
        order("good", content_variables={"1": "x" * 1601, "2": "b"}),
        {"/content_variables/1": "1,601 characters, Twilio takes 1,600"},
    ),
    "languages": (
        order(
            "good",
            content_sids={"de": hx("rejected"), "fr": hx("no such"), "en": hx("pending")},
            language_column="language",
            recipients=[{"to": TO, "variables": {"language": "de"}}],
        ),
        {
            "/content_sids/de": "rejected",
            "/content_sids/fr": "has no template",
            "/content_sids/en": "not approved yet",
        },
    ),
    "fallback": (
        free_text({"content_sid": hx("paused"), "content_variables": {"2": "x", "9": "y"}}),
        {
            "/fallback/content_sid": "paused",
            "/fallback/content_variables/1": "needs variable 1",
            "/fallback/content_variables/9": "has no variable 9",
        },
    ),
    "all at once": (
        order("offer", content_variables={"3": "x"}),
        {"/content_sid": "MARKETING", "/content_variables/1": "needs", "/content_variables/3": "has no"},
    ),
}


@pytest.mark.parametrize("how", [{}, {"draft": True}, {"dry_run": True}])
async def test_what_is_refused(how: dict[str, bool], api: httpx.AsyncClient) -> None:
    """Nothing is queued, as a broadcast, a draft or a dry run; each fault has its place."""
    for case, (asked, expected) in REFUSED.items():
        found = errors(await api.post("/v1/broadcasts", json={**asked, **how}))
        assert found.keys() == expected.keys(), (case, found)
        for pointer, words in expected.items():
            assert words in found[pointer], case
    assert (await api.get("/v1/broadcasts")).json()["data"] == []


TAKEN: Final[dict[str, tuple[dict[str, Any], list[str]]]] = {
    "approved": (order("good"), []),
    "marketing with consent": (order("offer", purpose="marketing", consent=CONSENT), []),
    "a code": (order("code", content_variables={"1": "123456"}, purpose="authentication"), []),
    "an emergency": (order("good", purpose="emergency"), []),
    "the default": (
        order("good", content_variables={"1": "Ada"}),
        ["gets the template's default: 2 (14:00)"],
    ),
    "sms needs no approval": (
        order("rejected", **{"from": "+14155550199", "recipients": ["+14155550100"]}),
        [],
    ),
    "two languages": (
        order(
            "good",
            content_sids={"de": hx("german"), "de-CH": hx("swiss"), "fr": hx("good")},
            language_column="language",
            recipients=[{"to": TO, "variables": {"language": "de-CH"}}],
        ),
        [f"the template for fr, {hx('good')}, is in en"],
    ),
    "one language takes fewer variables": (
        order(
            "good",
            content_sids={"de": hx("short")},
            language_column="language",
            recipients=[{"to": TO, "variables": {"language": "it"}}],
        ),
        [],
    ),
}


async def test_what_is_taken(api: httpx.AsyncClient) -> None:
    for case, (asked, expected) in TAKEN.items():
        made = await api.post("/v1/broadcasts", json=asked)
        assert made.status_code == 202, (case, made.text)
        warnings = [text for text in made.json()["warnings"] if "template" in text]
        assert len(warnings) == len(expected), (case, warnings)
        for words, warning in zip(expected, warnings, strict=True):
            assert words in warning, case
