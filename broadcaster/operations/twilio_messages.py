"""Messages of the Twilio account by hand, whoever sent them: read, emptied, canceled, deleted.

Twilio's answers and refusals come through as they are (`TwilioError`). What is one of ours is found by the
number that Twilio names, and its record learns what Twilio told; where Twilio hides the number
(`AddressRetention`), a callback or the next poll brings it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from broadcaster.domain.record import Evidence
from broadcaster.ledger.callbacks import STATES, Status, write_statuses
from broadcaster.operations import audit
from broadcaster.operations.errors import Fault, Invalid
from broadcaster.reporting.by_sid import find_sid
from broadcaster.twilio import messages
from broadcaster.twilio.wire import TwilioError, TwilioUnreachable

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from broadcaster.operations.actor import Actor
    from broadcaster.store.connection import Store
    from broadcaster.twilio.messages import Resource
    from broadcaster.twilio.wire import Wire

_T = TypeVar("_T")
#: Who wrote it, as a message's history has it.
TELLER = "by hand"
_ONLY_EMPTY = (
    "Twilio takes only an empty body: a message's text can be emptied (redacted), not changed; leave it out"
)


def check_sid(sid: str) -> str:
    """Return a message's SID. Raises Invalid for what is none."""
    if messages.is_sid(sid) is None:
        raise Invalid(Fault(f"{sid!r} is no SID of a message: SM or MM and 32 hexadecimal digits", "/sid"))
    return sid


def check_body(body: str) -> None:
    """Raise Invalid for a text: Twilio takes only an empty one."""
    if body:
        raise Invalid(Fault(_ONLY_EMPTY, "/body"))


async def redact(store: Store, twilio: Wire, actor: Actor, sid: str, body: str = "") -> Resource:
    """Empty a message's text at Twilio, for good. Raises Invalid for another text, before it is asked."""
    check_body(body)
    return await _audited(store, actor, "redact", sid, messages.update(twilio, check_sid(sid), Body=""))


async def cancel(store: Store, twilio: Wire, actor: Actor, sid: str) -> Resource:
    """Cancel a message that Twilio keeps back for its hour; of ours the record becomes skipped."""
    asked = messages.update(twilio, check_sid(sid), Status="canceled")
    canceled = await _audited(store, actor, "cancel", sid, asked)
    await _tell(store, canceled)
    return canceled


async def delete(store: Store, twilio: Wire, actor: Actor, sid: str) -> None:
    """Delete a message at Twilio, for good. What became of it is read first: afterwards nobody can tell."""
    await _tell(store, await messages.read(twilio, check_sid(sid)))
    await _audited(store, actor, "delete", sid, messages.remove(twilio, sid))


async def _audited(store: Store, actor: Actor, verb: str, sid: str, change: Awaitable[_T]) -> _T:
    """Make a change and note it; one without an answer too, as it may have been made."""
    try:
        answer = await change
    except (TwilioError, TwilioUnreachable) as error:
        if isinstance(error, TwilioUnreachable) or error.status >= 500:  # noqa: PLR2004 - HTTP
            await audit.record(store, actor, f"twilio-message.{verb}", sid, new="unknown: no answer came")
        raise
    await audit.record(store, actor, f"twilio-message.{verb}", sid, new=_status(answer))
    return answer


def _status(answer: object) -> str | None:
    return str(answer.get("status")) if isinstance(answer, dict) else None


async def _tell(store: Store, message: Resource) -> None:
    """Write into the ledger what Twilio says of a message, if it is one of ours and that is news."""
    sid, status = str(message.get("sid") or ""), str(message.get("status") or "")
    if status not in STATES or messages.is_sid(sid) is None:
        return
    found = await find_sid(store, str(message.get("to") or ""), sid)
    if found is None:
        return
    view, attempt = found
    code = message.get("error_code")
    told = Status(
        *(view.broadcast, view.batch, view.index, attempt, sid, status),
        code if isinstance(code, int) else 0,
    )
    await store.run(write_statuses([told], Evidence.ANSWER, TELLER))
