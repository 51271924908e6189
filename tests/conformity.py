"""Requests to Twilio, held against Twilio's own description of its API (`twilio/openapi/`).

Those files are what Twilio's OpenAPI files say about requests, without prose and answers. Where the originals
are at hand (`messages.openapi.json` and the others, in the folder that TWILIO_OPENAPI names),
`test_conformity.py` holds the one against the other.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote

import jsonschema  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FORM: Final = "application/x-www-form-urlencoded"
FOLDER: Final = Path(__file__).parent / "twilio" / "openapi"
#: Reads that Twilio documents, and whose OpenAPI files are not among ours.
ELSEWHERE: Final = (
    r"/2010-04-01/Accounts/AC[0-9a-f]{32}\.json",
    r"/2010-04-01/Accounts/AC[0-9a-f]{32}/(IncomingPhoneNumbers|OutgoingCallerIds|SMS/ShortCodes)\.json",
    r"/v1/Services/MG[0-9a-f]{32}/ChannelSenders",
    r"/v2/Channels/Senders",
)


@dataclass(frozen=True)
class Request:
    """One request as it was on the wire; `query` and `body` as they were encoded."""

    method: str
    path: str
    query: str
    content_type: str
    body: bytes


@cache
def operations() -> dict[str, dict[str, Any]]:
    """Return what may be asked, by path."""
    found: dict[str, dict[str, Any]] = {}
    for file in sorted(FOLDER.glob("*.json")):
        found |= json.loads(file.read_text())["paths"]
    return found


def is_elsewhere(request: Request) -> bool:
    """Whether it only reads something of which we have no description."""
    return request.method == "GET" and any(re.fullmatch(path, request.path) for path in ELSEWHERE)


def faults(request: Request) -> list[str]:
    """Return everything in which a request is not as Twilio describes it."""
    where = f"{request.method} {request.path}"
    found = _operation(request)
    if found is None:
        return [f"{where}: no such operation"]
    operation, in_path = found
    told: list[str] = []
    query = parse_qsl(request.query, keep_blank_values=True)
    told += _parameter_faults(operation["parameters"], query, in_path)
    told += _body_faults(operation["body"], request)
    return [f"{where}: {text}" for text in told]


def _operation(request: Request) -> tuple[dict[str, Any], dict[str, str]] | None:
    for path, methods in operations().items():
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+?)", re.escape(path))
        if (match := re.fullmatch(pattern, request.path)) and request.method.lower() in methods:
            return methods[request.method.lower()], match.groupdict()
    return None


def _parameter_faults(
    known: list[dict[str, Any]], query: list[tuple[str, str]], in_path: dict[str, str]
) -> Iterator[str]:
    schemas = {(p["in"], p["name"]): p for p in known}
    given = [("query", name, value) for name, value in query]
    given += [("path", name, unquote(value)) for name, value in in_path.items()]
    for place, name, value in given:
        if (place, name) not in schemas:
            yield f"no such {place} parameter: {name}"
        else:
            yield from _value_faults(name, [value], schemas[place, name]["schema"])
    named = {(place, name) for place, name, _ in given}
    yield from (
        f"{name} is missing"
        for (_, name), p in schemas.items()
        if p["required"] and (p["in"], name) not in named
    )


def _body_faults(known: dict[str, Any], request: Request) -> Iterator[str]:
    if not known:
        if request.body:
            yield "a body where none is taken"
        return
    content_type = request.content_type.partition(";")[0]
    if not request.body and not any(kind["required"] for kind in known.values()):
        return
    if content_type not in known:
        yield f"the body is {content_type or 'of no type'}, and should be {' or '.join(known)}"
        return
    shape = known[content_type]
    if content_type != FORM:
        return
    fields: dict[str, list[str]] = {}
    for name, value in parse_qsl(request.body.decode("ascii"), keep_blank_values=True, strict_parsing=True):
        fields.setdefault(name, []).append(value)
    yield from (f"{name} is missing" for name in shape["required"] if name not in fields)
    for name, values in fields.items():
        if name not in shape["properties"]:
            yield f"no such parameter: {name}"
        else:
            yield from _value_faults(name, values, shape["properties"][name])


def _value_faults(name: str, values: list[str], schema: dict[str, Any]) -> Iterator[str]:
    """Judge the values of one parameter; several are one of type array."""
    try:
        if schema.get("type") == "array":
            value: Any = [_read(text, schema.get("items", {})) for text in values]
        else:
            (text,) = values
            value = _read(text, schema)
    except ValueError as error:
        yield f"{name}: {error}"
        return
    validator = jsonschema.Draft202012Validator(schema, format_checker=_FORMATS)
    yield from (f"{name}: {wrong.message}" for wrong in validator.iter_errors(value))


def _read(text: str, schema: dict[str, Any]) -> Any:
    match schema.get("type"):
        case "integer":
            return int(text)
        case "number":
            return float(text)
        case "boolean":
            if text not in ("true", "false"):
                raise ValueError(f"{text!r} is neither true nor false")
            return text == "true"
        case "object" | None:
            return json.loads(text) if schema else text
    return text


def _fits(pattern: str) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value) is not None


_FORMATS: Final = jsonschema.FormatChecker(formats=())
_FORMATS.checkers = {
    "uri": (_fits(r"[a-z]+://[^\s/]+[^\s]*"), ()),
    "phone-number": (_fits(r"((whatsapp|messenger|rcs):)?\+?[0-9A-Za-z @._-]+"), ()),
    # RFC 3339; for filters by day Twilio takes a date alone
    "date-time": (_fits(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d))?"), ()),
}
