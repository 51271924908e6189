"""The whole installation: stopped, and let go on."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict

from broadcaster.api.parts import caller_of, guarded, parts_of
from broadcaster.api.shapes import WhyOrNothing  # noqa: TC001 - FastAPI reads it
from broadcaster.domain.api_keys import Scope
from broadcaster.operations import everything as acts

router = APIRouter(tags=["everything"])


class Everything(BaseModel):
    """Whether everything is stopped, and whether this request changed that."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"paused": True, "reason": "wrong list", "changed": True}]}
    )

    paused: bool
    reason: str | None
    changed: bool


@router.post(
    "/v1/pause", operation_id="pause_everything", response_model=Everything, **guarded(Scope.ALL_WRITE)
)
async def pause(request: Request, why: WhyOrNothing = None) -> Any:
    """Stop everything, within a second. What Twilio has already taken is not called back."""
    actor, reason = caller_of(request).actor, why.reason if why else ""
    return (await acts.pause(parts_of(request).store, actor, reason)).summary()


@router.post(
    "/v1/resume", operation_id="resume_everything", response_model=Everything, **guarded(Scope.ALL_WRITE)
)
async def resume(request: Request, why: WhyOrNothing = None) -> Any:  # noqa: ARG001 - taken everywhere alike
    """Let everything go on; senders and broadcasts that were paused by themselves stay so."""
    return (await acts.resume(parts_of(request).store, caller_of(request).actor)).summary()
