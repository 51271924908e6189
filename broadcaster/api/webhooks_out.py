"""The description's `webhooks`: what we send to the endpoints of those who asked for events."""

from __future__ import annotations

from typing import Any, Final

_TEXT: Final = {"type": "string"}
_TEXT_OR_NULL: Final = {"type": ["string", "null"]}
_WHOLE: Final = {"type": "integer"}
_WHOLE_OR_NULL: Final = {"type": ["integer", "null"]}
_MESSAGE: Final = {
    "id": _TEXT,
    "broadcast": _TEXT,
    "to": _TEXT_OR_NULL,
    "reference": _TEXT_OR_NULL,
    "sender": _TEXT_OR_NULL,
    "state": _TEXT,
    "code": _WHOLE_OR_NULL,
    "meaning": _TEXT_OR_NULL,
    "class": _TEXT_OR_NULL,
    "sid": _TEXT_OR_NULL,
    "attempts": _WHOLE,
}
_BROADCAST: Final = {
    "id": _TEXT,
    "name": _TEXT,
    "state": _TEXT,
    "state_before": _TEXT,
    "state_reason": _TEXT,
    "total": _WHOLE,
    "counts": {"type": "object", "additionalProperties": _WHOLE},
}
_OPT_OUT: Final = {
    "address": _TEXT,
    "scope": {
        **_TEXT,
        "description": "`*`, or the sender or service that it is about; behind `#` the one purpose.",
    },
    "change": {**_TEXT, "enum": ["added", "removed"]},
    "source": _TEXT_OR_NULL,
}
_REPLY: Final = {"id": {**_TEXT, "description": "Twilio's SID of it."}}
#: Not of a reply that was removed before this could be sent.
_REPLY_TOO: Final = {
    "from": _TEXT,
    "to": _TEXT,
    "messaging_service_sid": _TEXT_OR_NULL,
    "received_at": {"type": "number"},
    "body": _TEXT,
    "truncated": {"type": "boolean", "description": "Whether there is more of it: see GET /v1/replies/{id}."},
    "media": {
        "type": "array",
        "description": "At Twilio, which asks for the account's credentials there.",
        "items": {"type": "object", "properties": {"url": _TEXT, "type": _TEXT_OR_NULL}},
    },
    "location": {"type": ["object", "null"]},
    "button": {"type": ["object", "null"]},
    "meaning": {**_TEXT, "enum": ["opt_out", "opt_in", "help", "other"]},
    "message": {**_TEXT_OR_NULL, "description": "The message of ours that it most likely answers."},
    "broadcast": _TEXT_OR_NULL,
}
_EVENTS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    "message.accepted": ("Twilio has taken a message.", _MESSAGE),
    "message.delivered": ("A message was delivered.", _MESSAGE),
    "message.failed": ("A message was not delivered, or will not be sent.", _MESSAGE),
    "message.in_doubt": ("Whether a message was sent is not known yet.", _MESSAGE),
    "reply.received": ("Somebody has answered.", _REPLY),
    "opt_out.changed": ("Somebody must not be written to any more, or may be again.", _OPT_OUT),
    "broadcast.started": ("A broadcast has begun to send.", _BROADCAST),
    "broadcast.paused": ("A broadcast has stopped, by itself or by request.", _BROADCAST),
    "broadcast.completed": ("Nothing of a broadcast is left to send or find out.", _BROADCAST),
}
_OPTIONAL: Final = {"reply.received": _REPLY_TOO}


def webhooks() -> dict[str, Any]:
    """Return the section, an entry for each type of event."""
    return {kind: {"post": _sent(kind, words, data)} for kind, (words, data) in _EVENTS.items()}


def _sent(kind: str, words: str, data: dict[str, Any]) -> dict[str, Any]:
    schema = {
        "type": "object",
        "required": ["type", "timestamp", "data"],
        "properties": {
            "type": {"type": "string", "const": kind},
            "timestamp": {"type": "string", "format": "date-time", "description": "When it happened."},
            "data": {"type": "object", "required": list(data), "properties": data | _OPTIONAL.get(kind, {})},
        },
    }
    headers = {
        "webhook-id": "The event's id: the same whenever it is sent again.",
        "webhook-timestamp": "When this was sent, in unix seconds.",
        "webhook-signature": "`v1,…`, one or more: see the Standard Webhooks specification.",
    }
    return {
        "tags": ["events"],
        "operationId": f"on_{kind.replace('.', '_')}",
        "summary": words,
        "security": [],
        "parameters": [
            {"name": name, "in": "header", "required": True, "description": text, "schema": _TEXT}
            for name, text in headers.items()
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {
            "2XX": {"description": "It is taken."},
            "410": {"description": "Send no more: the endpoint is disabled."},
            "default": {"description": "It is sent again, later."},
        },
    }
