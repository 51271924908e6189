"""Messages of the Twilio account by hand, whoever sent them: read, emptied, canceled, deleted.

Twilio's answers and refusals come through as they are (`TwilioError`). What is one of ours is found by the
number that Twilio names, and its record learns what Twilio told; where Twilio hides the number
(`AddressRetention`), a callback or the next poll brings it.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

from msgspec import ValidationError, convert

from broadcaster.domain.record import Evidence
from broadcaster.ledger.callbacks import STATES, Status, write_statuses
from broadcaster.operations import audit
from broadcaster.operations.before_deleting import settle_by
from broadcaster.operations.errors import Fault, Invalid
from broadcaster.reporting.by_sid import find_sid
from broadcaster.twilio import messages
from broadcaster.twilio.resources import RCS, Message, listed_of
from broadcaster.twilio.wire import TwilioError, TwilioUnreachable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from broadcaster.domain.evidence import Listed
    from broadcaster.operations.actor import Actor
    from broadcaster.store.connection import Store
    from broadcaster.twilio.messages import Resource
    from broadcaster.twilio.wire import Wire

_T = TypeVar("_T")
#: Who wrote it, as a message's history has it.
TELLER = "by hand"
#: What an audit entry says of a change before Twilio is asked for it, and of one of which nothing is known.
ASKED = "asked"
_UNKNOWN = "unknown: no good answer came"
_ONLY_EMPTY = (
    "Twilio takes only an empty body: a message's text can be emptied (redacted), not changed; leave it out"
)


def check_sid(sid: str) -> str:
    """Return a message's SID. Raises Invalid for what is none."""
    if messages.is_sid(sid) is None:
        raise Invalid(Fault(f"{sid!r} is no SID of a message: SM or MM and 32 hexadecimal digits"))
    return sid


def check_body(body: str) -> None:
    """Raise Invalid for a text: Twilio takes only an empty one."""
    if body:
        raise Invalid(Fault(_ONLY_EMPTY, "/body"))


async def redact(store: Store, twilio: Wire, actor: Actor, sid: str, body: str = "") -> Resource:
    """Empty a message's text at Twilio, for good. Raises Invalid for another text, before it is asked."""
    check_body(body)
    check_sid(sid)
    return await _audited(store, actor, "redact", sid, lambda: messages.update(twilio, sid, Body=""))


async def cancel(store: Store, twilio: Wire, actor: Actor, sid: str) -> Resource:
    """Cancel a message that Twilio keeps back for its hour; of ours the record becomes skipped."""
    check_sid(sid)
    canceled = await _audited(
        store, actor, "cancel", sid, lambda: messages.update(twilio, sid, Status="canceled")
    )
    await _tell(store, canceled)
    return canceled


async def delete(store: Store, twilio: Wire, actor: Actor, sid: str) -> None:
    """Delete a message at Twilio, for good. What became of it is read first: afterwards nobody can tell.

    Raises Conflict while it may be one of ours in doubt (`settle_by`).
    """
    message, server_seconds = await messages.read_dated(twilio, check_sid(sid))
    if not await _tell(store, message) and await settle_by(store, _listed(message), server_seconds):
        await _tell(store, message)
    await _audited(store, actor, "delete", sid, lambda: messages.remove(twilio, sid))


async def _audited(
    store: Store, actor: Actor, verb: str, sid: str, change: Callable[[], Awaitable[_T]]
) -> _T:
    """Note that a change is asked for, make it, and note what came of it.

    The first entry is written before: an act that nobody is named for is worse than a name for one that
    Twilio refused. Where it stands alone the process died, or Redis was away: it may have been made.
    """
    what = f"twilio-message.{verb}"
    await audit.record(store, actor, what, sid, new=ASKED)
    try:
        answer = await change()
    except TwilioUnreachable:
        await audit.record(store, actor, what, sid, new=_UNKNOWN)
        raise
    except TwilioError as error:
        refused = _UNKNOWN if _may_be_made(error.status) else f"refused: {error.code or error.status}"
        await audit.record(store, actor, what, sid, new=refused)
        raise
    await audit.record(store, actor, what, sid, new=_status(answer))
    return answer


def _may_be_made(status: int) -> bool:
    """Tell whether a change may have been made: an answer that is no JSON, a timeout, trouble of Twilio's."""
    made = status < HTTPStatus.MULTIPLE_CHOICES or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return made or status == HTTPStatus.REQUEST_TIMEOUT


def _status(answer: object) -> str | None:
    return str(answer.get("status")) if isinstance(answer, dict) else None


async def _tell(store: Store, message: Resource) -> bool:
    """Write into the ledger what Twilio says of a message; tells whether it is one that a record holds."""
    sid, status = str(message.get("sid") or ""), str(message.get("status") or "")
    if messages.is_sid(sid) is None:
        return False
    found = await find_sid(store, str(message.get("to") or "").removeprefix(RCS), sid)
    if found is None:
        return False
    if status in STATES:
        view, attempt = found
        code = message.get("error_code")
        told = Status(
            *(view.broadcast, view.batch, view.index, attempt, sid, status),
            code if isinstance(code, int) else 0,
        )
        await store.run(write_statuses([told], Evidence.ANSWER, TELLER))
    return True


def _listed(message: Resource) -> Listed:
    """Return what tells whose it is. Raises TwilioError for what is no Message."""
    try:
        return listed_of(convert(message, Message))
    except ValidationError:
        raise TwilioError(HTTPStatus.OK) from None
