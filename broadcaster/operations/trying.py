"""Before anybody is written to: what a list would come to, and its first message to one number."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from msgspec import structs

from broadcaster.domain.addresses import Channel, channel_of, parse_address
from broadcaster.domain.content import compile_content
from broadcaster.domain.create_message import option_pairs
from broadcaster.domain.failures import Kind
from broadcaster.domain.handing import late_warnings
from broadcaster.domain.opt_out_hints import warnings_about
from broadcaster.domain.senders import NoSenderError, parse_sender
from broadcaster.domain.whatsapp_window import window_warnings
from broadcaster.intake.dry_run import dry_run
from broadcaster.intake.faults import EmptyListError
from broadcaster.intake.findings import NOTHING_FOUND
from broadcaster.intake.submit import check
from broadcaster.operations import audit
from broadcaster.operations.preflight import Asked, preflight
from broadcaster.twilio.forms import encode_form

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from broadcaster.domain.broadcast import BroadcastSpec
    from broadcaster.domain.failures import Outcome
    from broadcaster.intake.addressing import Windows
    from broadcaster.intake.dry_run import DryRun, FirstMessage
    from broadcaster.intake.findings import Findings
    from broadcaster.intake.peek import Peeked
    from broadcaster.intake.senders import Lane
    from broadcaster.operations.actor import Actor
    from broadcaster.operations.orders import Order
    from broadcaster.settings import Settings
    from broadcaster.store.connection import Store
    from broadcaster.twilio.rest import TwilioRest


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a list would come to, with the senders it was reckoned for."""

    report: DryRun
    lanes: tuple[Lane, ...]


@dataclass(frozen=True, slots=True)
class Trial:
    """One message that was sent to try it out: what it said, and what Twilio answered."""

    to: str
    sender: str
    message: FirstMessage
    outcome: Outcome

    def summary(self) -> dict[str, Any]:
        """Return the object of `send --test --json` and the API, in JSON's types."""
        outcome = self.outcome
        return {
            "to": self.to,
            "from": self.sender,
            "text": self.message.body or self.message.content_variables,
            "outcome": outcome.kind,
            "sid": outcome.sid,
            "code": outcome.code or (0 if outcome.kind is Kind.ACCEPTED else outcome.http_status),
            "detail": outcome.detail or None,
        }


async def look_ahead(order: Order, reader: Peeked, settings: Settings, twilio: TwilioRest | None) -> Findings:
    """Do `preflight` for a list that is only looked at; `twilio` is None without credentials. Raises Invalid.

    Raises AddressError and NoSenderError, too.
    """
    lanes = order.lanes_offline(settings, reader.channels)
    check(order.submission(lanes), now=time.time())
    asked = Asked(order=order, lanes=lanes, channels=reader.channels, settings=settings, twilio=twilio)
    return await preflight(asked)


def forecast(
    order: Order,
    reader: Peeked,
    settings: Settings,
    found: Findings = NOTHING_FOUND,
    windows_of: Callable[[BroadcastSpec], Windows | None] | None = None,
) -> Forecast:
    """Read the whole list and report; no Redis and no credentials are needed. `found`: what preflight found.

    `windows_of` gives what looks at WhatsApp's windows, which needs both; without it that is said.

    Raises what reading a list raises (but for faulty rows), AddressError, NoSenderError, ContentRefusedError.
    """
    lanes = order.lanes_offline(settings, reader.channels)
    now = time.time()
    submission = order.submission(lanes)
    check(submission, now)
    spec = submission.spec(now)
    blind = windows_of is None and Channel.WHATSAPP in reader.channels
    report = dry_run(
        reader,
        renderer=compile_content(order.content),
        senders=[(lane.name, lane.rate) for lane in lanes],
        region=order.region,
        with_rejects=order.skips_faults,
        consent_column=order.consent_column,
        windows=None if windows_of is None else windows_of(spec),
        verified=found.verified,
    )
    recipients = {share.sender: share.recipients for share in report.senders}
    warnings = (
        *report.warnings,
        *warnings_about(order.purpose, order.content),
        *found.warnings,
        *found.over_limits(recipients),
        *(window_warnings(spec) if blind else ()),
        *late_warnings(spec.handing, report.seconds, now),
    )
    origins = {lane.name: lane.origin for lane in lanes}
    told = tuple(structs.replace(share, origin=origins[share.sender]) for share in report.senders)
    return Forecast(structs.replace(report, senders=told, warnings=warnings), lanes)


async def send_first(
    order: Order, found: Forecast, to: str, post: Callable[[bytes], Awaitable[Outcome]]
) -> Trial:
    """Send the first message of a list to `to`, recording nothing: asked twice it is sent twice.

    Raises AddressError, EmptyListError or NoSenderError; then nothing was sent.
    """
    to = parse_address(to, order.region)
    report = found.report
    if not report.messages:
        raise EmptyListError(
            f"{report.list_name} has no recipient whose message could be shown: see what a dry run says"
        )
    fitting = [lane.name for lane in found.lanes if parse_sender(lane.name).channel in (None, channel_of(to))]
    if not fitting:
        raise NoSenderError(f"none of the senders can write to {to}: name one with --from")
    message = report.messages[0]
    sender = message.sender if message.sender in fitting else fitting[0]
    return Trial(to, sender, message, await post(_form(order, message, sender, to)))


async def record_trial(store: Store, actor: Actor, order: Order, trial: Trial) -> None:
    """Write a trial into the audit."""
    told = {
        "to": await audit.person(store, trial.to),
        "from": trial.sender,
        "outcome": str(trial.outcome.kind),
        "sid": trial.outcome.sid,
    }
    await audit.record(store, actor, "broadcast.test", order.name, new=told)


def _form(order: Order, message: FirstMessage, sender: str, to: str) -> bytes:
    content = order.content
    pairs = [("MessagingServiceSid", sender)] if sender.startswith("MG") else [("From", sender)]
    if order.pool_service:
        pairs.append(("MessagingServiceSid", order.pool_service))
    pairs += [("To", to), *(("MediaUrl", url) for url in content.media_urls)]
    if message.body is not None:
        pairs.append(("Body", message.body))
    template = message.content_sid or content.content_sid
    if template:
        pairs.append(("ContentSid", template))
    if message.content_variables is not None:
        pairs.append(("ContentVariables", message.content_variables))
    return encode_form([*pairs, *option_pairs(content.options)])
