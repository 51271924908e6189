"""Replies: `POST /webhooks/twilio/inbound`, and `/webhooks/twilio/webhook`. The answer is TwiML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.api.webhooks.requests import Answer
from broadcaster.api.webhooks.status import take_status
from broadcaster.operations.replies import receive

if TYPE_CHECKING:
    from broadcaster.api.parts import Parts
    from broadcaster.api.webhooks.requests import Request


async def take_inbound(parts: Parts, request: Request) -> Answer:
    """Take a reply. A status callback that was sent here is one all the same: it names a status."""
    fields = {
        name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, value in request.fields
    }
    if "MessageStatus" in fields:
        return await take_status(parts, request)
    return _twiml(await receive(parts.store, parts.webhooks.rules, fields, parts.metrics.replied))


def _twiml(text: str) -> Answer:
    body = text.encode()
    headers = [(b"content-type", b"text/xml"), (b"content-length", b"%d" % len(body))]
    return Answer(200, headers, body)
