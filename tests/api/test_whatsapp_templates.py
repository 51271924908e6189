"""Templates are checked at Twilio before anything is queued: approved, of the right category, filled in.

The table that the issue asks for: each row is an order over the API, with the simulated Content API behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest
from asgi_api import api_here
from content_templates import FROM, SANDBOX, TO, VARIABLES, client, errors, hx, settings, simulated, single

from broadcaster.domain.content import Content
from broadcaster.domain.purpose import Purpose
from broadcaster.operations.template_checks import check_templates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

    from broadcaster.store.connection import Store
    from broadcaster.twilio.rest import TwilioRest

CONSENT: Final = {"source": "webform", "at": "2026-01-31"}


def order(name: str, **more: Any) -> dict[str, Any]:
    content = {"content_sid": hx(name), "content_variables": VARIABLES}
    return {"from": FROM, "recipients": [TO], **content, **more}


def free_text(fallback: dict[str, Any]) -> dict[str, Any]:
    return {"from": FROM, "recipients": [TO], "body": "Hi", "fallback": fallback}


@pytest.fixture
async def api(store: Store) -> AsyncIterator[httpx.AsyncClient]:
    async with simulated() as simulator, api_here(store, **settings(simulator)) as (client, _):
        yield client


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


async def test_what_is_refused(api: httpx.AsyncClient) -> None:
    """Nothing is queued, as a broadcast, a draft or a dry run; each fault has its place."""
    for case, (asked, expected) in REFUSED.items():
        found = errors(await api.post("/v1/broadcasts", json=asked))
        assert found.keys() == expected.keys(), (case, found)
        for pointer, words in expected.items():
            assert words in found[pointer], case
        for how in ({"draft": True}, {"dry_run": True}):
            assert errors(await api.post("/v1/broadcasts", json={**asked, **how})) == found, (case, how)
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
        ["variable 2 goes to every language, and the template for de doesn't take it"],
    ),
    "the sandbox's own": (
        order("no such", **{"from": SANDBOX}),
        ["the sandbox takes only templates that Twilio has given it: this account has no template"],
    ),
    "one of ours in the sandbox": (order("pending", **{"from": SANDBOX}), ["is looking at it"]),
}


async def test_what_is_taken(api: httpx.AsyncClient) -> None:
    for case, (asked, expected) in TAKEN.items():
        made = await api.post("/v1/broadcasts", json=asked)
        assert made.status_code == 202, (case, made.text)
        warnings = [text for text in made.json()["warnings"] if "template" in text]
        assert len(warnings) == len(expected), (case, warnings)
        for words, warning in zip(expected, warnings, strict=True):
            assert words in warning, case


async def test_what_cannot_be_asked_is_a_warning(store: Store) -> None:
    """The key may not read templates: nobody knows, so it may go."""
    async with (
        simulated(denied={"/v1/Content": 20003}) as simulator,
        api_here(store, **settings(simulator)) as (api, _),
    ):
        made = await api.post("/v1/broadcasts", json=order("rejected"))
        assert made.status_code == 202, made.text
        assert [text for text in made.json()["warnings"] if "could not be checked at Twilio" in text]
        assert (await api.post("/v1/messages", json=single("rejected"))).status_code == 202


async def test_trouble_at_twilio_is_a_warning() -> None:
    content = Content(content_sid=hx("rejected"), content_variables=VARIABLES)

    async def warned(twilio: TwilioRest) -> str:
        found = await check_templates(twilio.templates, content, Purpose.UTILITY, whatsapp=True)
        assert not found.faults
        (warning,) = found.warnings
        return warning

    for code, words in ((20429, "20429"), (20500, "20500"), (20403, "20403")):
        async with simulated(denied={"/v1/Content": code}) as simulator, client(simulator) as twilio:
            assert words in await warned(twilio)
    async with client(simulator) as twilio:  # nobody listens there any more
        assert "could not be checked at Twilio: 127.0.0.1" in await warned(twilio)


async def test_without_credentials_it_is_said_that_nobody_looked(store: Store) -> None:
    async with api_here(store) as (api, _):
        told = (await api.post("/v1/broadcasts", json=order("rejected", dry_run=True))).json()["warnings"]
        assert [text for text in told if "the templates were not looked at" in text]


async def test_a_templates_text_given_as_a_body(api: httpx.AsyncClient) -> None:
    """It is free text all the same: whoever sends it is told which template says so."""
    texts = {"Hi {{ name }},  see you at {{time}}.": hx("good"), "Hi {{ name }}, see you soon.": None}
    person = {"to": TO, "variables": {"name": "Ada", "time": "15:00"}}
    for body, sid in texts.items():
        asked = {
            "from": FROM,
            "body": body,
            "recipients": [person],
            "outside_window": "send",
            "dry_run": True,
        }
        told = (await api.post("/v1/broadcasts", json=asked)).json()["warnings"]
        assert [sid in text for text in told if "text of template" in text] == ([True] if sid else [])
