"""Broadcasts as the API's description shows them: what is asked, what is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel

from broadcaster.api.parts import guarded
from broadcaster.api.problems import MEDIA_TYPE, PROBLEMS
from broadcaster.operations.order_form import OrderForm

if TYPE_CHECKING:
    from broadcaster.domain.api_keys import Scope

JSON: Final = "application/json"
MULTIPART: Final = "multipart/form-data"
CSV: Final = "text/csv"
NDJSON: Final = "application/x-ndjson"


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
