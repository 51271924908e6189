"""Senders: their pace and what stops them, seen and changed."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from broadcaster.api.pages import USUAL, Cursor, Limit, Page, begin, page
from broadcaster.api.parts import caller_of, guarded, parts_of
from broadcaster.api.problems import Problem
from broadcaster.api.shapes import LONGEST_NAME, Asked, WhyOrNothing
from broadcaster.domain.addresses import with_plus
from broadcaster.domain.api_keys import Scope
from broadcaster.domain.senders import MAX_RATE, parse_rate
from broadcaster.operations import lanes as acts
from broadcaster.reporting.lanes import lane_names, read_lane

router = APIRouter(tags=["senders"])
SenderName = Annotated[
    str,
    Path(
        max_length=LONGEST_NAME,
        description="A number, short code, `whatsapp:` sender, alphanumeric ID or MG…",
        examples=["+14155550100"],
    ),
]


class Sender(BaseModel):
    """A sender now. It is `paused`, `held` (goes on by itself), `sending` or `idle`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "+14155550100",
                    "kind": "long_code_us",
                    "rate": 1.0,
                    "state": "paused",
                    "state_reason": "complaints",
                    "held_seconds": None,
                    "shares_permits_of": None,
                    "broadcasts": 2,
                    "warning": None,
                }
            ]
        }
    )

    name: str
    kind: str
    rate: float | None = Field(description="Segments a second.")
    state: str
    state_reason: str | None = Field(description="Why it is stopped, for people.")
    held_seconds: float | None
    shares_permits_of: str | None = Field(description="The messaging service whose pool it is in.")
    broadcasts: int = Field(description="Broadcasts that have work for it.")
    warning: str | None = Field(description="That it is set to send faster than Twilio takes it.")


class SenderChange(Asked):
    """What to change of a sender."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"rate": 50}, {"rate": "1/3s"}]})

    rate: Annotated[float, Field(ge=1e-6, le=MAX_RATE)] | Annotated[str, Field(max_length=40)] = Field(
        description="Segments a second: 50, 0.5, `1/3s`, `100/min`."
    )


class SenderPage(Page[Sender]):
    """A page of senders."""


@router.get(
    "/v1/senders", operation_id="list_senders", response_model=SenderPage, **guarded(Scope.SENDERS_READ)
)
async def list_(request: Request, response: Response, limit: Limit = USUAL, cursor: Cursor = None) -> Any:
    """List the senders that have been used or set, by name."""
    store = parts_of(request).store
    after = begin(request, "senders", cursor)
    names = [name for name in await lane_names(store) if after is None or name > after]
    views = [await read_lane(store, name) for name in names[:limit]]
    position = names[limit - 1] if len(names) > limit else None
    return page(request, response, "senders", [view.summary() for view in views if view], position)


@router.get(
    "/v1/senders/{name}", operation_id="get_sender", response_model=Sender, **guarded(Scope.SENDERS_READ)
)
async def get(request: Request, name: SenderName) -> Any:
    """Return one sender."""
    return (await acts.existing(parts_of(request).store, with_plus(name))).summary()


@router.patch(
    "/v1/senders/{name}", operation_id="update_sender", response_model=Sender, **guarded(Scope.SENDERS_WRITE)
)
async def change(request: Request, name: SenderName, asked: SenderChange) -> Any:
    """Set a sender's pace, also while it is sending."""
    try:
        rate = parse_rate(asked.rate) if isinstance(asked.rate, str) else asked.rate
    except ValueError as error:
        raise Problem("invalid", errors=[{"detail": str(error), "pointer": "/rate"}]) from None
    actor = caller_of(request).actor
    return (await acts.set_rate(parts_of(request).store, actor, with_plus(name), rate)).summary()


@router.post(
    "/v1/senders/{name}/pause",
    operation_id="pause_sender",
    response_model=Sender,
    **guarded(Scope.SENDERS_WRITE),
)
async def pause(request: Request, name: SenderName, why: WhyOrNothing = None) -> Any:
    """Stop one sender, within a second; also one that has not been used yet."""
    actor, reason = caller_of(request).actor, why.reason if why else ""
    return (await acts.pause(parts_of(request).store, actor, with_plus(name), reason)).summary()


@router.post(
    "/v1/senders/{name}/resume",
    operation_id="resume_sender",
    response_model=Sender,
    **guarded(Scope.SENDERS_WRITE),
)
async def resume(request: Request, name: SenderName, why: WhyOrNothing = None) -> Any:  # noqa: ARG001 - taken everywhere alike
    """Let a stopped or held sender go on."""
    actor = caller_of(request).actor
    return (await acts.resume(parts_of(request).store, actor, with_plus(name))).summary()
