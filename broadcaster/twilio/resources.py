"""What Twilio's reading calls return, as values. Fields we do not use are left out; new ones are ignored.

Every field may be missing or null in some state of a message, so all but the SID have a default.
"""

from __future__ import annotations

from email.utils import mktime_tz, parsedate_tz
from typing import Final

import msgspec

from broadcaster.domain.evidence import Listed

#: Before a number that a service wrote to by RCS: it is the one that was named all the same.
RCS: Final = "rcs:"


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """A Message resource. Dates are RFC 2822 texts with whole seconds; see `created_seconds`.

    `from_` is null until a messaging service has chosen a sender, `date_sent` until it was sent. `body` is as
    Twilio has it: with a trial prefix, smart encoding, short links; empty once redacted. `num_segments` is
    "0" at first with a service.
    """

    sid: str
    status: str = ""
    to: str | None = None
    from_: str | None = msgspec.field(default=None, name="from")
    body: str | None = None
    direction: str | None = None
    messaging_service_sid: str | None = None
    error_code: int | None = None
    error_message: str | None = None
    num_segments: str | None = None
    num_media: str | None = None
    price: str | None = None
    price_unit: str | None = None
    date_created: str | None = None
    date_updated: str | None = None
    date_sent: str | None = None
    uri: str | None = None

    def __repr__(self) -> str:
        return f"Message({self.sid}, {self.status!r})"  # never the body or the numbers

    @property
    def created_seconds(self) -> int | None:
        """When Twilio made it, in whole unix seconds of Twilio's clock; None if it does not say."""
        return unix_seconds(self.date_created)

    @property
    def sent_seconds(self) -> int | None:
        """When it was sent, in whole unix seconds of Twilio's clock; None while it was not."""
        return unix_seconds(self.date_sent)


class MessagePage(msgspec.Struct, frozen=True, kw_only=True):
    """One page of the list of messages.

    `server_seconds` is Twilio's clock when it answered (its `Date` header), None without one.
    """

    messages: tuple[Message, ...] = ()
    next_page_uri: str | None = None
    server_seconds: int | None = None


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An Account resource."""

    sid: str
    friendly_name: str | None = None
    status: str = ""
    type: str = ""

    @property
    def is_trial(self) -> bool:
        """Trial accounts prefix bodies, send to verified numbers only, and have low limits."""
        return self.type == "Trial"


class Service(msgspec.Struct, frozen=True, kw_only=True):
    """A Messaging Service: what of it changes what is sent."""

    sid: str
    friendly_name: str | None = None
    smart_encoding: bool = False
    sticky_sender: bool = False
    validity_period: int | None = None
    status_callback: str | None = None
    use_inbound_webhook_on_number: bool = False
    inbound_request_url: str | None = None
    inbound_method: str | None = None


class IncomingNumber(msgspec.Struct, frozen=True, kw_only=True):
    """A number or short code of the account: where messages to it are reported."""

    sid: str
    sms_url: str | None = None
    sms_method: str | None = None
    sms_application_sid: str | None = None


def unix_seconds(date: str | None) -> int | None:
    """Read an RFC 2822 date; None for what is none."""
    parsed = parsedate_tz(date or "")
    return None if parsed is None else int(mktime_tz(parsed))


def listed_of(message: Message) -> Listed:
    """Return what of a message tells whether it is one of ours."""
    return Listed(
        sid=message.sid,
        to=message.to and message.to.removeprefix(RCS),
        sender=message.from_ and message.from_.removeprefix(RCS),
        service=message.messaging_service_sid,
        direction=message.direction,
        body=message.body,
        created=message.created_seconds,
        sent=message.sent_seconds,
    )
