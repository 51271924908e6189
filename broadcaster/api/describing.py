"""What FastAPI can't know of our description: how keys are shown, every problem answer, links, events out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from broadcaster.api import twilio_description
from broadcaster.api.gate import TWILIO_PREFIX
from broadcaster.api.links import link
from broadcaster.api.once import HEADER, LONGEST
from broadcaster.api.problems import MEDIA_TYPE, PROBLEMS
from broadcaster.api.webhooks_out import webhooks
from broadcaster.domain.api_keys import SCOPE_WORDS

if TYPE_CHECKING:
    from fastapi import FastAPI

_METHODS: Final = ("get", "put", "post", "delete", "patch")
_ABOUT: Final = """\
Broadcasts of SMS, MMS and WhatsApp through Twilio: a list goes in, each recipient gets the message once.

**Keys.** `Authorization: Bearer bc_live_…`, made by `broadcaster keys create`. Each operation names the scope
that it needs; writing does not include reading, `admin` is everything. A key has a pace: `RateLimit` headers
say how much of it is left.

**Errors** are problems of RFC 9457, `application/problem+json`; `errors` has each fault with a JSON pointer
into the body, a parameter, or a line of a list. `type` leads to a page that says what to do.

**Lists** come in pages: `limit`, and `cursor`, which is `next` of the page before.

**Numbers** in a path or query are taken with `+`, `%2B`, a space, or none of them. Times are in unix seconds.

**Idempotency-Key** makes a POST that creates something safe to send again for a day.
"""
_TAGS: Final = {
    "broadcasts": "One content to many recipients.",
    "messages": "Single messages, and what became of each.",
    "like Twilio": "Twilio's own Messages API, for whatever speaks to Twilio today.",
    "Twilio's messages": "Messages of the Twilio account, whoever sent them, as Twilio has them.",
    "senders": "What messages come from: pace, pauses.",
    "opt-outs": "Who must not be written to.",
    "replies": "What people wrote back.",
    "verifications": "Codes by Twilio Verify: sent, checked.",
    "opt-in links": "Links and QR codes by which people write first.",
    "recipients": "One person: all that is known of them, and forgetting them.",
    "dead letters": "What will not be sent, and why.",
    "everything": "The whole installation.",
    "workers": "The processes that send.",
    "events": "Events sent to you, by the Standard Webhooks specification.",
    "templates": "Twilio's content templates, and what WhatsApp says of them.",
    "audit": "Who changed what.",
    "health": "For probes and Prometheus.",
}
#: Operations that take no request without an Idempotency-Key, and all that take one (once.py).
NEEDED: Final = frozenset({"add_recipients"})
ONCE: Final = frozenset(
    {
        *("create_broadcast", "add_recipients", "retry_broadcast", "send_messages", "create_event_endpoint"),
        *("start_verification", "create_verify_service"),
        *("add_opt_outs", "replay_dead_letters", "discard_dead_letters", "twilio_create_message"),
        "create_event_endpoint",
    }
)


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the description of `app` (OpenAPI 3.1), made once."""
    if app.openapi_schema is None:
        app.openapi_schema = _described(app)
    return app.openapi_schema


def _described(app: FastAPI) -> dict[str, Any]:
    described = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=_ABOUT,
        routes=app.routes,
        servers=[{"url": "/", "description": "This server"}],
    )
    components = described["components"]
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)
    for name, examples in _examples().items():
        if name in components["schemas"]:
            components["schemas"][name]["examples"] = examples
    components["schemas"] |= {"Problem": _PROBLEM, **twilio_description.SCHEMAS}
    components["responses"] = {_name(status): _answer(status) for status in _ANSWERS}
    components["securitySchemes"] = _SCHEMES
    components["parameters"] = {"IdempotencyKey": _KEY, "NeededIdempotencyKey": {**_KEY, "required": True}}
    operations: dict[str, dict[str, Any]] = {}
    for path, item in described["paths"].items():
        for method in _METHODS:
            if method in item:
                operations[item[method]["operationId"]] = item[method]
                _complete(path, item[method])
    link(operations)
    used = {tag for operation in operations.values() for tag in operation.get("tags", ())}
    described["tags"] = [{"name": name, "description": text} for name, text in _TAGS.items() if name in used]
    described["webhooks"] = webhooks()
    return described


def _examples() -> dict[str, Any]:
    """Return the examples of our models, whole: FastAPI leaves out what is null in them."""
    found: dict[str, Any] = {}
    models: list[type[BaseModel]] = [BaseModel]
    while models:
        model = models.pop()
        models += model.__subclasses__()
        extra = model.model_config.get("json_schema_extra")
        if (
            isinstance(extra, dict)
            and "examples" in extra
            and model.__module__.startswith("broadcaster.api.")
        ):
            found[model.__name__] = extra["examples"]
    return found


