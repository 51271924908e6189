"""Single messages: alerts and notices to one person or a few, and what became of each."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response

from broadcaster.api.finding import find_message
from broadcaster.api.message_shapes import MessageRequest, MessagesAccepted, MessageWithHistory
from broadcaster.api.once import Done, once
from broadcaster.api.pages import USUAL, Cursor, Limit, begin, page
from broadcaster.api.parts import caller_of, guarded, parts_of
from broadcaster.api.shapes import MessagePage
from broadcaster.domain.addresses import parse_address, with_plus
from broadcaster.domain.api_keys import Scope
from broadcaster.domain.broadcast import OnDoubt, OutsideWindow, Priority
from broadcaster.domain.content import Content
from broadcaster.domain.location import LocationError
from broadcaster.domain.purpose import Consent, Purpose, read_consent_time
from broadcaster.domain.times import TimeError, parse_duration
from broadcaster.intake.senders import from_sandbox
from broadcaster.intake.singles import Person, RefusedError, SingleRequest, deed_of
from broadcaster.ledger.kept_answers import turn_of
from broadcaster.operations import messages as acts
from broadcaster.operations.content_form import option_texts
from broadcaster.operations.errors import Fault, Invalid, NotFound, invalid
from broadcaster.operations.removals import check_kept
from broadcaster.operations.template_checks import check_templates, names_templates
from broadcaster.reporting.messages import find_number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.intake.singles import Accepted

router = APIRouter(tags=["messages"])
MessageId = Annotated[
    str, Path(alias="id", max_length=100, description="Our id, the SID that we gave it, or Twilio's SID.")
]
#: So long a message waits for what Twilio says of its template.
_TEMPLATE_SECONDS: Final = 3.0
_READ = guarded(Scope.MESSAGES_READ)
_WRITE = guarded(Scope.MESSAGES_WRITE)


@router.post(
    "/v1/messages",
    operation_id="send_messages",
    status_code=HTTPStatus.ACCEPTED,
    response_model=MessagesAccepted,
    **_WRITE,
)
async def send(request: Request, body: MessageRequest) -> Any:
    """Send a message to one person, or to up to 100; urgent unless `priority` says else.

    202: it is in the queue, on disk, and will be sent once. With an `Idempotency-Key` the request can be
    made again without harm, whatever became of its answer.
    """

    async def work(nonce: str) -> Response:
        asked = asked_for(body, caller_of(request).key.id, nonce)
        if names_templates(asked.content):
            await _check_templates(request, asked)
        try:
            accepted = await parts_of(request).singles.post(asked)
        except RefusedError as error:
            alone = isinstance(body.to, str)
            raise Invalid(
                *(Fault(f.detail, _pointer(f.pointer, alone=alone)) for f in error.faults)
            ) from None
        return accepted_answer(asked, accepted)

    return await once(request, work)


def accepted_answer(asked: SingleRequest, accepted: Sequence[Accepted]) -> Done:
    """Return what is answered to a request that was taken."""
    content = msgspec.json.encode({"messages": [_summary(message) for message in accepted]})
    headers = {"Location": f"/v1/messages/{accepted[0].id}"} if len(accepted) == 1 else None
    done = Done(content, HTTPStatus.ACCEPTED, headers, media_type="application/json")
    done.deed = deed_of(asked, accepted)
    return done


def asked_for(body: MessageRequest, key_id: str, nonce: str) -> SingleRequest:
    """Return what intake takes. Raises `TimeError`."""
    expires = parse_duration(body.expires_in) if isinstance(body.expires_in, str) else body.expires_in
    senders = (body.from_,) if isinstance(body.from_, str) else tuple(body.from_ or ())
    return SingleRequest(
        key_id=key_id,
        content=Content(
            body=body.body,
            media_urls=tuple(body.media_urls),
            content_sid=body.content_sid,
            content_variables=body.content_variables,
            options=_options(body),
            fallback=body.fallback.template if body.fallback else None,
            sms=body.sms_fallback.sms if body.sms_fallback else None,
        ),
        to=[Person(to, variables, reference) for to, variables, reference in body.recipients()],
        senders=senders,
        service=body.messaging_service_sid,
        priority=Priority(body.priority),
        on_doubt=OnDoubt(body.on_doubt) if body.on_doubt else None,
        expires_in_seconds=expires,
        region=body.region.upper() if body.region else None,
        nonce=nonce,
        turn=turn_of(key_id, nonce),
        purpose=Purpose(body.purpose),
        consent=_consent(body),
        outside_window=OutsideWindow(body.outside_window),
    )


def _options(body: MessageRequest) -> dict[str, str]:
    try:
        return option_texts(body.options, body.location)
    except LocationError as error:
        raise Invalid(Fault(str(error), "/location")) from None


async def _check_templates(request: Request, asked: SingleRequest) -> None:
    """Ask Twilio, or what it said some seconds ago, about a message's templates. Raises Invalid.

    Where it does not answer soon the message goes all the same: it may be urgent. What is queued already, by
    a request whose answer was lost, is not refused for what became of its template since.
    """
    parts = parts_of(request)
    if parts.twilio is None:
        return
    checked = await check_templates(
        parts.twilio.templates,
        asked.content,
        asked.purpose,
        whatsapp=any(person.to.strip().lower().startswith("whatsapp:") for person in asked.to),
        in_session=True,
        sandbox=from_sandbox(parts.settings, asked.senders, asked.service),
        patience_seconds=_TEMPLATE_SECONDS,
    )
    if checked.faults and not await parts.singles.known(asked):
        invalid(checked.faults)


def _consent(body: MessageRequest) -> Consent | None:
    if body.consent is None:
        return None
    try:
        return Consent(body.consent.source, read_consent_time(body.consent.at))
    except TimeError as error:
        raise Invalid(Fault(str(error), "/consent/at")) from None


def _pointer(pointer: str, *, alone: bool) -> str:
    """Return where a fault is in the request: of one recipient the fields stand beside `to`."""
    if not alone or not pointer.startswith("/to/0"):
        return pointer
    return pointer.removeprefix("/to/0") or "/to"


def _summary(message: Accepted) -> dict[str, Any]:
    return {
        "id": message.id,
        "to": message.to,
        "state": message.state.label,
        "reference": message.reference,
        "code": message.code or None,
    }


@router.get("/v1/messages", operation_id="list_messages", response_model=MessagePage, **_READ)
async def find(
    request: Request,
    response: Response,
    to: Annotated[str, Query(max_length=60, description="The person's number, with or without its plus.")],
    limit: Limit = USUAL,
    cursor: Cursor = None,
) -> Any:
    """Find a person's messages over all broadcasts and single ones, the newest first."""
    parts = parts_of(request)
    address = parse_address(with_plus(to), parts.settings.region)
    kind = f"messages {address}"
    after = begin(request, kind, cursor)
    found: list[dict[str, Any]] = []
    async for view in find_number(parts.store, None, address, after=after or ""):
        if len(found) == limit:
            return page(request, response, kind, found, found[-1]["id"])
        found.append(view.summary())
    return page(request, response, kind, found, None)


@router.get(
    "/v1/messages/{id}",
    operation_id="get_message",
    response_model=MessageWithHistory,
    responses={409: {"description": "It is removed with its broadcast's people"}},
    **_READ,
)
async def show(request: Request, message: MessageId) -> Any:
    """Return a message and its attempts: when, how each ended, with which code and SID, known by what."""
    found = await find_message(parts_of(request), message)
    if found is None:
        await check_kept(parts_of(request).store, message)
        raise NotFound("message", message)
    view, attempts = found
    return view.summary() | {"history": [attempt.summary() for attempt in attempts]}


@router.post(
    "/v1/messages/{id}/cancel",
    operation_id="cancel_message",
    response_model=MessageWithHistory,
    responses={409: {"description": "It has left, or may have"}},
    **_WRITE,
)
async def cancel(request: Request, message: MessageId) -> Any:
    """Stop a message that has not left."""
    parts = parts_of(request)
    found = await find_message(parts, message)
    if found is None:
        await check_kept(parts.store, message)
        raise NotFound("message", message)
    view, attempts = await acts.cancel(parts.store, caller_of(request).actor, found[0].id)
    return view.summary() | {"history": [attempt.summary() for attempt in attempts]}
