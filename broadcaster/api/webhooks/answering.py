"""A reply taken, and answered in TwiML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broadcaster.api.whole import Answer
from broadcaster.operations.replies import receive

if TYPE_CHECKING:
    from broadcaster.api.parts import Parts
    from broadcaster.api.webhooks.requests import Request


async def take_reply(parts: Parts, request: Request) -> Answer:
    """Take what somebody wrote. Raises the store's errors: then Twilio shall come again."""
    fields = {
        name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, value in request.fields
    }
    body = (await receive(parts.store, parts.webhooks.rules, fields, parts.metrics.replied)).encode()
    headers = [(b"content-type", b"text/xml"), (b"content-length", b"%d" % len(body))]
    return Answer(200, headers, body)
