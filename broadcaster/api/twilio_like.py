"""Twilio's Messages resource, answered by us: what speaks to Twilio today changes its host name, and queues.

Basic authentication with the account's SID and a key of ours in the token's place; forms, answers and errors
as Twilio's (its API description of 2010-04-01). The SIDs are ours and lead to the message without a look-up.
"""

from __future__ import annotations

import hashlib
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import parse_qsl

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response

from broadcaster.api.admission import unauthorized
from broadcaster.api.finding import find_message
from broadcaster.api.gate import shown_name
from broadcaster.api.once import Done, once
from broadcaster.api.parts import caller_of, guarded, parts_of
from broadcaster.api.problems import Problem
from broadcaster.api.twilio_pages import Listing, message_page
from broadcaster.api.twilio_shapes import resource
from broadcaster.domain.api_keys import Scope
from broadcaster.domain.content import Content
from broadcaster.domain.create_message import CreateMessage, check, options_of, parse_form
from broadcaster.domain.record import Reason
from broadcaster.intake.singles import Person, RefusedError, SingleRequest, deed_of
from broadcaster.ledger.kept_answers import turn_of
from broadcaster.operations import messages as acts
from broadcaster.operations.errors import Conflict, NotFound
from broadcaster.operations.order_faults import as_fields
from broadcaster.reporting.bodies import read_body
from broadcaster.reporting.messages import read_message

if TYPE_CHECKING:
    from broadcaster.api.parts import Parts
    from broadcaster.reporting.messages import MessageView

router = APIRouter(prefix="/2010-04-01/Accounts/{AccountSid}", tags=["like Twilio"])
AccountSid = Annotated[str, Path(alias="AccountSid", max_length=100)]
Sid = Annotated[str, Path(alias="Sid", max_length=100)]
_READ = guarded(Scope.MESSAGES_READ)
_WRITE = guarded(Scope.MESSAGES_WRITE)
_TOO_LATE: Final = 30409
_NOT_FOUND: Final = 20404
_OPTED_OUT: Final = 21610
_UNVERIFIED: Final = 21608
_FORM: Final = "application/x-www-form-urlencoded"
#: What becomes of our own fields; every other parameter goes to Twilio as it came.
_TAKEN: Final = frozenset(
    ("To", "From", "MessagingServiceSid", "Body", "MediaUrl", "ContentSid", "ContentVariables")
)


@router.post("/Messages.json", operation_id="twilio_create_message", status_code=HTTPStatus.CREATED, **_WRITE)
async def create(request: Request, account: AccountSid) -> Response:
    """Queue a message: Twilio's Create Message, and its answer. An `Idempotency-Key` is heeded too."""
    parts = _of_account(request, account)
    pairs = await _form(request)
    message = _message(pairs)
    options = options_of(pair for pair in pairs if pair[0] not in _TAKEN)

    async def work(nonce: str) -> Response:
        key_id = caller_of(request).key.id
        asked = _asked_for(message, options, key_id)
        if nonce:
            asked = asked._replace(nonce=_of_form(nonce, pairs), turn=turn_of(key_id, nonce))
        try:
            (accepted,) = await parts.singles.post(asked)
        except RefusedError as error:
            fault = error.faults[0]
            raise Problem("bad-request", as_fields(fault.detail), more={"code": fault.twilio_code}) from None
        if accepted.code == Reason.OPTED_OUT:
            detail = "The recipient has opted out of messages from this sender"
            raise Problem("bad-request", detail, more={"code": _OPTED_OUT})
        if accepted.code == Reason.UNVERIFIED:
            detail = "A trial account sends to verified numbers only, and this is none"
            raise Problem("bad-request", detail, more={"code": _UNVERIFIED})
        found = await read_message(parts.store, accepted.id)
        if found is None:  # it ended and was removed in this very moment
            raise NotFound("message", accepted.id)
        done = _answer(await _shown(parts, found[0], account), HTTPStatus.CREATED)
        done.deed = deed_of(asked, [accepted])
        return done

    return await once(request, work)


@router.get("/Messages/{Sid}.json", operation_id="twilio_fetch_message", **_READ)
async def fetch(request: Request, account: AccountSid, sid: Sid) -> Response:
    """Return one message, by the SID that we gave it or by Twilio's."""
    parts = _of_account(request, account)
    view = await _existing(parts, sid)
    return _answer(await _shown(parts, view, account, sid))