def _complete(path: str, operation: dict[str, Any]) -> None:
    """Give an operation its summary, its security and every answer it may get."""
    operation["summary"] = operation["operationId"].replace("_", " ").capitalize()
    if operation["operationId"] in ONCE:
        key = "NeededIdempotencyKey" if operation["operationId"] in NEEDED else "IdempotencyKey"
        operation.setdefault("parameters", []).append({"$ref": f"#/components/parameters/{key}"})
    if path.startswith(TWILIO_PREFIX):
        twilio_description.complete(operation)
        return
    responses = operation["responses"]
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]
    for status in _statuses(path, operation) - {int(s) for s in responses if s.isdigit()}:
        responses[str(status)] = {}
    for status, response in responses.items():
        if not status.isdigit() or int(status) < 400:  # noqa: PLR2004 - HTTP's bound
            continue
        own: dict[str, Any] = {name: text for name, text in response.items() if name == "description"}
        responses[status] = {"$ref": f"#/components/responses/{_name(int(status))}", **own}
    operation["responses"] = dict(sorted(responses.items()))
    operation.setdefault("security", [])


def _statuses(path: str, operation: dict[str, Any]) -> set[int]:
    """Return the problems that an operation may answer beside its own."""
    found: set[int] = set()
    parameters = operation.get("parameters", ())
    if operation.get("security"):
        found |= {401, 403, 429, 503}
    if parameters:
        found.add(422)
    if "{" in path:
        found.add(404)
    if "requestBody" in operation:
        found |= {400, 408, 413, 415, 422}
    if operation["operationId"] in ONCE:
        found |= {400, 409, 422}
    return found


_SCHEMES: Final = {
    "key": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "bc_live_ID_SECRET",
        "description": "A key with the scope that the operation names. Scopes:\n\n"
        + "\n".join(f"- `{scope.value}`: {words}" for scope, words in SCOPE_WORDS.items()),
    },
    "twilio": {
        "type": "http",
        "scheme": "basic",
        "description": "The account's SID as the name, a key of ours as the password.",
    },
}
_TEXT: Final = {"type": "string"}
_KEY: Final = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "Any text, another for each new request: sent again with the same one, the request is not "
    "carried out again but answered as before (`Idempotent-Replayed: true`). Kept for a day.",
    "schema": {"type": "string", "minLength": 1, "maxLength": LONGEST, "pattern": "^[!#-~]([ -~]*[!-~])?$"},
    "example": "3f6c1c7e-5d0f-4c1b-9a55-0e9a1c0d7b42",
}
_PROBLEM: Final = {
    "title": "Problem",
    "description": "What went wrong (RFC 9457).",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {**_TEXT, "description": "Where it is explained.", "examples": ["/problems/invalid"]},
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": {**_TEXT, "description": "What went wrong here, for people."},
        "state": {**_TEXT, "description": "The state that forbids it."},
        "instance": {**_TEXT, "description": "What our log has it under."},
        "twilio": {
            "type": "object",
            "description": "What Twilio answered, where it was asked: its code, message, more_info, status.",
        },
        "errors": {
            "type": "array",
            "description": "Every fault, or the first of them.",
            "items": {
                "type": "object",
                "required": ["detail"],
                "properties": {
                    "detail": _TEXT,
                    "pointer": {**_TEXT, "description": "Where in the body: a JSON pointer (RFC 6901)."},
                    "parameter": {**_TEXT, "description": "Which parameter."},
                    "line": {"type": "integer", "description": "Which line or item of the list."},
                    "column": {"type": ["string", "null"], "description": "Which column of it."},
                    "value": {"type": ["string", "null"], "description": "What stands there."},
                },
            },
        },
    },
}
#: The kind of problem that stands for a status in the description.
_ANSWERS: Final = {
    400: "bad-request", 401: "unauthorized", 403: "forbidden", 404: "not-found", 408: "too-slow",
    409: "conflict", 413: "too-large", 415: "unsupported-media-type", 422: "invalid", 429: "rate-limited",
    502: "twilio-failed", 503: "unavailable",
}  # fmt: skip
_HEADERS: Final = {
    401: {"WWW-Authenticate": "How to show a key"},
    409: {"Retry-After": "Seconds until it may be otherwise, if that is known"},
    429: {
        "Retry-After": "Seconds until the next request",
        "RateLimit": "What is left of the key's pace",
        "RateLimit-Policy": "The key's pace",
    },
    503: {"Retry-After": "Seconds until it is worth another try"},
}


def _name(status: int) -> str:
    return "".join(part.capitalize() for part in _ANSWERS[status].split("-"))


def _answer(status: int) -> dict[str, Any]:
    slug = _ANSWERS[status]
    kind = PROBLEMS[slug]
    example = {
        "type": f"/problems/{slug}",
        "title": kind.title,
        "status": status,
        "detail": kind.meaning.strip(),
    }
    answer: dict[str, Any] = {
        "description": kind.title,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}},
    }
    if status in _HEADERS:
        answer["headers"] = {
            name: {"description": words, "schema": _TEXT} for name, words in _HEADERS[status].items()
        }
    return answer
