"""A broadcast as it is asked for in JSON: every field, its bounds, and what is wrong with each."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from broadcaster.domain.addresses import parse_address
from broadcaster.domain.broadcast import OnDoubt, OutsideWindow, Priority, Scheduler
from broadcaster.domain.purpose import Consent, Purpose, read_consent_time
from broadcaster.domain.senders import choose_senders, parse_rate, parse_sender
from broadcaster.domain.times import TimeError, parse_duration, parse_moment
from broadcaster.intake.encodings import encoding_named
from broadcaster.operations.content_form import CONTENT_FIELDS, ContentForm, Short
from broadcaster.operations.errors import Fault
from broadcaster.operations.order_bounds import INLINE_MOST
from broadcaster.operations.order_faults import as_fields, told
from broadcaster.operations.orders import Order, content_faults
from broadcaster.operations.terms import CONSENT_MISSING, window_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broadcaster.domain.send_window import SendWindow
    from broadcaster.settings import Settings

UNNAMED: Final = "unnamed"
#: What a name is of: no character that could move a terminal's cursor.
PRINTABLE: Final = r"^[^\x00-\x1f\x7f-\x9f]+$"
_LONGEST_SECONDS: Final = 366 * 86400.0


class ConsentForm(BaseModel):
    """Consent of all recipients; `at` is ISO 8601 with an offset, or a date."""

    model_config = ConfigDict(extra="forbid", strict=True)

    source: Annotated[str, Field(min_length=1, max_length=200, pattern=PRINTABLE)]
    at: Short


class OrderForm(ContentForm):
    """A broadcast: what it says, from whom, to whom, and when."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=False)

    name: Annotated[
        Annotated[str, Field(min_length=1, max_length=200, pattern=PRINTABLE)] | None,
        Field(description="What to call it; by default the name of the uploaded list."),
    ] = None
    from_: Annotated[
        str | Annotated[list[Short], Field(min_length=1, max_length=1000)] | None,
        Field(alias="from", description="Who sends; several share the list by their rates."),
    ] = None
    messaging_service_sid: Annotated[str | None, Field(description="A Messaging Service, MG….")] = None
    recipients: Annotated[
        list[Any] | None,
        Field(
            max_length=INLINE_MOST,
            description="Addresses, or objects with `to`, `variables` and `reference`; "
            "longer lists go as multipart.",
            json_schema_extra={
                "items": {
                    "anyOf": [
                        {"type": "string"},
                        {
                            "type": "object",
                            "required": ["to"],
                            "properties": {
                                "to": {"type": "string"},
                                "reference": {"type": "string"},
                                "variables": {"type": "object"},
                            },
                        },
                    ]
                }
            },
        ),
    ] = None
    schedule_at: Annotated[Short | None, Field(description="ISO 8601 with an offset, or in `zone`.")] = None
    scheduler: Annotated[
        Literal["broadcaster", "twilio"],
        Field(
            description="Who keeps it until `schedule_at`: we do, and it can be canceled to the last second, "
            "or Twilio, which takes every message at once (a Messaging Service, 15 minutes to 35 days ahead)."
        ),
    ] = "broadcaster"
    zone: Annotated[
        Short | None, Field(description="The zone of `schedule_at` and `send_window`, Europe/Berlin.")
    ] = None
    priority: Literal["urgent", "normal", "bulk"] = "normal"
    expires_in: Annotated[
        str | float | None,
        Field(description="Seconds, or 90m, 2h, 1d: what has not left by then is skipped."),
    ] = None
    on_doubt: Literal["resend", "hold"] | None = None
    purpose: Annotated[
        Literal["emergency", "utility", "marketing", "authentication"],
        Field(description="Why people are written to; marketing needs `consent` or `consent_column`."),
    ] = "utility"
    consent: Annotated[
        ConsentForm | None, Field(description="Where and when all recipients agreed to be written to.")
    ] = None
    consent_column: Annotated[
        Short | None, Field(description="The column that says so of each recipient.")
    ] = None
    send_window: Annotated[
        Short | None,
        Field(description="Daily hours in `zone`, 09:00-20:00: outside them the broadcast waits."),
    ] = None
    ignore_window: Annotated[bool, Field(description="Send at any hour; only with `priority` urgent.")] = (
        False
    )
    retention_days: Annotated[
        int | None, Field(ge=1, le=3650, description="Days that its people are known after its end.")
    ] = None
    rate: Annotated[
        str | float | None, Field(description="Segments a second over all senders: 50, 1/3s, 100/min.")
    ] = None
    draft: Annotated[bool, Field(description="Load only; starting it is another request.")] = False
    dry_run: Annotated[bool, Field(description="Say what would happen; nothing is kept or sent.")] = False
    test_to: Annotated[Short | None, Field(description="Send only the first message, to this number.")] = None
    on_invalid: Annotated[
        Literal["refuse", "skip"], Field(description="What faulty rows do: refuse the list, or stay out.")
    ] = "refuse"
    region: Annotated[
        str | None, Field(pattern="^[A-Za-z]{2}$", description="Country of numbers without +.")
    ] = None
    to_column: Annotated[Short | None, Field(description="The column with the numbers.")] = None
    delimiter: Annotated[
        str | None, Field(description="What separates an uploaded CSV's columns, if it is not found out.")
    ] = None
    encoding: Annotated[
        Short | None,
        Field(description="What an uploaded list's text is in, if it is not found out: windows-1252."),
    ] = None

    @property
    def senders(self) -> tuple[str, ...]:
        """Whoever `from` names."""
        named = self.from_ or ()
        return (named,) if isinstance(named, str) else tuple(named)

    def order(self, settings: Settings, name: str = "") -> Order:
        """Return the order; `name` is what to call it where it has no name itself."""
        return Order(
            name=self.name or name or UNNAMED,
            content=self.content,
            senders=self.senders,
            service=self.messaging_service_sid,
            region=(self.region or settings.region or "").upper() or None,
            priority=Priority(self.priority),
            on_doubt=OnDoubt(self.on_doubt or settings.on_doubt),
            schedule_at=None
            if self.schedule_at is None
            else parse_moment(self.schedule_at, self.zone).timestamp(),
            expires_in_seconds=None if self.expires_in is None else _seconds(self.expires_in),
            rate=None if self.rate is None else parse_rate(str(self.rate)),
            to_column=self.to_column,
            delimiter=self.delimiter,
            encoding=None if self.encoding is None else encoding_named(self.encoding),
            draft=self.draft,
            skips_faults=self.on_invalid == "skip",
            purpose=Purpose(self.purpose),
            consent=self._consent,
            consent_column=self.consent_column,
            send_window=self._window(settings),
            retention_days=self.retention_days,
            outside_window=OutsideWindow(self.outside_window),
            scheduler=Scheduler(self.scheduler),
        )

    def faults(self, settings: Settings, unread: frozenset[str], *, late: bool) -> Iterable[Fault]:
        """Yield what is wrong with fields by themselves and together; those in `unread` are not looked at."""
        yield from self._time_faults(late=late)
        yield from self._term_faults(settings, unread)
        for field, read in (
            ("expires_in", _seconds),
            ("rate", lambda value: parse_rate(str(value))),
            ("encoding", encoding_named),
        ):
            if (value := getattr(self, field)) is not None:
                yield from told(f"/{field}", read, value)
        region = self.region or settings.region
        if self.test_to is not None:
            yield from told("/test_to", lambda to: parse_address(to, region), self.test_to)
        if self.draft and (self.dry_run or self.test_to):
            yield Fault("a draft is no test: leave `draft` out", "/draft")
        faulty = list(self._sender_faults(settings, unread))
        yield from faulty
        if self.location is not None:
            placed = list(told("/location", lambda place: place.action, self.location))
            yield from placed
            if placed:
                return
        if not unread & CONTENT_FIELDS:
            known = not (faulty or unread & {"from", "messaging_service_sid"})
            service = self.messaging_service_sid if known and self.senders else None
            handed_at = self._handed_at(late=late)
            yield from content_faults(
                self.content, self._chosen(settings) if known else (), service, handed_at
            )

    @property
    def _consent(self) -> Consent | None:
        if self.consent is None:
            return None
        return Consent(self.consent.source, read_consent_time(self.consent.at))

    def _window(self, settings: Settings) -> SendWindow | None:
        return window_of(
            settings, self.send_window, self.zone, Priority(self.priority), ignored=self.ignore_window
        )

    def _term_faults(self, settings: Settings, unread: frozenset[str]) -> Iterable[Fault]:
        if self.consent is not None:
            yield from told("/consent/at", read_consent_time, self.consent.at)
        place = "/ignore_window" if self.ignore_window else "/send_window"
        yield from told(place, self._window, settings)
        consented = self.consent or self.consent_column or unread & {"consent", "consent_column"}
        if Purpose(self.purpose) is Purpose.MARKETING and not consented:
            yield Fault(as_fields(CONSENT_MISSING), "/consent")

    def _handed_at(self, *, late: bool) -> float | None:
        """Return until when Twilio shall keep it, where that is to be judged."""
        if late or self.scheduler != "twilio" or self.schedule_at is None:
            return None
        try:
            return parse_moment(self.schedule_at, self.zone).timestamp()
        except TimeError:  # told already
            return None

    def _time_faults(self, *, late: bool) -> Iterable[Fault]:
        if self.schedule_at is None:
            if self.scheduler == "twilio":
                yield Fault("Twilio keeps messages until a time: name it in `schedule_at`", "/scheduler")
            if self.zone is not None and self.send_window is None:
                yield Fault("is the zone of `schedule_at` and `send_window`: give one of them too", "/zone")
            return
        if self.draft:
            yield Fault("a draft is started by hand: leave `schedule_at` or `draft` out", "/schedule_at")
        try:
            at = parse_moment(self.schedule_at, self.zone)
        except TimeError as error:
            yield Fault(str(error), "/zone" if "time zone" in str(error) else "/schedule_at")
            return
        if not late and at.timestamp() <= time.time():
            yield Fault("is in the past: leave it out to send now", "/schedule_at")

    def _sender_faults(self, settings: Settings, unread: frozenset[str]) -> Iterable[Fault]:
        if unread & {"from", "messaging_service_sid"}:
            return
        faulty = [
            fault
            for index, name in enumerate(self.senders)
            for fault in told(
                f"/from/{index}" if isinstance(self.from_, list) else "/from", parse_sender, name
            )
        ]
        yield from faulty
        if not faulty:
            place = "/messaging_service_sid" if self.messaging_service_sid and not self.senders else "/from"
            yield from told(place, self._chosen, settings)

    def _chosen(self, settings: Settings) -> tuple[str, ...]:
        chosen = choose_senders(
            self.senders,
            self.messaging_service_sid,
            default_service=settings.twilio_messaging_service_sid,
            default_phone=settings.twilio_phone_number,
            default_whatsapp=settings.twilio_whatsapp_from,
        )
        return tuple(sender.name for sender in chosen)


def _seconds(value: str | float) -> float:
    seconds = parse_duration(value) if isinstance(value, str) else float(value)
    if not (math.isfinite(seconds) and 0 < seconds <= _LONGEST_SECONDS):
        raise TimeError("must be above 0 and at most a year")
    return seconds
