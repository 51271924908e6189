"""What somebody asks to be broadcast, as the intake takes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from broadcaster.domain.broadcast import BroadcastSpec, OnDoubt, OutsideWindow, Priority, Scheduler
from broadcaster.domain.purpose import Consent, Purpose
from broadcaster.intake.fingerprint import fingerprint

if TYPE_CHECKING:
    from enum import StrEnum

    from broadcaster.domain.content import Content
    from broadcaster.domain.send_window import SendWindow
    from broadcaster.intake.senders import Lane


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """What somebody asks for, but the list. `schedule_at` is in unix seconds.

    `expires_in_seconds` counts from the start: now, or `schedule_at`. `rate` is segments a second over
    all senders. `list_options` are choices that change what is read from the list, for the fingerprint.
    """

    name: str
    content: Content
    lanes: tuple[Lane, ...]
    messaging_service_sid: str | None = None
    region: str | None = None
    priority: Priority = Priority.NORMAL
    on_doubt: OnDoubt = OnDoubt.RESEND
    schedule_at: float | None = None
    expires_in_seconds: float | None = None
    rate: float | None = None
    idempotency_key: str = ""
    list_options: tuple[tuple[str, str | None], ...] = ()
    purpose: Purpose = Purpose.UTILITY
    consent: Consent | None = None
    consent_column: str | None = None
    send_window: SendWindow | None = None
    retention_days: int | None = None
    outside_window: OutsideWindow = OutsideWindow.REFUSE
    scheduler: Scheduler = Scheduler.BROADCASTER

    @property
    def handed_at(self) -> float | None:
        """Until when Twilio's scheduler shall keep it, in unix seconds; None: it isn't asked to."""
        return self.schedule_at if self.scheduler is Scheduler.TWILIO else None

    def spec(self, now: float) -> BroadcastSpec:
        """Return what workers need to know of it."""
        expires = None
        if self.expires_in_seconds is not None:
            expires = (self.schedule_at or now) + self.expires_in_seconds
        return BroadcastSpec(
            name=self.name,
            senders=tuple(lane.name for lane in self.lanes),
            content=self.content,
            messaging_service_sid=self.messaging_service_sid,
            priority=self.priority,
            on_doubt=self.on_doubt,
            schedule_at=self.schedule_at,
            expires_at=expires,
            rate=self.rate,
            purpose=self.purpose,
            consent=self.consent,
            consent_column=self.consent_column,
            send_window=self.send_window,
            retention_days=self.retention_days,
            outside_window=self.outside_window,
            scheduler=self.scheduler,
        )

    def fingerprint(self, list_digest: str) -> str:
        """Return what makes another submission the same."""
        options = {
            "service": self.messaging_service_sid,
            "priority": str(self.priority),
            "on_doubt": str(self.on_doubt),
            "schedule_at": self.schedule_at,
            "expires_in": self.expires_in_seconds,
            "rate": self.rate,
            "region": self.region,
            "purpose": _unless(self.purpose, Purpose.UTILITY),
            "consent": None if self.consent is None else str(self.consent),
            "consent_column": self.consent_column,
            "send_window": None if self.send_window is None else str(self.send_window),
            "retention_days": self.retention_days,
            "outside_window": _unless(self.outside_window, OutsideWindow.REFUSE),
            "scheduler": _unless(self.scheduler, Scheduler.BROADCASTER),
            **dict(self.list_options),
        }
        return fingerprint(self.content, (lane.name for lane in self.lanes), list_digest, options)


def _unless(value: StrEnum, usual: StrEnum) -> str | None:
    """Return what is not as usual: options that came later must not change the fingerprints from before."""
    return None if value is usual else str(value)
