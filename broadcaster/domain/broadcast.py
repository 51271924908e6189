"""What somebody asked for: one content, one list, its senders and its policy."""

from __future__ import annotations

import enum
from datetime import datetime

import msgspec

from broadcaster.domain.content import Content
from broadcaster.domain.handing import Handing
from broadcaster.domain.purpose import Consent, Purpose
from broadcaster.domain.send_window import SendWindow


class Priority(enum.StrEnum):
    """The class a broadcast's flows stand in; classes share a lane 90 : 9 : 1 while all have work."""

    URGENT = "urgent"
    NORMAL = "normal"
    BULK = "bulk"


class OnDoubt(enum.StrEnum):
    """What to do with a message of which no evidence can be found."""

    RESEND = "resend"
    HOLD = "hold"


class OutsideWindow(enum.StrEnum):
    """What becomes of free text to somebody whose 24-hour window of WhatsApp is closed.

    `send` leaves it to Twilio, which fails it with 63016. A fallback template goes before both.
    """

    REFUSE = "refuse"
    SEND = "send"


class Scheduler(enum.StrEnum):
    """Who keeps a broadcast until its time: we do, or Twilio (`SendAt`), which then has every message."""

    BROADCASTER = "broadcaster"
    TWILIO = "twilio"


class BroadcastState(enum.StrEnum):
    """`draft → importing → scheduled → running ⇄ paused → completed / canceled`; `importing → failed`.

    A delete that was broken off leaves `deleting`; deleting it again ends that.
    """

    IMPORTING = "importing"
    DRAFT = "draft"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    CANCELED = "canceled"
    FAILED = "failed"
    DELETING = "deleting"


class BroadcastSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything about a broadcast but its list.

    `senders` are lane names: `From` addresses, or one `MG…`. With `messaging_service_sid` set and
    other senders named, each is sent from that service's pool, as Twilio's API has it.
    `schedule_at` and `expires_at` are unix seconds; `rate` is segments a second over all senders.
    `consent` is all recipients', or stands in the list's `consent_column`; outside its `send_window` it
    waits; its people are known for `retention_days` after its end (None: as long as the settings say).
    `instead_of` names senders and services: in place of WhatsApp messages on those these SMS go.
    """

    name: str
    senders: tuple[str, ...]
    content: Content
    messaging_service_sid: str | None = None
    priority: Priority = Priority.NORMAL
    on_doubt: OnDoubt = OnDoubt.RESEND
    schedule_at: float | None = None
    expires_at: float | None = None
    rate: float | None = None
    purpose: Purpose = Purpose.UTILITY
    consent: Consent | None = None
    consent_column: str | None = None
    send_window: SendWindow | None = None
    retention_days: int | None = None
    outside_window: OutsideWindow = OutsideWindow.REFUSE
    scheduler: Scheduler = Scheduler.BROADCASTER
    instead_of: tuple[str, ...] = ()

    @property
    def hours(self) -> SendWindow | Handing | None:
        """When its messages may leave us; None: at any time."""
        return self.send_window if self.handing is None else self.handing

    @property
    def handing(self) -> Handing | None:
        """How its messages are handed over to Twilio's scheduler, if they are."""
        if self.scheduler is not Scheduler.TWILIO or self.schedule_at is None:
            return None
        return Handing(self.schedule_at, self.send_window)

    @property
    def starts_at(self) -> float | None:
        """When it starts by itself, in unix seconds; None: at once, or by hand."""
        return None if self.handing else self.schedule_at

    @property
    def send_at(self) -> float:
        """Until when Twilio keeps its messages back (`SendAt`), in unix seconds; 0.0: it sends at once."""
        if self.handing is not None:
            return self.handing.at
        text = self.content.options.get("SendAt", "")
        try:
            return datetime.fromisoformat(text).timestamp() if text else 0.0
        except ValueError:
            return 0.0
