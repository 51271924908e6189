"""Broadcasts as the API's description shows them: what is asked, what is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, Field

from broadcaster.api.parts import guarded
from broadcaster.api.problems import MEDIA_TYPE, PROBLEMS
from broadcaster.operations.order_form import OrderForm

if TYPE_CHECKING:
    from broadcaster.domain.api_keys import Scope

JSON: Final = "application/json"
MULTIPART: Final = "multipart/form-data"
CSV: Final = "text/csv"
NDJSON: Final = "application/x-ndjson"

_BROADCAST: Final[dict[str, Any]] = {
    "id": "1k5h2f9q0a3b7c",
    "name": "flood warning",
    "state": "running",
    "state_reason": None,
    "total": 2,
    "counts": {"queued": 1, "delivered": 1},
    "codes": [],
    "senders": ["+14155550100"],
    "waits_for": {"+14155550100": "its pace of 1/s"},
    "in_doubt": None,
    "retried": 0,
    "rejected": 0,
    "rate": 1.0,
    "eta": 1,
    "created_at": 1795262400,
    "started_at": 1795262401,
    "finished_at": None,
}


class CodeCount(BaseModel):
    """How many messages ended in `state` with `code`."""

    state: str
    code: int
    count: int


class Broadcast(BaseModel):
    """A broadcast now. Times are unix seconds; `counts` add up to `total`."""

    model_config = {"json_schema_extra": {"examples": [_BROADCAST]}}

    id: str
    name: str
    state: str
    state_reason: str | None
    total: int
    counts: dict[str, int]
    codes: list[CodeCount]
    senders: list[str]
    waits_for: dict[str, str] = Field(description="What each sender waits for, in words.")
    in_doubt: dict[str, Any] | None
    retried: int
    rejected: int = Field(description="Faulty rows that were left out.")
    rate: float | None = Field(description="Accepted messages a second since the start.")
    eta: int | None = Field(description="Seconds until the last has left; null while it waits.")
    created_at: int
    started_at: int | None
    finished_at: int | None


class BroadcastPage(BaseModel):
    """Some broadcasts, the newest first; `next` is the cursor of the next page, null after the last."""

    data: list[Broadcast]
    next: str | None


class Message(BaseModel):
    """One recipient's message. Times are unix seconds."""

    id: str
    broadcast: str
    to: str
    reference: str | None
    sender: str
    state: str
    code: int | None
    meaning: str | None
    sid: str | None
    attempts: int
    segments: int
    evidence: str | None
    attempted_at: int | None
    changed_at: int | None


class MessagePage(BaseModel):
    """Some messages; a page may be short, even empty, and still have a `next` one."""

    data: list[Message]
    next: str | None


class Taken(BaseModel):
    """What a part of a draft's list came to; `total` is the draft's after it."""

    rows: int
    recipients: int
    duplicates: int
    opted_out: int
    rejected: int
    total: int


def described(scope: Scope, *slugs: str, **extra: Any) -> dict[str, Any]:
    """Return what a route's decorator needs: its scope, the problems it may answer, `extra` of OpenAPI."""
    guard = guarded(scope)
    guard["openapi_extra"] = {**guard["openapi_extra"], **extra}
    return {
        **guard,
        "responses": problems("unauthorized", "forbidden", "rate-limited", "unavailable", *slugs),
    }


def problems(*slugs: str) -> dict[int | str, dict[str, Any]]:
    """Return problems as OpenAPI's responses, by status."""
    found: dict[int | str, dict[str, Any]] = {}
    for slug in slugs:
        kind = PROBLEMS[slug]
        told = found.setdefault(kind.status, {"description": "", "content": {MEDIA_TYPE: {}}})
        told["description"] = "; ".join(filter(None, (told["description"], kind.title)))
    return found


def asked() -> dict[str, Any]:
    """Return the bodies that `POST /v1/broadcasts` takes, as OpenAPI has it."""
    schema = OrderForm.model_json_schema()
    example = {"body": "Hi {{ name }}", "recipients": [{"to": "+14155550123", "variables": {"name": "Ada"}}]}
    parts = {
        "type": "object",
        "required": ["spec", "recipients"],
        "properties": {"spec": schema, "recipients": {"type": "string", "format": "binary"}},
    }
    encoding = {"spec": {"contentType": JSON}, "recipients": {"contentType": f"{CSV}, {NDJSON}"}}
    return {
        "required": True,
        "content": {
            JSON: {"schema": schema, "example": example},
            MULTIPART: {"schema": parts, "encoding": encoding},
        },
    }


def asked_part() -> dict[str, Any]:
    """Return the bodies that `POST /v1/broadcasts/{id}/recipients` takes."""
    recipients = OrderForm.model_json_schema()["properties"]["recipients"]["anyOf"][0]
    part = {"type": "object", "required": ["recipients"], "properties": {"recipients": recipients}}
    text = {"schema": {"type": "string"}}
    return {"required": True, "content": {JSON: {"schema": part}, CSV: text, NDJSON: text}}
