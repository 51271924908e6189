"""Replies: what people wrote to our senders, what it meant, and what is still to be done about it."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from broadcaster.api.pages import USUAL, Cursor, Limit, Page, begin, page
from broadcaster.api.parts import caller_of, guarded, parts_of
from broadcaster.domain.api_keys import Scope
from broadcaster.operations import replies as acts
from broadcaster.reporting import replies as views

router = APIRouter(tags=["replies"])
_LONGEST: Final = 500
_GONE: Final[dict[int | str, dict[str, Any]]] = {404: {"description": "No such reply"}}
_CONFLICT: Final[dict[int | str, dict[str, Any]]] = {409: {"description": "No number is known"}, **_GONE}
ReplyId = Annotated[str, Path(alias="id", max_length=100, description="Twilio's SID of it.")]
_ID: Final = "SM6b1f2c0d9e8a4f7b8c5d3e2f1a0b9c8d"


class ReplyMedia(BaseModel):
    """A picture, sound or film."""

    url: str = Field(description="At Twilio, which asks for the account's credentials there.")
    type: str | None = Field(description="Its media type.")


class ReplyLocation(BaseModel):
    """Where somebody says that they are (WhatsApp), as Twilio writes it."""

    latitude: str
    longitude: str
    address: str | None
    label: str | None


class ReplyButton(BaseModel):
    """Which button of a template was pressed (WhatsApp)."""

    text: str | None
    payload: str | None


class Reply(BaseModel):
    """What somebody wrote to one of our senders. Times are in unix seconds."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": _ID,
                    "from": "+14155550100",
                    "to": "+14155550199",
                    "messaging_service_sid": None,
                    "received_at": 1795276800.123,
                    "body": "please stop",
                    "media": [],
                    "location": None,
                    "button": None,
                    "profile_name": None,
                    "user_id": None,
                    "message": "1nf3r8k2m0t4qa.0.3.17",
                    "broadcast": "1nf3r8k2m0t4qa",
                    "meaning": "other",
                    "opt_outs_changed": 0,
                    "answered": None,
                    "flagged": True,
                    "flag": "it may ask to be left alone",
                    "done": None,
                    "done_by": None,
                    "done_at": None,
                }
            ]
        }
    )

    id: str = Field(description="Twilio's SID of it.")
    from_: str = Field(alias="from", description="Who wrote: a number, or what Twilio tells in its place.")
    to: str = Field(description="The sender that it was written to.")
    messaging_service_sid: str | None
    received_at: float
    body: str
    media: list[ReplyMedia]
    location: ReplyLocation | None
    button: ReplyButton | None
    profile_name: str | None = Field(description="What the person is called on WhatsApp.")
    user_id: str | None = Field(description="The person's id at WhatsApp.")
    message: str | None = Field(description="The message of ours that it most likely answers.")
    broadcast: str | None = Field(description="Its broadcast.")
    meaning: str = Field(description="opt_out, opt_in, help or other.")
    opt_outs_changed: int = Field(description="How many opt-outs it made, or took back.")
    answered: str | None = Field(description="What we answered: stop, start, help or auto.")
    flagged: bool = Field(description="Whether it waits for a person.")
    flag: str | None = Field(description="Why a person should look at it.")
    done: str | None = Field(description="What a person did: opt-out, or done.")
    done_by: str | None
    done_at: int | None


class ReplyPage(Page[Reply]):
    """A page of replies."""


@router.get(
    "/v1/replies", operation_id="list_replies", response_model=ReplyPage, **guarded(Scope.REPLIES_READ)
)
async def list_(
    request: Request,
    response: Response,
    *,
    from_: Annotated[
        str | None,
        Query(
            alias="from",
            max_length=_LONGEST,
            description="Only from this number, by WhatsApp only if `whatsapp:` is written; or this user id.",
        ),
    ] = None,
    flagged: Annotated[bool, Query(description="Only those that wait for a person.")] = False,
    since: Annotated[
        float | None, Query(ge=0, le=1e11, description="Only those that came then or later: unix seconds.")
    ] = None,
    limit: Limit = USUAL,
    cursor: Cursor = None,
) -> Any:
    """List replies, the newest first."""
    parts = parts_of(request)
    found, position = await views.page(
        parts.store,
        limit=limit,
        after=begin(request, "replies", cursor),
        people=acts.people_of(from_, parts.settings.region) if from_ else (),
        flagged=flagged,
        since=since,
    )
    return page(request, response, "replies", [view.summary() for view in found], position)


@router.get(
    "/v1/replies/{id}",
    operation_id="get_reply",
    response_model=Reply,
    responses=_GONE,
    **guarded(Scope.REPLIES_READ),
)
async def show(request: Request, id: ReplyId) -> Any:  # noqa: A002 - the path says so
    """Show one reply."""
    return (await acts.read(parts_of(request).store, id)).summary()


@router.post(
    "/v1/replies/{id}/opt-out",
    operation_id="opt_out_by_reply",
    response_model=Reply,
    responses=_CONFLICT,
    **guarded(Scope.REPLIES_WRITE),
)
async def opt_out(request: Request, id: ReplyId) -> Any:  # noqa: A002
    """Make an opt-out of a reply, of the sender and service that it was written to; it is done then."""
    return (await acts.opt_out_of(parts_of(request).store, caller_of(request).actor, id)).summary()


@router.post(
    "/v1/replies/{id}/done",
    operation_id="finish_reply",
    response_model=Reply,
    responses=_GONE,
    **guarded(Scope.REPLIES_WRITE),
)
async def done(request: Request, id: ReplyId) -> Any:  # noqa: A002
    """Note that somebody has dealt with a reply: it waits for nobody any more."""
    return (await acts.mark_done(parts_of(request).store, caller_of(request).actor, id)).summary()
