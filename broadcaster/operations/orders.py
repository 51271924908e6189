"""What somebody asks to be broadcast, read and checked: the same for the command line and the API."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broadcaster.domain.broadcast import OnDoubt, OutsideWindow, Priority, Scheduler
from broadcaster.domain.content import Content, ContentError, compile_content
from broadcaster.domain.create_message import check_content
from broadcaster.domain.handing import timed
from broadcaster.domain.purpose import Consent, Purpose
from broadcaster.intake.senders import lanes_offline, resolve_lanes, senders_for
from broadcaster.intake.shapes import POINTERS
from broadcaster.intake.submit import Submission
from broadcaster.operations.errors import Fault

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from broadcaster.domain.addresses import Channel
    from broadcaster.domain.send_window import SendWindow
    from broadcaster.intake.senders import Lane
    from broadcaster.ledger.pools import PoolReader
    from broadcaster.settings import Settings
    from broadcaster.store.connection import Store

_EMPTY: Final = re.compile(r"content variable (.+) is empty: ")
#: Twilio's own number for tests: what is wrong with a text is mostly wrong whoever sends it.
_ANY_SENDER: Final = "+15005550006"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Everything about a broadcast but its list; `schedule_at` in unix seconds.

    `senders` and `service` are as they were named, `rate` is segments a second over all of them, `draft`
    leaves the start to somebody else, `skips_faults` takes a list's good rows though others are faulty.
    """

    name: str
    content: Content
    senders: tuple[str, ...] = ()
    service: str | None = None
    region: str | None = None
    priority: Priority = Priority.NORMAL
    on_doubt: OnDoubt = OnDoubt.RESEND
    schedule_at: float | None = None
    expires_in_seconds: float | None = None
    rate: float | None = None
    to_column: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    draft: bool = False
    skips_faults: bool = False
    purpose: Purpose = Purpose.UTILITY
    consent: Consent | None = None
    consent_column: str | None = None
    send_window: SendWindow | None = None
    retention_days: int | None = None
    outside_window: OutsideWindow = OutsideWindow.REFUSE
    scheduler: Scheduler = Scheduler.BROADCASTER

    def submission(self, lanes: Sequence[Lane], idempotency_key: str = "") -> Submission:
        """Return what intake takes, once it is known who sends."""
        return Submission(
            name=self.name,
            content=self.content,
            lanes=tuple(lanes),
            messaging_service_sid=self.pool_service,
            region=self.region,
            priority=self.priority,
            on_doubt=self.on_doubt,
            schedule_at=self.schedule_at,
            expires_in_seconds=self.expires_in_seconds,
            rate=self.rate,
            idempotency_key=idempotency_key,
            list_options=(
                ("to_column", self.to_column),
                ("delimiter", self.delimiter),
                ("encoding", self.encoding),
                ("on_invalid", "skip" if self.skips_faults else None),
            ),
            purpose=self.purpose,
            consent=self.consent,
            consent_column=self.consent_column,
            send_window=self.send_window,
            retention_days=self.retention_days,
            outside_window=self.outside_window,
            scheduler=self.scheduler,
        )

    @property
    def pool_service(self) -> str | None:
        """The service whose pool the named senders are from."""
        return self.service if self.senders else None

    async def lanes(
        self, settings: Settings, store: Store, read_pool: PoolReader, channels: Collection[Channel] = ()
    ) -> tuple[Lane, ...]:
        """Return who sends to a list of these channels, at which pace.

        Raises AddressError or NoSenderError, what `read_pool` raises, and redis' errors.
        """
        senders = senders_for(settings, self.senders, self.service, channels)
        return tuple(await resolve_lanes(senders, store, read_pool, self.pool_service))

    def lanes_offline(self, settings: Settings, channels: Collection[Channel] = ()) -> tuple[Lane, ...]:
        """Return who sends as far as it can be known without Redis and Twilio; raises like `lanes`."""
        return tuple(lanes_offline(senders_for(settings, self.senders, self.service, channels)))


def content_faults(
    content: Content, senders: Sequence[str], service: str | None, handed_at: float | None = None
) -> list[Fault]:
    """Return everything that is wrong with a content, whoever the recipients are.

    `handed_at` is the time (unix seconds) until which Twilio shall keep it, if it shall.
    """
    found: dict[str, Fault] = {}
    pointers = POINTERS | (dict.fromkeys(("SendAt", "ScheduleType"), "/schedule_at") if handed_at else {})
    try:
        compile_content(content)
        content = timed(content, handed_at)
    except ContentError as error:
        place = _place_of(str(error))
        found[place] = Fault(str(error), place)
    for name in senders or ((service,) if service else (_ANY_SENDER,)):
        is_service = name.startswith("MG")
        faults = check_content(
            content,
            from_=None if is_service else name,
            messaging_service_sid=name if is_service else service,
            now=time.time(),
        )
        for fault in faults:
            code = f" (Twilio {fault.twilio_code})" if fault.twilio_code else ""
            place = pointers.get(fault.parameter, f"/options/{fault.parameter}")
            found.setdefault(place, Fault(f"{fault.rule}{code}", place))
    return list(found.values())


def _place_of(error: str) -> str:
    """Return where a content's error is."""
    empty = _EMPTY.search(error)
    key = f"/{empty[1].replace('~', '~0').replace('/', '~1')}" if empty else ""
    if error.startswith("fallback"):
        return f"/fallback/content_variables{key}"
    if "fallback SMS" in error or error.startswith("SMS fallback"):
        return "/sms_fallback/body"
    if "broadcast's time" in error:
        return "/options"
    if "templates by language" in error:
        return "/content_sids"
    return f"/content_variables{key}" if "content variable" in error else "/body"