@router.get("/Messages.json", operation_id="twilio_list_messages", **_READ)
async def list_(request: Request, account: AccountSid, asked: Annotated[Listing, Query()]) -> Response:
    """Return messages, the newest first, page by page."""
    parts = _of_account(request, account)
    return _answer(await message_page(parts, request, account, asked))


@router.post("/Messages/{Sid}.json", operation_id="twilio_update_message", **_WRITE)
async def update(request: Request, account: AccountSid, sid: Sid) -> Response:
    """Cancel a message that has not left (`Status=canceled`), as Twilio's Update Message does."""
    parts = _of_account(request, account)
    asked = dict(await _form(request))
    view = await _existing(parts, sid)
    if asked != {"Status": "canceled"}:
        detail = "Of Update Message only Status=canceled is taken here; redact a body at Twilio itself"
        raise Problem("bad-request", detail, more={"code": 20001})
    try:
        view, _ = await acts.cancel(parts.store, caller_of(request).actor, view.id)
    except Conflict as error:
        raise Problem("conflict", f"{error}.", more={"code": _TOO_LATE}) from None
    return _answer(await _shown(parts, view, account, sid))


def _of_account(request: Request, account: str) -> Parts:
    """Return the parts. Raises `Problem` where the path names another account than ours."""
    parts = parts_of(request)
    if account != parts.settings.twilio_account_sid:
        raise Problem("not-found", "This service has no such account.", more={"code": _NOT_FOUND})
    if shown_name(request.headers.get("authorization", "")) not in (account, None):
        raise unauthorized("The user name is the account's SID, the password a key of ours.")
    return parts


async def _form(request: Request) -> list[tuple[str, str]]:
    """Return a form's pairs in their order. Raises `Problem` 415 or 400."""
    kind = request.headers.get("content-type", _FORM).partition(";")[0].strip().lower()
    if kind != _FORM:
        raise Problem("unsupported-media-type", f"This takes {_FORM}.")
    try:
        text = (await request.body()).decode()
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=1000)
    except ValueError:
        raise Problem("bad-request", "The form is not readable as UTF-8.", more={"code": 21604}) from None


def _message(pairs: list[tuple[str, str]]) -> CreateMessage:
    """Return what is asked for. Raises `Problem` with the code that Twilio would answer."""
    fields, faults = parse_form(pairs)
    if not fields.get("to"):
        detail = "A 'To' phone number is required"
        raise Problem("bad-request", detail, more={"code": 21604})
    message = CreateMessage(**fields)
    faults += check(message)
    if faults:
        fault = faults[0]
        told = f"{fault.parameter}: {fault.rule}"
        raise Problem("bad-request", told, more={"code": fault.twilio_code})
    return message


def _of_form(nonce: str, pairs: list[tuple[str, str]]) -> str:
    """Return the nonce of this very form: after a refusal (of somebody opted out, say) the key is free."""
    return hashlib.sha256(msgspec.json.encode([nonce, *pairs])).hexdigest()


def _asked_for(message: CreateMessage, options: dict[str, str], key_id: str) -> SingleRequest:
    variables = msgspec.json.decode(message.content_variables or "{}", type=dict[str, str])
    content = Content(
        body=message.body or None,
        media_urls=message.media_url,
        content_sid=message.content_sid,
        content_variables=variables,
        options=options,
    )
    return SingleRequest(
        key_id=key_id,
        content=content,
        to=[Person(message.to)],
        senders=(message.from_,) if message.from_ else (),
        service=message.messaging_service_sid,
        literal=True,
    )


async def _existing(parts: Parts, sid: str) -> MessageView:
    found = await find_message(parts, sid)
    if found is None:
        raise Problem("not-found", f"There is no message {sid}.", more={"code": _NOT_FOUND})
    return found[0]


async def _shown(parts: Parts, view: MessageView, account: str, sid: str = "") -> dict[str, Any]:
    spec, body = await read_body(parts.store, view)
    return resource(view, spec, body, account, sid)


def _answer(value: dict[str, Any], status: int = HTTPStatus.OK) -> Done:
    return Done(msgspec.json.encode(value), status, media_type="application/json")
