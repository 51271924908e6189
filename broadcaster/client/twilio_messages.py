"""Messages of the Twilio account by hand: Twilio's own objects, as it answers them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broadcaster.client.asking import Asking
from broadcaster.client.broadcasts import given, new_key

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATH = "/v1/twilio/messages"


class TwilioMessageCalls(Asking):
    """What can be done with messages at Twilio, whoever sent them.

    What Twilio refuses raises `ApiError`, whose `problem["twilio"]` is what it answered.
    """

    def twilio_messages(
        self,
        *,
        to: str | None = None,
        from_: str | None = None,
        sent_on: str | None = None,
        sent_after: str | None = None,
        sent_before: str | None = None,
        limit: int | None = None,
    ) -> Iterator[dict[str, Any]]:
        """Yield messages, the newest first; days are Twilio's, GMT's; `limit`: how many a page has."""
        wanted = given(
            to=to, sent_on=sent_on, sent_after=sent_after, sent_before=sent_before, limit=limit,
            **{"from": from_},
        )  # fmt: skip
        yield from self.every(_PATH, dict, **wanted)

    def twilio_message(self, sid: str) -> dict[str, Any]:
        """Return one message. Raises `ApiError` 404."""
        return self.one(dict, "GET", f"{_PATH}/{sid}")

    def redact_twilio_message(self, sid: str) -> dict[str, Any]:
        """Empty a message's text at Twilio, for good."""
        return self.one(dict, "POST", f"{_PATH}/{sid}/redact", idempotency_key=new_key())

    def cancel_twilio_message(self, sid: str) -> dict[str, Any]:
        """Cancel a message that Twilio keeps back, asked once only. Raises `ApiError` 409: too late."""
        return self.one(dict, "POST", f"{_PATH}/{sid}/cancel")

    def delete_twilio_message(self, sid: str) -> None:
        """Delete a message at Twilio, for good. Raises `ApiError` 409: it is not finished yet."""
        self.ask("DELETE", f"{_PATH}/{sid}")
