"""What the description says of the routes that answer as Twilio's: forms, and Twilio's own shapes."""

from __future__ import annotations

from typing import Any, Final

_TEXT: Final = {"type": "string"}
_TEXT_OR_NULL: Final = {"type": ["string", "null"]}
_MESSAGE: Final = {
    "title": "TwilioMessage",
    "description": "A message as Twilio's API shows one (2010-04-01).",
    "type": "object",
    "required": ["sid", "status", "to", "account_sid", "body", "date_created", "error_code", "uri"],
    "properties": {
        "account_sid": _TEXT,
        "api_version": _TEXT,
        "body": _TEXT,
        "date_created": {**_TEXT_OR_NULL, "description": "As in RFC 2822."},
        "date_sent": _TEXT_OR_NULL,
        "date_updated": _TEXT_OR_NULL,
        "direction": _TEXT,
        "error_code": {"type": ["integer", "null"]},
        "error_message": _TEXT_OR_NULL,
        "from": _TEXT_OR_NULL,
        "messaging_service_sid": _TEXT_OR_NULL,
        "num_media": _TEXT,
        "num_segments": _TEXT,
        "price": _TEXT_OR_NULL,
        "price_unit": _TEXT,
        "sid": {**_TEXT, "description": "Ours; it leads to the message here, and Twilio's own SID does too."},
        "status": _TEXT,
        "subresource_uris": {"type": "object", "additionalProperties": _TEXT},
        "to": _TEXT,
        "uri": _TEXT,
    },
}
_PAGE: Final = {
    "title": "TwilioMessages",
    "description": "A page of messages as Twilio's API shows one.",
    "type": "object",
    "required": ["messages", "next_page_uri", "page_size"],
    "properties": {
        "messages": {"type": "array", "items": {"$ref": "#/components/schemas/TwilioMessage"}},
        "next_page_uri": _TEXT_OR_NULL,
        "page_size": {"type": "integer"},
    },
}
_ERROR: Final = {
    "title": "TwilioError",
    "description": "An error as Twilio's API tells it.",
    "type": "object",
    "required": ["code", "message", "more_info", "status"],
    "properties": {
        "code": {"type": "integer"},
        "message": _TEXT,
        "more_info": _TEXT,
        "status": {"type": "integer"},
    },
}
SCHEMAS: Final = {"TwilioMessage": _MESSAGE, "TwilioMessages": _PAGE, "TwilioError": _ERROR}
_NEW: Final = {
    "type": "object",
    "required": ["To"],
    "properties": {
        "To": {**_TEXT, "examples": ["+14155550123"]},
        "From": _TEXT,
        "MessagingServiceSid": _TEXT,
        "Body": _TEXT,
        "MediaUrl": {"type": "array", "items": _TEXT, "maxItems": 10},
        "ContentSid": _TEXT,
        "ContentVariables": {**_TEXT, "description": "JSON."},
    },
    "additionalProperties": {**_TEXT, "description": "Any other parameter of Create Message."},
}
_STOPPED: Final = {
    "type": "object",
    "required": ["Status"],
    "properties": {"Status": {"type": "string", "const": "canceled"}},
}
#: What each operation takes, what it answers, and with which errors of its own.
_OPERATIONS: Final[dict[str, tuple[dict[str, Any] | None, str, tuple[int, ...]]]] = {
    "twilio_create_message": (_NEW, "TwilioMessage", (409,)),
    "twilio_update_message": (_STOPPED, "TwilioMessage", (409,)),
    "twilio_fetch_message": (None, "TwilioMessage", ()),
    "twilio_list_messages": (None, "TwilioMessages", ()),
}
_ERRORS: Final = (400, 401, 403, 404, 429, 503)
_OF_FORMS: Final = (408, 413, 415)


def complete(operation: dict[str, Any]) -> None:
    """Give an operation its form, its answer, and every error, in Twilio's shape."""
    form, answer, own = _OPERATIONS[operation["operationId"]]
    good, *_ = operation["responses"]
    operation["responses"] = {good: _told("As Twilio answers", answer)}
    for status in sorted((*_ERRORS, *own, *(_OF_FORMS if form else ()))):
        operation["responses"][str(status)] = _told("As Twilio tells errors", "TwilioError")
    if form:
        content = {"application/x-www-form-urlencoded": {"schema": form}}
        operation["requestBody"] = {"required": True, "content": content}
    operation["security"] = [{"twilio": []}]


def _told(words: str, schema: str) -> dict[str, Any]:
    shape = {"schema": {"$ref": f"#/components/schemas/{schema}"}}
    return {"description": words, "content": {"application/json": shape}}
