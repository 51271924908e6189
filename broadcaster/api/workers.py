"""Workers: seen, and asked to end in good order."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from broadcaster.api.pages import USUAL, Cursor, Limit, Page, begin, page
from broadcaster.api.parts import caller_of, guarded, parts_of
from broadcaster.api.shapes import LONGEST_NAME
from broadcaster.domain.api_keys import Scope
from broadcaster.operations import workers as acts
from broadcaster.reporting.workers import list_workers

router = APIRouter(tags=["workers"])
WorkerId = Annotated[
    str,
    Path(max_length=LONGEST_NAME, description="A worker's id.", examples=["sender-1-4711-a1b2c3"]),
]


class Worker(BaseModel):
    """A worker process that has a lease, or lost it within the last day."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": "sender-1-4711-a1b2c3",
                    "host": "sender-1",
                    "pid": 4711,
                    "version": "0.1.0",
                    "format": 2,
                    "state": "live",
                    "since": 1795276800,
                    "seen_at": 1795280400,
                    "draining_since": None,
                    "in_flight": 12,
                    "claims": 3,
                    "concurrency": 64,
                    "share": 50,
                }
            ]
        }
    )

    id: str
    host: str
    pid: int
    version: str | None = Field(description="Null for a version that told none.")
    format: int = Field(description="The newest data format it knows.")
    state: str = Field(description="`live`, `draining` (asked to end) or `lost` within a day.")
    since: int = Field(description="In unix seconds.")
    seen_at: int = Field(description="Its last heartbeat, in unix seconds.")
    draining_since: int | None
    in_flight: int = Field(description="The most requests at once in the last second.")
    claims: int = Field(description="Slices of work that it holds.")
    concurrency: int = Field(description="Requests that it may have in flight by its own settings.")
    share: int = Field(description="Requests that it may have in flight now.")


class WorkerPage(Page[Worker]):
    """A page of workers."""


@router.get(
    "/v1/workers", operation_id="list_workers", response_model=WorkerPage, **guarded(Scope.WORKERS_READ)
)
async def list_(request: Request, response: Response, limit: Limit = USUAL, cursor: Cursor = None) -> Any:
    """List the workers, by id; those that were lost within the last day, too."""
    after = begin(request, "workers", cursor)
    views = [v for v in await list_workers(parts_of(request).store) if after is None or v.id > after]
    position = views[limit - 1].id if len(views) > limit else None
    return page(request, response, "workers", [view.summary() for view in views[:limit]], position)


@router.post(
    "/v1/workers/{worker}/drain",
    operation_id="drain_worker",
    response_model=Worker,
    **guarded(Scope.WORKERS_WRITE),
)
async def drain(request: Request, worker: WorkerId) -> Any:
    """Ask a worker to finish what is in flight, give back the rest and end; nothing takes it back."""
    return (await acts.drain(parts_of(request).store, caller_of(request).actor, worker)).summary()
