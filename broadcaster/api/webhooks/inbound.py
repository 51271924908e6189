"""Replies: `POST /webhooks/twilio/inbound`, and `/webhooks/twilio/webhook`. The answer is TwiML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.api.webhooks.answering import take_reply
from broadcaster.api.webhooks.status import take_status

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from typing import Any

    from broadcaster.api.parts import Parts
    from broadcaster.api.webhooks.requests import Request
    from broadcaster.api.webhooks.writing import Told
    from broadcaster.api.whole import Answer


def take_inbound(parts: Parts, request: Request, told: Told) -> Answer | Coroutine[Any, Any, Answer] | None:
    """Take a reply. A status callback that was sent here is one all the same: it names a status."""
    if any(name == b"MessageStatus" for name, _ in request.fields):
        return take_status(parts, request, told)
    return take_reply(parts, request)
