"""Templates of the simulated Content API, one of each kind, and what it takes to ask for them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from broadcaster.simulator.config import ACCOUNT_SID, SimulatorConfig, TemplateConfig
from broadcaster.simulator.server import running_simulator
from broadcaster.twilio.rest import TwilioRest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx

    from broadcaster.simulator.server import Simulator

FROM: Final = "whatsapp:+14155550199"
SANDBOX: Final = "whatsapp:+14155238886"
TO: Final = "whatsapp:+14155550100"


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
    "place": TemplateConfig(types={"twilio/location": {"label": "Here"}}, status="unsubmitted"),
    "buttons": TemplateConfig(types={"twilio/call-to-action": {"body": "Hi"}}, status="unsubmitted"),
}
VARIABLES: Final = {"1": "Ada", "2": "15:00"}


@asynccontextmanager
async def simulated(**fields: Any) -> AsyncIterator[Simulator]:
    """Give a simulator that has all these templates."""
    templates = {hx(name): one for name, one in TEMPLATES.items()}
    async with running_simulator(SimulatorConfig(templates=templates, **fields)) as running:
        yield running


def settings(simulator: Simulator) -> dict[str, Any]:
    """Return the settings of who sends through it."""
    return {
        "twilio_account_sid": ACCOUNT_SID,
        "twilio_auth_token": "simulator",
        "twilio_api_base_url": simulator.url,
    }


def client(simulator: Simulator) -> TwilioRest:
    """Return our client of its API."""
    return TwilioRest(ACCOUNT_SID, (ACCOUNT_SID, "simulator"), simulator.url)


def decide(simulator: Simulator, name: str, **fields: Any) -> None:
    """Change a template, as Twilio or WhatsApp may at any moment; with no fields delete it."""
    templates = dict(simulator.world.config.templates)
    before = templates.pop(hx(name))
    if fields:
        templates[hx(name)] = replace(before, **fields)
    simulator.world.configure(replace(simulator.world.config, templates=templates))


def single(name: str, to: str = TO, **more: Any) -> dict[str, Any]:
    """Return the order of one message."""
    return {"to": to, "from": FROM, "content_sid": hx(name), "content_variables": VARIABLES, **more}


def errors(answer: httpx.Response) -> dict[str, str]:
    """Return the faults of a refusal by their pointers."""
    assert answer.status_code == 422, answer.text
    return {error["pointer"]: error["detail"] for error in answer.json()["errors"]}
