"""`broadcaster send`: its options, and what they mean together."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from broadcaster.cli.content_options import content_of, content_options
from broadcaster.cli.exits import InputError
from broadcaster.cli.list_options import encoding_option
from broadcaster.cli.options import env_file_option, json_option, parse_duration, parse_time, settings_from
from broadcaster.domain.broadcast import OnDoubt, OutsideWindow, Priority, Scheduler
from broadcaster.domain.purpose import Consent, Purpose, parse_consent
from broadcaster.domain.senders import parse_rate
from broadcaster.domain.times import TimeError
from broadcaster.operations.terms import CONSENT_MISSING, window_of

if TYPE_CHECKING:
    from broadcaster.domain.content import Content
    from broadcaster.domain.send_window import SendWindow
    from broadcaster.operations.orders import Order
    from broadcaster.settings import Settings

_LONGEST_KEY: Final = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class SendOptions:
    """One `send`, as it was typed, with every value read.

    `on_doubt_is_ours`: it was named here, by an option or a setting; an API has its own default.
    """

    file: str
    content: Content
    settings: Settings
    env_file: Path | None
    senders: tuple[str, ...]
    service: str | None
    to_column: str | None
    delimiter: str | None
    encoding: str | None
    region: str | None
    name: str
    schedule_at: float | None
    priority: Priority
    expires_in_seconds: float | None
    on_doubt: OnDoubt
    on_doubt_is_ours: bool
    idempotency_key: str
    rate: float | None
    purpose: Purpose
    consent: Consent | None
    consent_column: str | None
    send_window: SendWindow | None
    window_text: tuple[str | None, str | None]
    ignore_window: bool
    retention_days: int | None
    outside_window: OutsideWindow
    scheduler: Scheduler
    rejects: Path | None
    test_to: str | None
    dry_run: bool
    draft: bool
    yes: bool
    wait: bool
    as_json: bool

    @property
    def order(self) -> Order:
        """What is asked for, but the list."""
        from broadcaster.operations.orders import Order  # noqa: PLC0415 - most commands never need it

        return Order(
            name=self.name,
            content=self.content,
            senders=self.senders,
            service=self.service,
            region=self.region,
            priority=self.priority,
            on_doubt=self.on_doubt,
            schedule_at=self.schedule_at,
            expires_in_seconds=self.expires_in_seconds,
            rate=self.rate,
            to_column=self.to_column,
            delimiter=self.delimiter,
            encoding=self.encoding,
            draft=self.draft,
            skips_faults=self.rejects is not None,
            purpose=self.purpose,
            consent=self.consent,
            consent_column=self.consent_column,
            send_window=self.send_window,
            retention_days=self.retention_days,
            outside_window=self.outside_window,
            scheduler=self.scheduler,
        )


@click.command(short_help="Send a message to every recipient of a list, once.")
@click.argument("file", metavar="FILE|-")
@content_options
@click.option("--from", "senders", multiple=True, metavar="SENDER", help="Who sends; several share the list.")
@click.option("--messaging-service", "service", metavar="MG…", help="A Messaging Service that sends.")
@click.option("--to-column", metavar="COLUMN", help="The column with the numbers.")
@click.option("--delimiter", metavar="CHAR", help="What separates a CSV's columns, if it is not found out.")
@encoding_option
@click.option("--region", metavar="CC", help="Country of numbers without +, like US.")
@click.option("--name", help="What to call the broadcast.")
@click.option("--at", metavar="TIME", help="Start then: 2026-11-21T18:30+01:00.")
@click.option(
    "--scheduler",
    type=click.Choice([s.value for s in Scheduler]),
    default=Scheduler.BROADCASTER.value,
    show_default=True,
    help="Who keeps it until --at: we, or Twilio, which takes every message at once.",
)
@click.option("--zone", metavar="ZONE", help="The time zone of --at and --send-window, like Europe/Berlin.")
@click.option("--send-window", metavar="HOURS", help="Send only then, every day: 09:00-20:00.")
@click.option("--ignore-window", is_flag=True, help="Send at any hour; only with --priority urgent.")
@click.option(
    "--priority",
    type=click.Choice([p.value for p in Priority]),
    default=Priority.NORMAL.value,
    show_default=True,
)
@click.option(
    "--purpose",
    type=click.Choice([p.value for p in Purpose]),
    default=Purpose.UTILITY.value,
    show_default=True,
    help="Why people are written to.",
)
@click.option("--consent", metavar="SOURCE,TIME", help="Where and when they agreed: webform,2026-01-31.")
@click.option("--consent-column", metavar="COLUMN", help="The column that says so of each.")
@click.option(
    "--retention-days", type=click.IntRange(1, 3650), help="Days that its people are known after its end."
)
@click.option("--expires-in", metavar="D", help="Skip what has not left after 90m, 2h, 1d.")
@click.option(
    "--on-doubt",
    type=click.Choice([o.value for o in OnDoubt]),
    help="When no evidence tells whether it was sent.",
)
@click.option("--idempotency-key", metavar="KEY", help="The same key sends the same list only once.")
@click.option("--rate", metavar="R", help="Segments a second for this broadcast: 50, 1/3s, 100/min.")
@click.option(
    "--rejects", type=click.Path(path_type=Path), help="Send the good rows; write the faulty ones here."
)
@click.option("--test", "test_to", metavar="TO", help="Send only the first message, to this number.")
@click.option("--dry-run", is_flag=True, help="Show what would happen; needs neither Redis nor credentials.")
@click.option("--draft", is_flag=True, help="Load only; `broadcasts start ID` sends it.")
@click.option("--yes", "-y", is_flag=True, help="Don't ask.")
@click.option("--wait", is_flag=True, help="Wait until it has ended.")
@json_option
@env_file_option
def send(**given: Any) -> int:
    """Send a message to every recipient of FILE (- reads standard input), once.

    FILE is CSV, NDJSON, a JSON array, or one number a line. Faulty rows refuse the whole list, unless
    --rejects takes them. Without REDIS_URL an embedded server and a worker are started, and the command
    waits.
    """
    options = _read(given)
    if options.settings.api_url:
        from broadcaster.cli.sending_over_api import send_over_api  # noqa: PLC0415

        return send_over_api(options)
    if options.dry_run:
        from broadcaster.cli.preview import preview  # noqa: PLC0415 - each way needs other modules

        return preview(options)
    if options.test_to:
        from broadcaster.cli.trial import send_trial  # noqa: PLC0415

        return send_trial(options)
    from broadcaster.cli.sending import send_list  # noqa: PLC0415

    return send_list(options)


def _read(given: dict[str, Any]) -> SendOptions:
    """Read every option. Raises InputError, SettingsError, AddressError or ContentError."""
    settings = settings_from(given["env_file"])
    if given["draft"] and given["at"]:
        raise InputError("--draft and --at exclude each other: a draft is started by hand")
    if given["scheduler"] == Scheduler.TWILIO and not given["at"]:
        raise InputError("--scheduler twilio keeps messages until --at TIME: give it too")
    if given["zone"] and not (given["at"] or given["send_window"]):
        raise InputError("--zone is the zone of --at and --send-window: give one of them too")
    consent = _consent(given["consent"])
    if given["purpose"] == Purpose.MARKETING and not (consent or given["consent_column"]):
        raise InputError(CONSENT_MISSING)
    key = given["idempotency_key"]
    if key is not None and not 0 < len(key.strip()) <= _LONGEST_KEY:
        raise InputError(
            f"--idempotency-key takes 1 to {_LONGEST_KEY} characters, this has {len(key.strip())}: "
            "leave it out to send without one"
        )
    return SendOptions(
        file=given["file"],
        content=content_of(given),
        settings=settings,
        env_file=given["env_file"],
        senders=given["senders"],
        service=given["service"],
        to_column=given["to_column"],
        delimiter="\t" if given["delimiter"] in (r"\t", "tab") else given["delimiter"],
        encoding=given["encoding"],
        region=(given["region"] or settings.region or "").upper() or None,
        name=given["name"] or ("standard input" if given["file"] == "-" else Path(given["file"]).stem),
        schedule_at=parse_time(given["at"], given["zone"]) if given["at"] else None,
        priority=Priority(given["priority"]),
        expires_in_seconds=parse_duration(given["expires_in"]) if given["expires_in"] else None,
        on_doubt=OnDoubt(given["on_doubt"] or settings.on_doubt),
        on_doubt_is_ours=bool(given["on_doubt"]) or settings.origin("on_doubt") != "default",
        idempotency_key=key or "",
        rate=_rate(given["rate"]),
        purpose=Purpose(given["purpose"]),
        consent=consent,
        consent_column=given["consent_column"],
        send_window=_window(settings, given),
        window_text=(given["send_window"], given["zone"]),
        ignore_window=given["ignore_window"],
        retention_days=given["retention_days"],
        outside_window=OutsideWindow(given["outside_window"]),
        scheduler=Scheduler(given["scheduler"]),
        rejects=given["rejects"],
        test_to=given["test_to"],
        dry_run=given["dry_run"],
        draft=given["draft"],
        yes=given["yes"],
        wait=given["wait"],
        as_json=given["as_json"],
    )


def _consent(text: str | None) -> Consent | None:
    try:
        return None if text is None else parse_consent(text)
    except TimeError as error:
        raise InputError(f"--consent: {error}") from None


def _window(settings: Settings, given: dict[str, Any]) -> SendWindow | None:
    priority = Priority(given["priority"])
    try:
        return window_of(
            settings, given["send_window"], given["zone"], priority, ignored=given["ignore_window"]
        )
    except TimeError as error:
        raise InputError(f"--send-window: {error}") from None


def _rate(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parse_rate(text)
    except ValueError as error:
        raise InputError(f"--rate: {error}") from None
