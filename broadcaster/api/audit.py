"""The audit: who changed what, when, from where. Nothing changes an entry."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from broadcaster.api.pages import USUAL, Cursor, How, Limit, Page, begin, export, exported, page
from broadcaster.api.parts import caller_of, guarded, parts_of
from broadcaster.domain.api_keys import Scope
from broadcaster.operations import audit as entries
from broadcaster.reporting.exports import Format, as_text

router = APIRouter(tags=["audit"])
What = Annotated[
    str, Query(max_length=100, description="Only these: `broadcast`, `broadcast.cancel`, `lane`, `key` …")
]


class AuditEntry(BaseModel):
    """One change. Numbers are masked, people named by a keyed hash (`~…`)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "1795276800123-0",
                    "at": 1795276800.123,
                    "who": "key:0a1b2c3d4e ci",
                    "where": "192.0.2.7",
                    "what": "lane.rate",
                    "target": "+1415•••0100",
                    "old": {"rate": 1.0},
                    "new": {"rate": 50.0},
                }
            ]
        }
    )

    id: str
    at: float = Field(description="In unix seconds.")
    who: str
    where: str
    what: str
    target: str
    old: Any = None
    new: Any = None


class AuditPage(Page[AuditEntry]):
    """A page of the audit."""


@router.get("/v1/audit", operation_id="list_audit", response_model=AuditPage, **guarded(Scope.AUDIT_READ))
async def list_(
    request: Request, response: Response, what: What = "", limit: Limit = USUAL, cursor: Cursor = None
) -> Any:
    """List changes, the newest first."""
    before = begin(request, "audit", cursor) or ""
    found = await entries.page(parts_of(request).store, before=before, limit=limit + 1, what=what)
    position = found[limit - 1].id if len(found) > limit else None
    return page(request, response, "audit", [entry.summary() for entry in found[:limit]], position)


@router.get(
    "/v1/audit/export",
    operation_id="export_audit",
    responses=exported("Every entry, the newest first"),
    response_class=Response,
    **guarded(Scope.AUDIT_READ),
)
async def export_(request: Request, how: How = Format.CSV) -> Any:
    """Return every entry, streamed, the newest first; safe to open in a spreadsheet."""
    store = parts_of(request).store
    await entries.record(store, caller_of(request).actor, "audit.export", "all")
    rows = (entry.summary() async for entry in entries.newest_first(store))
    return export(as_text(rows, entries.COLUMNS, how), how, "audit")
