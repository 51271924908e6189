"""Steering broadcasts: start, pause, resume, cancel, send to those who failed again, delete."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from broadcaster.api.once import once
from broadcaster.api.parts import caller_of, guarded, parts_of
from broadcaster.api.shapes import Asked, Broadcast, BroadcastId, WhyOrNothing, answer
from broadcaster.domain.api_keys import Scope
from broadcaster.operations import broadcasts as acts
from broadcaster.operations import dead_letters, removals

router = APIRouter(tags=["broadcasts"])
_CONFLICT: dict[int | str, dict[str, Any]] = {409: {"description": "Its state forbids it"}}
_WRITE = guarded(Scope.BROADCASTS_WRITE)


class Again(Asked):
    """Who is meant: without codes, everybody who failed."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"codes": [30003, 30005]}]})

    codes: list[Annotated[int, Field(ge=0, le=16_777_215)]] = Field(default=[], max_length=100)
    even_unknown: bool = Field(default=False, description="Also those who may have got it already.")


class Retried(BaseModel):
    """What came of it: how many go again, and who doesn't."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "retried": 12,
                    "unchanged": 0,
                    "already_sent": 0,
                    "sms_instead": 0,
                    "may_have_been_sent": 2,
                    "refused": {},
                }
            ]
        }
    )

    retried: int
    unchanged: int = Field(description="Changed meanwhile, so left alone.")
    already_sent: int = Field(description="Had reached Twilio by an earlier attempt after all.")
    sms_instead: int = Field(description="Left alone, as an SMS went, or will, in its place.")
    may_have_been_sent: int = Field(description="Left alone unless `even_unknown`.")
    refused: dict[str, str] = Field(description="Broadcasts that forbid it, and their state.")


@router.post(
    "/v1/broadcasts/{id}/start",
    operation_id="start_broadcast",
    response_model=Broadcast,
    responses=_CONFLICT,
    **_WRITE,
)
async def start(request: Request, broadcast: BroadcastId, why: WhyOrNothing = None) -> Any:  # noqa: ARG001 - taken everywhere alike
    """Start a draft, or a scheduled broadcast before its time."""
    parts = parts_of(request)
    templates = None if parts.twilio is None else parts.twilio.templates
    windows = None if parts.twilio is None else parts.windows
    view = await acts.start(parts.store, caller_of(request).actor, broadcast, templates, windows)
    return view.summary()


@router.post(
    "/v1/broadcasts/{id}/pause",
    operation_id="pause_broadcast",
    response_model=Broadcast,
    responses=_CONFLICT,
    **_WRITE,
)
async def pause(request: Request, broadcast: BroadcastId, why: WhyOrNothing = None) -> Any:
    """Stop a running broadcast, within a second."""
    reason = why.reason if why else ""
    view = await acts.pause(parts_of(request).store, caller_of(request).actor, broadcast, reason)
    return view.summary()


@router.post(
    "/v1/broadcasts/{id}/resume",
    operation_id="resume_broadcast",
    response_model=Broadcast,
    responses=_CONFLICT,
    **_WRITE,
)
async def resume(request: Request, broadcast: BroadcastId, why: WhyOrNothing = None) -> Any:  # noqa: ARG001
    """Let a paused broadcast go on."""
    view = await acts.resume(parts_of(request).store, caller_of(request).actor, broadcast)
    return view.summary()


@router.post(
    "/v1/broadcasts/{id}/cancel",
    operation_id="cancel_broadcast",
    response_model=Broadcast,
    responses=_CONFLICT,
    **_WRITE,
)
async def cancel(request: Request, broadcast: BroadcastId, why: WhyOrNothing = None) -> Any:
    """End a broadcast: what has not left is skipped. What Twilio has taken is not called back."""
    reason = why.reason if why else ""
    view = await acts.cancel(parts_of(request).store, caller_of(request).actor, broadcast, reason)
    return view.summary()


@router.post(
    "/v1/broadcasts/{id}/retry",
    operation_id="retry_broadcast",
    response_model=Retried,
    responses=_CONFLICT,
    **_WRITE,
)
async def retry(
    request: Request, broadcast: BroadcastId, again: Annotated[Again | None, Body()] = None
) -> Any:
    """Send again to those who failed: dead letters, undelivered and failed messages; each once."""

    async def work(_: str) -> Response:
        store, chosen = parts_of(request).store, again or Again()
        wanted = dead_letters.failures_of(broadcast, chosen.codes)
        found = await dead_letters.find_to_send(store, wanted, even_unknown=chosen.even_unknown)
        done = await dead_letters.send_again(store, caller_of(request).actor, found)
        return answer(dead_letters.summary(found, done, "retried"))

    return await once(request, work)


class Removal(Asked):
    """Whose people are to be removed: of a broadcast that ended at `ended_at`, or whenever it did."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"ended_at": 1795276900}]})

    ended_at: int | None = Field(
        default=None, description="Its `finished_at` in the archive: not if it was sent on since."
    )


@router.post(
    "/v1/broadcasts/{id}/remove",
    operation_id="remove_broadcast_people",
    response_model=Broadcast,
    responses=_CONFLICT,
    **_WRITE,
)
async def remove(
    request: Request, broadcast: BroadcastId, asked: Annotated[Removal | None, Body()] = None
) -> Any:
    """Remove an ended broadcast's people before their time: messages, texts, variables, replies.

    Its counts stay.
    """
    ended_at = asked.ended_at if asked else None
    view = await removals.remove(
        parts_of(request).store, caller_of(request).actor, broadcast, ended_at=ended_at
    )
    return view.summary()


@router.delete(
    "/v1/broadcasts/{id}",
    operation_id="delete_broadcast",
    status_code=204,
    responses=_CONFLICT,
    **_WRITE,
)
async def delete(request: Request, broadcast: BroadcastId) -> None:
    """Remove a draft, or a broadcast that has ended, with its messages and the replies to them, for good."""
    await acts.delete(parts_of(request).store, caller_of(request).actor, broadcast)
