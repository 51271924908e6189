"""The client: single messages, and all that its parts can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from broadcaster.client.broadcasts import BroadcastCalls, key_or_new, new_key, spec_of
from broadcaster.client.event_endpoints import EventCalls
from broadcaster.client.opt_in_links import LinkCalls
from broadcaster.client.people import PeopleCalls
from broadcaster.client.replies import ReplyCalls
from broadcaster.client.steering import SteeringCalls
from broadcaster.client.templates import TemplateCalls
from broadcaster.client.twilio_messages import TwilioMessageCalls
from broadcaster.client.values import Message
from broadcaster.client.verifications import VerificationCalls

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class Client(
    BroadcastCalls,
    SteeringCalls,
    ReplyCalls,
    EventCalls,
    PeopleCalls,
    TemplateCalls,
    TwilioMessageCalls,
    VerificationCalls,
    LinkCalls,
):
    """The API of one installation, for one key. Use it as a context manager, or `close` it.

    What creates or changes something carries an Idempotency-Key, a new one unless you give yours: a call
    whose answer was lost is asked again and done once. Lists are iterators that fetch page after page.
    """

    def send(
        self, to: str | Sequence[Any], *, idempotency_key: str | None = None, **content: Any
    ) -> list[Message]:
        """Send a message to one, or to up to 100: alerts and notices, urgent unless `priority` says else."""
        body = {**spec_of(content), "to": to if isinstance(to, str) else list(to)}
        key = key_or_new(idempotency_key)

        def of(answer: dict[str, Any]) -> list[Message]:
            return [Message.of(entry) for entry in answer["messages"]]

        return self.one(of, "POST", "/v1/messages", json=body, idempotency_key=key)

    def message(self, message: str) -> Message:
        """Return one message with its history, by our id or Twilio's SID. Raises `ApiError` 404."""
        return self.one(Message.of, "GET", _at(message))

    def messages(self, to: str, *, limit: int | None = None) -> Iterator[Message]:
        """Yield a person's messages across broadcasts, the newest first; `limit`: how many a page has."""
        yield from self.every("/v1/messages", Message.of, to=to, **({"limit": limit} if limit else {}))

    def cancel_message(self, message: str) -> Message:
        """Stop a message that has not left. Raises `ApiError` 409 where it has."""
        return self.one(Message.of, "POST", f"{_at(message)}/cancel", idempotency_key=new_key())


def _at(message: str) -> str:
    return f"/v1/messages/{quote(message, safe='')}"
