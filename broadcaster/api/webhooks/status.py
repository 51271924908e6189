"""Status callbacks: `POST /webhooks/twilio/status`, answered once what it tells is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broadcaster.api.webhooks.answering import take_reply
from broadcaster.api.whole import Answer
from broadcaster.ledger.callbacks import STATES, Status, code_of, is_sid
from broadcaster.ledger.strays import LONGEST_ADDRESS, Stray
from broadcaster.twilio.forms import decode_form

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from broadcaster.api.parts import Parts
    from broadcaster.api.webhooks.requests import Request
    from broadcaster.api.webhooks.writing import Told

#: What `SmsStatus` says of a message to us (DOC:messaging/guides/webhook-request).
_RECEIVED: Final = frozenset({"received", "receiving"})
_DONE: Final = Answer(204, [], b"")


def take_status(parts: Parts, request: Request, told: Told) -> Answer | Coroutine[Any, Any, Answer] | None:
    """Have what a callback tells written; None: `told` hears of it then, of the store's errors too.

    What it tells of a message that isn't ours, or in words that we don't know, is counted and no fault. A
    reply that was sent here, where a sender's address is set wrongly, is one all the same: it may be a STOP.
    """
    fields = dict(request.fields)
    sid = (fields.get(b"MessageSid") or fields.get(b"SmsSid", b"")).decode("latin-1")
    word = (fields.get(b"MessageStatus") or fields.get(b"SmsStatus", b"")).decode("latin-1")
    said = fields.get(b"ErrorCode")
    code = code_of(said.decode("latin-1")) if said else 0
    if word in _RECEIVED and b"MessageStatus" not in fields:
        return take_reply(parts, request)
    if word not in STATES or not is_sid(sid):
        parts.metrics.callbacks_ended("ignored", 1)
        return _DONE
    webhooks = parts.webhooks
    reference = webhooks.references.read(_shown(request.query))
    if reference is not None:
        webhooks.writer.write(Status(*reference, sid, word, code), request.began, told)
        return None
    to = fields.get(b"To", b"").decode("utf-8", "replace")
    if 0 < len(to) <= LONGEST_ADDRESS:
        webhooks.writer.park(Stray(to, sid, word, code), told)
        return None
    parts.metrics.callbacks_ended("dropped", 1)
    return _DONE


def _shown(query: bytes) -> bytes:
    """Return the reference that the address has, if any."""
    if query.startswith(b"r=") and b"&" not in query and b"%" not in query:
        return query[2:]
    return dict(decode_form(query)).get(b"r", b"")
