"""Messages of the Twilio account by hand, whoever sent them: Twilio's own resource, answers and errors."""

from __future__ import annotations

from contextlib import contextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from broadcaster.api.pages import LONGEST_CURSOR, Page, begin, page
from broadcaster.api.parts import caller_of, guarded, parts_of
from broadcaster.api.problems import Problem, retry_after
from broadcaster.domain.api_keys import Scope
from broadcaster.domain.parties import read_party
from broadcaster.domain.sent_dates import read_day, read_sent
from broadcaster.operations import twilio_messages as acts
from broadcaster.operations.errors import Invalid
from broadcaster.operations.order_faults import told
from broadcaster.twilio import messages
from broadcaster.twilio.wire import TwilioError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.twilio.rest import TwilioRest

router = APIRouter(prefix="/v1/twilio/messages", tags=["Twilio's messages"])
Sid = Annotated[
    str, Path(alias="sid", pattern="^(SM|MM)[0-9a-fA-F]{32}$", description="Twilio's SID of the message.")
]
_READ: Final = guarded(Scope.TWILIO_READ)
_WRITE: Final = guarded(Scope.TWILIO_WRITE)
_KIND: Final = "messages at twilio"
#: With these Twilio's refusal keeps its status; others would pass for one of our own (401, 429).
_PASSED_ON: Final[dict[int, str]] = {
    HTTPStatus.BAD_REQUEST: "bad-request",
    HTTPStatus.NOT_FOUND: "not-found",
    HTTPStatus.CONFLICT: "conflict",
}
_REFUSED: Final[dict[int | str, dict[str, Any]]] = {
    status: {"description": "Twilio's refusal: `twilio` has its code, message, more_info and status"}
    for status in (*_PASSED_ON, HTTPStatus.BAD_GATEWAY)
}
_SID: Final = "SM6b1f2c0d9e8a4f7b8c5d3e2f1a0b9c8d"
_SENT: Final = "On Twilio's days (GMT): `2026-11-21`"
_FROM: Final = "A day or a time with an offset; that one is included."
_MESSAGE: Final[dict[str, Any]] = {
    "sid": _SID,
    "account_sid": "AC" + "0" * 32,
    "to": "+14155550100",
    "from": "+14155550199",
    "body": "The river rises.",
    "status": "delivered",
    "direction": "outbound-api",
    "num_segments": "1",
    "date_sent": "Sat, 21 Nov 2026 10:00:00 +0000",
    "error_code": None,
}


class TwilioMessage(BaseModel):
    """A message with every field that Twilio has, as it has them."""

    model_config = ConfigDict(extra="allow", json_schema_extra={"examples": [_MESSAGE]})

    sid: str


class TwilioMessagePage(Page[TwilioMessage]):
    """A page of Twilio's list."""


class Redaction(BaseModel):
    """What is to be there in the text's place."""

    model_config = ConfigDict(extra="forbid")

    body: str = Field(default="", max_length=1600, description="Twilio takes only an empty one.")


Day = Annotated[str | None, Query(max_length=40, description=_SENT)]
Moment = Annotated[str | None, Query(max_length=40, description=_FROM)]
Number = Annotated[
    str | None, Query(max_length=100, description="With its plus; `whatsapp:+…` for WhatsApp.")
]


@router.get(
    "", operation_id="list_twilio_messages", response_model=TwilioMessagePage, responses=_REFUSED, **_READ
)
async def list_(
    request: Request,
    response: Response,
    *,
    to: Number = None,
    from_: Annotated[str | None, Query(alias="from", max_length=100, description="Who sent it.")] = None,
    sent_on: Day = None,
    sent_after: Moment = None,
    sent_before: Moment = None,
    limit: Annotated[
        int, Query(ge=1, le=messages.PAGE_SIZE, description="How many at most: Twilio's `PageSize`.")
    ] = 50,
    cursor: Annotated[
        str | None, Query(max_length=2 * LONGEST_CURSOR, description="`next` of the page before.")
    ] = None,
) -> Any:
    """List messages at Twilio, sent and received, the newest first by the time when they were sent."""
    region = parts_of(request).settings.region
    faults = [
        *told("/to", lambda text: text and read_party(text, region), to),
        *told("/from", lambda text: text and read_party(text, region, sends=True), from_),
        *told("/sent_on", lambda text: text and read_day(text), sent_on),
        *told("/sent_after", lambda text: text and read_sent(text), sent_after),
        *told("/sent_before", lambda text: text and read_sent(text), sent_before),
    ]
    if faults:
        raise Invalid(*faults)
    twilio, following = _twilio(request), begin(request, _KIND, cursor)
    with _as_it_is():
        found = await messages.page(
            twilio,
            following,
            to=to and read_party(to, region),
            from_=from_ and read_party(from_, region, sends=True),
            date_sent=sent_on and read_day(sent_on),
            sent_after=sent_after and read_sent(sent_after),
            sent_before=sent_before and read_sent(sent_before),
            page_size=limit,
        )
    return page(request, response, _KIND, found.messages, found.following)


@router.get(
    "/{sid}", operation_id="get_twilio_message", response_model=TwilioMessage, responses=_REFUSED, **_READ
)
async def show(request: Request, sid: Sid) -> Any:
    """Return a message as Twilio has it."""
    with _as_it_is():
        return await messages.read(_twilio(request), sid)


@router.post(
    "/{sid}/redact",
    operation_id="redact_twilio_message",
    response_model=TwilioMessage,
    responses=_REFUSED,
    **_WRITE,
)
async def redact(request: Request, sid: Sid, asked: Redaction | None = None) -> Any:
    """Empty a message's text at Twilio, for good."""
    body = "" if asked is None else asked.body
    with _as_it_is():
        return await acts.redact(
            parts_of(request).store, _twilio(request), caller_of(request).actor, sid, body
        )


@router.post(
    "/{sid}/cancel",
    operation_id="cancel_twilio_message",
    response_model=TwilioMessage,
    responses=_REFUSED,
    **_WRITE,
)
async def cancel(request: Request, sid: Sid) -> Any:
    """Cancel a message that Twilio keeps back for its hour; the record of one of ours ends as skipped."""
    with _as_it_is():
        return await acts.cancel(parts_of(request).store, _twilio(request), caller_of(request).actor, sid)


@router.delete(
    "/{sid}",
    operation_id="delete_twilio_message",
    status_code=HTTPStatus.NO_CONTENT,
    responses=_REFUSED,
    **_WRITE,
)
async def delete(request: Request, sid: Sid) -> Response:
    """Delete a message at Twilio, for good; one that is not finished yet it keeps (20009).

    What may be one of ours in doubt is a 409 of our own (`state`, and no `twilio`) until that is settled:
    without it that message would be sent again.
    """
    with _as_it_is():
        await acts.delete(parts_of(request).store, _twilio(request), caller_of(request).actor, sid)
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _twilio(request: Request) -> TwilioRest:
    twilio = parts_of(request).twilio
    if twilio is None:
        raise Problem("invalid", "This service has no credentials of Twilio: nothing can be asked there.")
    return twilio


@contextmanager
def _as_it_is() -> Iterator[None]:
    """Pass on what Twilio says where it refuses; `TwilioUnreachable` goes its usual way."""
    try:
        yield
    except TwilioError as error:
        # by number: what stands before Twilio answers statuses that no standard knows (520)
        slug = _PASSED_ON.get(error.status, "twilio-failed")
        wait = {} if error.retry_after_seconds is None else retry_after(error.retry_after_seconds)
        told = {"twilio": error.as_answered()}
        raise Problem(slug, error.message or f"{error}.", headers=wait, more=told) from None
