"""One transcript of everything that Twilio's users expect, and each request in it as Twilio describes it.

Everything is asked of a real API process, sent by a real worker, and passes a recorder on its way to the
simulated Twilio: `conformity.py` holds what was recorded against Twilio's OpenAPI files.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

import zxingcpp
from conformity import Request, faults, is_elsewhere
from deployment import Deployment, deployment
from rasterising import rasterised
from recorder import Recorder, recording
from serving import ITSELF, Api, serving

from broadcaster.simulator.config import SERVICE_SID
from broadcaster.simulator.verify_settings import VERIFY_SID

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SENDER: Final = "+14155550199"
WHATSAPP: Final = "whatsapp:+14155550199"
ANN, BEN, CLEO, DAN, EVE = (f"+1415555010{i}" for i in range(5))
ON_WHATSAPP: Final = f"whatsapp:{ANN}"
GERMAN, ENGLISH = "HX" + "d" * 32, "HX" + "e" * 32
PLACEHOLDERS: Final = {"1": "name", "2": "level"}
CONFIG: Final[dict[str, Any]] = {
    "senders": {SENDER: 100.0, WHATSAPP: 100.0},
    "templates": {
        GERMAN: {"body": "Hallo {{1}}, Pegel {{2}}", "variables": PLACEHOLDERS, "language": "de"},
        ENGLISH: {"body": "Hi {{1}}, level {{2}}", "variables": PLACEHOLDERS, "language": "en"},
    },
    "whatsapp_window": True,
    "delivery_seconds": 0,
}


class Transcript:
    """What is asked, step by step; `wire` has what Twilio was asked."""

    def __init__(self, run: Deployment, api: Api, wire: Recorder) -> None:
        self.run = run
        self.http = api.client
        self.wire = wire

    async def ask(self, method: str, path: str, *, status: int, **given: Any) -> Any:
        """Ask our API for something; return its JSON."""
        answer = await self.http.request(method, path, **given)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.content else None

    async def sent(self, **message: Any) -> dict[str, Any]:
        """Send one message; return it as Twilio accepted it."""
        taken = await self.ask("POST", "/v1/messages", status=202, json=message)
        (found,) = await self.message(taken["messages"][0]["id"], lambda one: one["sid"] is not None)
        return found

    async def message(self, message: str, ready: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """Wait until a message of ours is so; return what the simulator has under its SID."""
        async with asyncio.timeout(20):
            while True:
                found = await self.ask("GET", f"/v1/messages/{message}", status=200)
                if ready(found):
                    break
                await asyncio.sleep(0.02)
        return [row for row in await self.run.simulator.lines("accepted") if row["sid"] == found["sid"]]

    async def until(self, broadcast: str, **counts: int) -> dict[str, Any]:
        """Wait until a broadcast counts so many in these states."""
        async with asyncio.timeout(20):
            while True:
                found: dict[str, Any] = await self.ask("GET", f"/v1/broadcasts/{broadcast}", status=200)
                if all(found["counts"][state] == n for state, n in counts.items()):
                    return found
                await asyncio.sleep(0.02)

    async def control(self, path: str, **body: Any) -> Any:
        """Ask the simulator itself."""
        answer = await self.run.simulator.http.request(
            "POST" if body else "GET", f"/_simulator/{path}", json=body or None
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def form(self, sid: str, row: dict[str, Any]) -> dict[str, list[str]]:
        """Return the form with which a message was made."""
        forms = [parse_qs(one.body.decode()) for one in self.wire.requests if _is_create(one)]
        (found,) = [form for form in forms if form["To"] == [row["to"]] and _says(form, row)]
        assert sid
        return found


def _is_create(request: Request) -> bool:
    return request.method == "POST" and request.path.endswith("/Messages.json")


def _says(form: dict[str, list[str]], row: dict[str, Any]) -> bool:
    return "Body" not in form or form["Body"] == [row["body"]]


async def test_the_transcript(tmp_path: Path) -> None:
    async with deployment(tmp_path, workers=0, **CONFIG) as run, recording(run.simulator.url) as wire:
        ours = {n: v for n, v in run.environment.items() if n.startswith(("TWILIO_", "BROADCASTER_"))}
        ours |= {
            "TWILIO_API_BASE_URL": wire.url,
            "TWILIO_PHONE_NUMBER": SENDER,
            "TWILIO_WHATSAPP_FROM": WHATSAPP,
            "TWILIO_VERIFY_SERVICE_SID": VERIFY_SID,
            "BROADCASTER_SECRET_KEY": "k" * 32,
        }
        answering = {"BROADCASTER_AUTO_REPLY": "We read this at 8."}
        async with serving(run.store, BROADCASTER_PUBLIC_URL=ITSELF, **ours, **answering) as api:
            public = {"BROADCASTER_PUBLIC_URL": api.environment["BROADCASTER_PUBLIC_URL"]}
            run.start_worker(**ours, **public)
            transcript = Transcript(run, api, wire)
            await transcript.control("config", inbound_url=f"{api.url}/webhooks/twilio/inbound")
            for part in (sms, reply, whatsapp, templates, scheduled, by_hand, verified, linked):
                await part(transcript)
        assert run.workers[0].poll() is None
    unlike = [fault for request in wire.requests if not is_elsewhere(request) for fault in faults(request)]
    assert unlike == []
    assert {_operation(request) for request in wire.requests} >= {
        "POST Messages.json",
        "GET Messages.json",
        "GET Messages/SID.json",
        "POST Messages/SID.json",
        "DELETE Messages/SID.json",
        "GET ContentAndApprovals",
        "GET Content/SID",
        "GET Content/SID/ApprovalRequests",
        "GET Services/SID/PhoneNumbers",
        "GET Services/SID",
        "POST Services/SID",
        "POST Services/SID/Verifications",
        "POST Services/SID/VerificationCheck",
    }


def _operation(request: Request) -> str:
    parts = request.path.strip("/").split("/")
    words = ["SID" if len(part.removesuffix(".json")) == 34 else part for part in parts]
    kept = words[3:] if words[0] == "2010-04-01" else words[1:]
    ending = ".json" if parts[-1].endswith(".json") and words[-1] == "SID" else ""
    return f"{request.method} {'/'.join(kept)}{ending}"


async def sms(transcript: Transcript) -> None:
    row = await transcript.sent(to=ANN, body="The river rises.")
    assert (row["to"], row["from"], row["body"]) == (ANN, SENDER, "The river rises.")


async def reply(transcript: Transcript) -> None:
    """Free text on WhatsApp waits for its person to write; then they do, and are answered."""
    refused = await transcript.http.post("/v1/messages", json={"to": ON_WHATSAPP, "body": "Hello?"})
    assert refused.status_code == 422, refused.text
    written = {"from": ON_WHATSAPP, "to": WHATSAPP, "body": "Is the bridge open?"}
    heard = await transcript.control("inbound", **written)
    assert heard["status"] == 200
    assert [one["body"] for one in heard["replies"]] == ["We read this at 8."]
    listed = await transcript.ask("GET", "/v1/replies", status=200, params={"from": ON_WHATSAPP})
    (one,) = listed["data"]
    assert (one["from"], one["to"], one["body"], one["answered"]) == (
        *(ON_WHATSAPP, WHATSAPP),
        *("Is the bridge open?", "auto"),
    )


async def whatsapp(transcript: Transcript) -> None:
    text = "*Yes*, _both lanes_, ~not~ ```now```"
    assert (await transcript.sent(to=ON_WHATSAPP, body=text))["body"] == text
    url = "https://media.example/map.png"
    row = await transcript.sent(to=ON_WHATSAPP, body="The map", media_urls=[url])
    assert transcript.form(row["sid"], row)["MediaUrl"] == [url]
    place = {"latitude": 47.3769, "longitude": 8.5417, "label": "Main station"}
    row = await transcript.sent(to=ON_WHATSAPP, body="Shelter", location=place)
    assert transcript.form(row["sid"], row)["PersistentAction"] == ["geo:47.3769,8.5417|Main station"]


async def templates(transcript: Transcript) -> None:
    """A template with variables, in two languages, to an array of people who never wrote."""
    listed = await transcript.ask("GET", "/v1/templates", status=200)
    assert {one["sid"]: one["status"] for one in listed["data"]} == {
        GERMAN: "approved",
        ENGLISH: "approved",
    }
    people = [(BEN, "Ben", "de"), (CLEO, "Cleo", "en"), (DAN, "Dan", "de-CH")]
    order = {
        "name": "levels",
        "content_sids": {"de": GERMAN, "en": ENGLISH},
        "language_column": "language",
        "content_variables": {"1": "{{ name }}", "2": "3.20 m"},
        "recipients": [
            {"to": f"whatsapp:{to}", "variables": {"name": name, "language": language}}
            for to, name, language in people
        ],
    }
    made = await transcript.ask("POST", "/v1/broadcasts", status=202, json=order)
    await transcript.until(made["id"], queued=0, sending=0, in_doubt=0)
    texts = {row["to"]: row["body"] for row in await transcript.run.simulator.lines("accepted")}
    assert [texts[f"whatsapp:{to}"] for to, _, _ in people] == [
        "Hallo Ben, Pegel 3.20 m",
        "Hi Cleo, level 3.20 m",
        "Hallo Dan, Pegel 3.20 m",
    ]
    unspoken = {
        **order,
        "recipients": [{"to": f"whatsapp:{EVE}", "variables": {"name": "E", "language": "fr"}}],
    }
    refused = await transcript.http.post("/v1/broadcasts", json=unspoken)
    assert refused.status_code == 422
    assert "no template for the language 'fr'" in refused.text


async def scheduled(transcript: Transcript) -> None:
    """By us until its time, and by Twilio; a cancel reaches both."""
    at = (datetime.now(UTC) + timedelta(hours=2)).replace(microsecond=0).isoformat()
    order = {"body": "Evacuate at noon.", "recipients": [EVE], "schedule_at": at}
    ours = await transcript.ask("POST", "/v1/broadcasts", status=202, json=order)
    assert ours["state"] == "scheduled"
    canceled = await transcript.ask("POST", f"/v1/broadcasts/{ours['id']}/cancel", status=200)
    assert canceled["state"] == "canceled"
    theirs = {**order, "scheduler": "twilio", "messaging_service_sid": SERVICE_SID}
    made = await transcript.ask("POST", "/v1/broadcasts", status=202, json=theirs)
    await transcript.until(made["id"], accepted=1)
    rows = [row for row in await transcript.run.simulator.lines("accepted") if row["to"] == EVE]
    assert [row["status"] for row in rows] == ["scheduled"]
    form = transcript.form(rows[0]["sid"], rows[0])
    assert form["ScheduleType"] == ["fixed"]
    assert datetime.fromisoformat(form["SendAt"][0]) == datetime.fromisoformat(at)
    await transcript.ask("POST", f"/v1/broadcasts/{made['id']}/cancel", status=200)
    await transcript.until(made["id"], skipped=1)
    rows = [row for row in await transcript.run.simulator.lines("accepted") if row["to"] == EVE]
    assert [row["status"] for row in rows] == ["canceled"]


async def by_hand(transcript: Transcript) -> None:
    """Twilio's own resource: list, fetch, redact, delete, and cancel what waits there."""
    listed = await transcript.ask(
        "GET",
        "/v1/twilio/messages",
        status=200,
        params={"to": ANN, "from": SENDER, "sent_on": time.strftime("%Y-%m-%d", time.gmtime()), "limit": 20},
    )
    (found,) = listed["data"]
    assert found["body"] == "The river rises."
    path = f"/v1/twilio/messages/{found['sid']}"
    assert (await transcript.ask("GET", path, status=200))["sid"] == found["sid"]
    refused = await transcript.ask("POST", f"{path}/redact", status=422, json={"body": "Something else"})
    assert "only an empty body" in str(refused)
    assert (await transcript.ask("POST", f"{path}/redact", status=200))["body"] == ""
    await transcript.ask("DELETE", path, status=204)
    await transcript.ask("GET", path, status=404)
    at = (datetime.now(UTC) + timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M:%SZ")
    options = {"SendAt": at, "ScheduleType": "fixed"}
    row = await transcript.sent(to=EVE, body="later", messaging_service_sid=SERVICE_SID, options=options)
    gone = await transcript.ask("POST", f"/v1/twilio/messages/{row['sid']}/cancel", status=200)
    assert gone["status"] == "canceled"


async def verified(transcript: Transcript) -> None:
    changed = {"friendly_name": "Flood watch", "code_length": 8}
    await transcript.ask("PATCH", "/v1/verify-services/default", status=200, json=changed)
    start = {"to": ANN, "channel": "sms", "locale": "de", "custom_friendly_name": "Owl Shop"}
    made = await transcript.ask("POST", "/v1/verifications", status=201, json=start)
    assert made["status"] == "pending"
    (row,) = await transcript.control(f"verifications?To=%2B{ANN[1:]}")
    assert len(row["code"]) == 8
    assert "Owl Shop" in row["sent"][0]["text"]
    for code, status, valid in (("0" * 8, "pending", False), (row["code"], "approved", True)):
        told = await transcript.ask(
            "POST", "/v1/verifications/check", status=200, json={"to": ANN, "code": code}
        )
        assert (told["status"], told["valid"]) == (status, valid)


async def linked(transcript: Transcript) -> None:
    params = {"sender": WHATSAPP, "text": "START Überflutung & Sturm"}
    listed = await transcript.ask("GET", "/v1/opt-in-links", status=200, params=params)
    picture = await transcript.http.get("/v1/opt-in-links/qr", params=params)
    assert picture.headers["content-type"] == "image/svg+xml"
    read = zxingcpp.read_barcode(rasterised(picture.content))
    assert read is not None
    assert read.text == listed["data"][0]["link"]
