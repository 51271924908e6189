"""Broadcasts as the API's description shows them: what is asked, what is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import BaseModel, ConfigDict, Field

from broadcaster.api.parts import guarded
from broadcaster.api.problems import MEDIA_TYPE, PROBLEMS
from broadcaster.operations.order_bounds import INLINE_MOST
from broadcaster.operations.order_form import OrderForm

if TYPE_CHECKING:
    from broadcaster.domain.api_keys import Scope

JSON: Final = "application/json"
MULTIPART: Final = "multipart/form-data"
CSV: Final = "text/csv"
NDJSON: Final = "application/x-ndjson"
GZIP: Final = "application/gzip"


class Taken(BaseModel):
    """What a part of a draft's list came to; `total` is the draft's after it."""

    rows: int
    recipients: int
    duplicates: int
    opted_out: int
    unverified: int = Field(default=0, description="Numbers that a trial account may not write to: skipped.")
    rejected: int
    total: int
    warnings: list[str] = Field(description="What you should know of how it was read.")


class Share(BaseModel):
    """One sender's share of a list: `rate` in segments a second, `seconds` until its last has left."""

    sender: str
    rate: float
    recipients: int
    segments: int
    seconds: float


class Shown(BaseModel):
    """A message as it would be sent."""

    to: str
    sender: str
    body: str | None
    content_variables: str | None
    segments: int
    preview_html: str | None = Field(
        description="The body as its recipient sees it: escaped, line ends kept; what WhatsApp draws is in "
        "`<b>`, `<i>`, `<s>` and `<code>`."
    )


class RowFault(BaseModel):
    """One bad row, its numbers masked; `line` is an item's place where the list is in JSON."""

    line: int
    column: str
    value: str
    reason: str


class Cause(BaseModel):
    """The first character that takes a text out of GSM-7."""

    character: str
    code_point: str
    line: int


class DryRun(BaseModel):
    """What a list would come to: what `send --dry-run --json` prints."""

    list_name: str
    position: str
    rows: int
    recipients: int
    duplicates: int
    opted_out: int
    by_fallback: int = Field(
        description="Recipients who would get the fallback template: their 24 hours of WhatsApp are over."
    )
    unverified: int = Field(description="Numbers that a trial account may not write to: they are skipped.")
    first_unverified: list[str] = Field(description="The first of them.")
    rejected: int
    refused: bool
    faults: list[RowFault]
    segments: int
    gsm7: int
    ucs2: int
    ucs2_cause: Cause | None
    senders: list[Share]
    seconds: float
    messages: list[Shown]
    warnings: list[str] = Field(description="What you should know, though it stops nothing.")
    encoding: str | None = Field(description="What the list was read as; null of one in JSON.")


class Trial(BaseModel):
    """What Twilio answered to the one message of a test: what `send --test --json` prints."""

    model_config = ConfigDict(populate_by_name=True)

    to: str
    from_: str = Field(alias="from")
    outcome: str
    sid: str | None
    code: int


#: Answers of `POST /v1/broadcasts` where nothing is queued.
TRIED: Final[dict[int | str, dict[str, Any]]] = {
    200: {"model": DryRun | Trial, "description": "With `dry_run` or `test_to`: nothing was queued"}
}


def downloads(*kinds: str) -> dict[int | str, dict[str, Any]]:
    """Return the answer of a route that streams a file of one of these kinds."""
    content = {kind: {"schema": {"type": "string"}} for kind in kinds}
    return {200: {"description": "The file", "content": content}}


def described(
    scope: Scope, *slugs: str, more: dict[int | str, dict[str, Any]] | None = None, **extra: Any
) -> dict[str, Any]:
    """Return what a route's decorator needs: its scope, all it may answer, `extra` of OpenAPI."""
    guard = guarded(scope)
    guard["openapi_extra"] = {**guard["openapi_extra"], **extra}
    return {
        **guard,
        "responses": {
            **(more or {}),
            **problems("unauthorized", "forbidden", "rate-limited", "unavailable", *slugs),
        },
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
    schema = OrderForm.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)  # forms that a message has too, so that they stand among the components
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
    items = OrderForm.model_json_schema()["properties"]["recipients"]["items"]
    recipients = {"type": "array", "minItems": 1, "maxItems": INLINE_MOST, "items": items}
    part = {
        "type": "object",
        "required": ["recipients"],
        "properties": {"recipients": recipients},
        "additionalProperties": False,
    }
    text = {"schema": {"type": "string"}}
    return {"required": True, "content": {JSON: {"schema": part}, CSV: text, NDJSON: text}}
