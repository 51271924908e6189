"""One accepted message: what is kept of it, what it looks like at a moment, and its JSON."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Final

import msgspec

_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MASK: Final = 0xFFFFFFFF
_SPREAD: Final = 0x9E3779B1  # odd, so that number → number * _SPREAD mod 2**32 can be undone
_UNSPREAD: Final = pow(_SPREAD, -1, 1 << 32)
_FINAL: Final = frozenset({"delivered", "undelivered", "failed", "canceled", "sent", "read", "received"})
_PRICE: Final = 0.0075


class Message(msgspec.Struct, gc=False, kw_only=True):
    """What the simulator keeps. Times are unix seconds on the true clock; no reference cycles (gc off)."""

    number: int
    prefix: str
    """What all sids of one world have in common: 24 hexadecimal digits, one string for all messages."""
    account: str
    to: str
    sender: str
    service: str | None
    named: bool
    """Whether the request named the sender, also where a service was given."""
    body: str
    segments: int
    media: int
    created: float
    received_ms: float
    chosen_at: float
    starts_at: float
    leaves_at: float
    ends_at: float
    attempt: int
    fault: str = ""
    outcome: int = 0
    scheduled_at: float = 0.0
    touched: float = 0.0
    canceled: bool = False
    redacted: bool = False
    deleted: bool = False
    no_receipt: bool = False
    """The carrier never says that it was delivered: it stays `sent`."""
    read_at: float = 0.0
    callback: str = ""
    direction: str = "outbound-api"
    content_sid: str = ""
    discard: bool = False
    """Its body is forgotten once it is sent."""
    obfuscate: bool = False
    """The end of its recipient's number is forgotten once it is sent."""
    early: bool = False
    """Its first callbacks are answered before its 201 is."""

    @property
    def sid(self) -> str:
        """The sid, made when asked: kept, a million would take 80 MB. Media make it an MM."""
        return f"{'MM' if self.media else 'SM'}{self.prefix}{self.number * _SPREAD & _MASK:08x}"

    def status(self, now: float) -> str:  # noqa: C901, PLR0911  one return per status
        """Return Twilio's word for where the message is."""
        if self.canceled:
            return "canceled"
        if self.direction == "inbound":
            return "received"
        if now < self.scheduled_at:
            return "scheduled"
        if now < self.chosen_at:
            return "accepted"
        if now < self.starts_at:
            return "queued"
        if now < self.leaves_at:
            return "sending"
        if self.outcome in FAILED_HERE:
            return "failed"
        if now < self.ends_at:
            return "sent"
        if self.outcome:
            return "undelivered"
        if self.no_receipt:
            return "sent"
        return "read" if 0 < self.read_at <= now else "delivered"

    def sent_at(self, now: float) -> float | None:
        """Return when it was sent, None while it wasn't (or never will be)."""
        if self.canceled or now < self.leaves_at or self.outcome in FAILED_HERE:
            return None
        return self.leaves_at

    def shown_sender(self, now: float) -> str | None:
        """Return its `from`: null until a service has chosen one."""
        return self.sender if self.named or now >= self.chosen_at else None

    def shown_to(self, now: float) -> str:
        """Return its `to`, without the last four digits where they are not to be kept."""
        return f"{self.to[:-4]}XXXX" if self.obfuscate and self.complete(now) else self.to

    def shown_body(self, now: float) -> str:
        """Return its `body`; a service fills a template only when it has chosen the sender."""
        if self.redacted or (self.discard and self.complete(now)):
            return ""
        return "" if self.content_sid and self.service and now < self.chosen_at else self.body

    def complete(self, now: float) -> bool:
        """Whether it may be deleted."""
        return self.status(now) in _FINAL


#: Codes of messages that never left: queue overflow of a service's sender, validity period over; replies to
#: somebody who opted out; what Twilio itself knows about WhatsApp recipients and templates.
FAILED_HERE: Final = frozenset({30001, 30036, 21610, 63003, 63015, 63027, 63040, 63041, 63042})


def number_in(sid: str) -> int:
    """Return the number behind a sid; raises ValueError where its end is not hexadecimal."""
    return int(sid[-8:], 16) * _UNSPREAD & _MASK


@lru_cache(maxsize=4096)
def rfc2822(second: int) -> str:
    """Return a unix second as Twilio writes it: `Thu, 24 Aug 2023 05:01:45 +0000`."""
    t = time.gmtime(second)
    day, month = _DAYS[t.tm_wday], _MONTHS[t.tm_mon - 1]
    return f"{day}, {t.tm_mday:02d} {month} {t.tm_year} {t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d} +0000"


def iso8601(moment: float) -> str:
    """Return unix seconds as the newer APIs write them: `2023-08-24T05:01:45Z`."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def _date(moment: float | None, skew: float) -> str | None:
    return None if moment is None else rfc2822(int(moment + skew))


def resource(message: Message, now: float, skew: float) -> dict[str, object]:
    """Return the Message resource as it is at `now`, dates on a clock that is `skew` seconds ahead."""
    status = message.status(now)
    sent = message.sent_at(now)
    failed = message.outcome if status in ("failed", "undelivered") else None
    uri = f"/2010-04-01/Accounts/{message.account}/Messages/{message.sid}"
    shown = message.shown_sender(now)
    changed = max(message.created, message.touched, _last_change(message, status))
    return {
        "sid": message.sid,
        "account_sid": message.account,
        "api_version": "2010-04-01",
        "messaging_service_sid": message.service,
        "from": shown,
        "to": message.shown_to(now),
        "body": message.shown_body(now),
        "status": status,
        "direction": message.direction,
        "num_segments": "0" if message.service and shown is None else str(message.segments),
        "num_media": str(message.media),
        "price": None if sent is None else f"-{_PRICE * message.segments:.5f}",
        "price_unit": "USD",
        "error_code": failed,
        "error_message": None if failed is None else f"Simulated failure {failed}",
        "date_created": _date(message.created, skew),
        "date_updated": _date(changed, skew),
        "date_sent": _date(sent, skew),
        "uri": f"{uri}.json",
        "subresource_uris": {"media": f"{uri}/Media.json", "feedback": f"{uri}/Feedback.json"},
    }


def _last_change(message: Message, status: str) -> float:
    """Return when the message came to this status."""
    if status == "read":
        return message.read_at
    if status in ("delivered", "undelivered"):
        return message.ends_at
    if status in ("sent", "failed"):
        return message.leaves_at
    return message.starts_at if status == "sending" else message.created
