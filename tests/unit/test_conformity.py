"""What holds requests against Twilio's description finds what is wrong with them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from conformity import FOLDER, FORM, Request, faults

ACCOUNT = "AC" + "0" * 32
MESSAGES = f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
GOOD = {"To": "+14155550100", "From": "+14155550199", "Body": "hi"}


def create(pairs: Any, path: str = MESSAGES, kind: str = FORM) -> Request:
    return Request("POST", path, "", kind, urlencode(pairs, doseq=True).encode())


def test_a_good_request_has_no_fault() -> None:
    assert faults(create(GOOD)) == []
    assert faults(create({**GOOD, "MediaUrl": ["https://a.example/1", "https://a.example/2"]})) == []
    listed = urlencode({"To": "+14155550100", "DateSent>": "2026-11-21", "PageSize": 50})
    assert faults(Request("GET", MESSAGES, listed, "", b"")) == []


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (create({**GOOD, "Tags": "x"}), "no such parameter: Tags"),
        (create({"From": "+14155550199", "Body": "hi"}), "To is missing"),
        (create({**GOOD, "ValidityPeriod": "soon"}), "ValidityPeriod: invalid literal"),
        (create({**GOOD, "SmartEncoded": "True"}), "SmartEncoded: 'True' is neither true nor false"),
        (create({**GOOD, "ScheduleType": "later"}), "ScheduleType: 'later' is not one of ['fixed']"),
        (create({**GOOD, "ContentSid": "HX1"}), "ContentSid: 'HX1' is too short"),
        (create({**GOOD, "SendAt": "tomorrow"}), "SendAt: 'tomorrow' is not a 'date-time'"),
        (create({**GOOD, "Body": ["a", "b"]}), "Body: too many values"),
        (create(GOOD, kind="application/json"), "the body is application/json"),
        (create(GOOD, path="/2010-04-01/Messages.json"), "no such operation"),
        (Request("GET", MESSAGES, "Status=sent", "", b""), "no such query parameter: Status"),
        (Request("PUT", MESSAGES, "", "", b""), "no such operation"),
        (Request("GET", MESSAGES.replace(ACCOUNT, "AC1"), "", "", b""), "AccountSid: 'AC1' is too short"),
    ],
)
def test_what_is_wrong_is_found(request_: Request, told: str) -> None:
    assert any(told in fault for fault in faults(request_)), faults(request_)


def _name(parameter: dict[str, str], whole: Any) -> str:
    found = whole
    for part in parameter.get("$ref", "").lstrip("#/").split("/"):
        found = found[part] if part else parameter
    return str(found["name"])


@pytest.mark.skipif("TWILIO_OPENAPI" not in os.environ, reason="needs Twilio's files: TWILIO_OPENAPI=FOLDER")
@pytest.mark.parametrize("name", ["messages", "messaging", "content", "verify"])
def test_our_excerpt_is_what_twilio_says(name: str) -> None:
    ours = json.loads((FOLDER / f"{name}.json").read_text())["paths"]
    file = json.loads((Path(os.environ["TWILIO_OPENAPI"]) / f"{name}.openapi.json").read_text())
    whole = file["paths"]
    assert ours.keys() == whole.keys()
    for path, operations in ours.items():
        for method, operation in operations.items():
            theirs = whole[path][method]
            named = {_name(p, file) for p in theirs.get("parameters", [])}
            assert {p["name"] for p in operation["parameters"]} == named
            for kind, shape in operation["body"].items():
                schema = theirs["requestBody"]["content"][kind]["schema"]
                if "properties" in schema:
                    assert shape["properties"].keys() == schema["properties"].keys()
                    assert shape["required"] == schema.get("required", [])
