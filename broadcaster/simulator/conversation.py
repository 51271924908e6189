"""What people wrote and what went back to them: messages beside those that the API was asked for."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from broadcaster.simulator.encoding import count_segments
from broadcaster.simulator.messages import Message, number_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.simulator.senders import SenderQueue


class Text(NamedTuple):
    """What is said; media are pairs of URL and content type."""

    to: str
    sender: str
    service: str | None
    body: str
    media: tuple[tuple[str, str], ...] = ()


class Heard(msgspec.Struct, kw_only=True):
    """One message from a person and what became of it.

    `status` is the webhook's (0: no answer, then `failure` says why), `error` Twilio's code where the answer
    was no TwiML; `replies` are numbers of messages, Twilio's own answer among them.
    """

    number: int
    url: str = ""
    status: int = 0
    failure: str = ""
    tries: int = 0
    twiml: str = ""
    error: int = 0
    opt_out_type: str = ""
    answered_by_twilio: bool = False
    answered_ms: float = 0.0
    """When the webhook was answered or given up, on the clock of `received_ms` and `arrived_ms`."""
    replies: list[int] = msgspec.field(default_factory=list)


class Conversation:
    """Inbound messages and replies, in order. Their sids have a prefix of their own."""

    def __init__(self, prefix: str, account: str) -> None:
        self.prefix = blake2b(prefix.encode(), digest_size=12).hexdigest()
        self.messages: list[Message] = []
        self.heard: list[Heard] = []
        self.media: dict[int, tuple[tuple[str, str], ...]] = {}
        self._account = account
        self._to: dict[str, list[int]] = {}

    def find(self, sid: str) -> Message | None:
        """Return the message of that sid, deleted or not."""
        try:
            number = number_in(sid)
        except ValueError:
            return None
        message = self.messages[number] if number < len(self.messages) else None
        return message if message is not None and message.sid == sid else None

    def messages_to(self, to: str | None) -> Iterator[Message]:
        """Iterate over the messages to an address, or all."""
        numbers = range(len(self.messages)) if to is None else self._to.get(to, [])
        return (self.messages[number] for number in numbers)

    def receive(self, text: Text, now: float) -> Message:
        """Keep what a person wrote."""
        return self._add("inbound", text, now, now)

    def reply(self, text: Text, queue: SenderQueue, now: float, *, refused: int = 0) -> Message:
        """Send an answer through its sender's queue; `refused` is the code it fails with instead."""
        segments = 1 if text.media else count_segments(text.body)
        message = self._add("outbound-reply", text, now, now if refused else queue.put(now, segments)[1])
        message.outcome = refused
        return message

    def _add(self, direction: str, text: Text, now: float, leaves: float) -> Message:
        message = Message(
            number=len(self.messages),
            prefix=self.prefix,
            account=self._account,
            to=text.to,
            sender=text.sender,
            service=text.service,
            named=True,
            body=text.body,
            segments=1 if text.media else count_segments(text.body),
            media=len(text.media),
            created=now,
            received_ms=0.0,
            chosen_at=now,
            starts_at=now,
            leaves_at=leaves,
            ends_at=leaves,
            attempt=1,
            direction=direction,
        )
        if text.media:
            self.media[message.number] = text.media
        self._to.setdefault(text.to, []).append(message.number)
        self.messages.append(message)
        return message

    def row(self, heard: Heard, now: float) -> dict[str, Any]:
        """Return one line of the control API's `inbound`."""
        message = self.messages[heard.number]
        told = msgspec.structs.asdict(heard)
        del told["number"]
        return told | {
            "sid": message.sid,
            "from": message.sender,
            "to": message.to,
            "service": message.service,
            "body": message.body,
            "received_at": message.created,
            "replies": [self._reply_row(self.messages[number], now) for number in heard.replies],
        }

    def _reply_row(self, message: Message, now: float) -> dict[str, Any]:
        media = [url for url, _ in self.media.get(message.number, ())]
        return {
            "sid": message.sid,
            "from": message.sender,
            "to": message.to,
            "body": message.body,
            "media": media,
            "status": message.status(now),
            "error_code": message.outcome or None,
        }
