"""Before anything is queued: what must be asked of others is asked, all of it at once.

A definite answer that forbids the broadcast refuses it; what can't be found out now is a warning.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broadcaster.domain.addresses import Channel
from broadcaster.domain.senders import SenderKind, pace_warning, parse_sender
from broadcaster.intake.findings import NOTHING_FOUND, Findings
from broadcaster.operations.errors import Fault, invalid
from broadcaster.operations.media_checks import check_media
from broadcaster.operations.sender_limits import check_limits
from broadcaster.operations.template_checks import (
    PATIENCE_SECONDS,
    check_templates,
    hints_about_text,
    names_templates,
)
from broadcaster.operations.trial_checks import check_trial

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from broadcaster.intake.senders import Lane
    from broadcaster.operations.orders import Order
    from broadcaster.settings import Settings
    from broadcaster.twilio.rest import TwilioRest

    Check = Callable[["Asked"], Awaitable["Checked"]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked about. `channels`: those in the list, empty where that is not known yet.

    `twilio` is None where there are no credentials (a dry run).
    """

    order: Order
    lanes: Sequence[Lane]
    channels: Collection[Channel]
    settings: Settings
    twilio: TwilioRest | None


@dataclass(frozen=True, slots=True)
class Checked:
    """What one check came to: what forbids the broadcast, and what else is to be known about it."""

    faults: tuple[Fault, ...] = ()
    findings: Findings = NOTHING_FOUND


_UNSEEN: Final = "the templates were not looked at: without credentials Twilio can't be asked"


async def _templates(asked: Asked) -> Checked:
    """Ask Twilio about the templates that the order names, and about its free text."""
    if asked.twilio is None:
        unseen = (_UNSEEN,) if names_templates(asked.order.content) else ()
        return Checked(findings=Findings(warnings=unseen))
    whatsapp = Channel.WHATSAPP in asked.channels or any(
        lane.name.startswith("whatsapp:") for lane in asked.lanes
    )
    known = whatsapp or asked.channels or not any(lane.name.startswith("MG") for lane in asked.lanes)
    order = asked.order
    found = await check_templates(
        asked.twilio.templates,
        order.content,
        order.purpose,
        whatsapp=whatsapp if known else None,
        sandbox=any(lane.kind is SenderKind.WHATSAPP_SANDBOX for lane in asked.lanes),
    )
    if whatsapp and order.content.body:
        found.warnings.extend(await hints_about_text(asked.twilio.templates, order.content.body))
    return Checked(tuple(found.faults), Findings(warnings=tuple(found.warnings)))


async def _media(asked: Asked) -> Checked:
    """Look at the media that are sent along."""
    content, how = asked.order.content, asked.settings.check_media
    if not content.media_urls or how == "off":
        return Checked()
    found = await check_media(content, asked.channels or _sure_channels(asked), allow_private=how == "any")
    return Checked(tuple(found.faults), Findings(warnings=tuple(found.warnings)))


def _sure_channels(asked: Asked) -> set[Channel]:
    """Return the one channel that all senders are of; nothing where they leave a choice."""
    channels = {parse_sender(lane.name).channel for lane in asked.lanes}
    return {channel for channel in channels if channel is not None} if len(channels) == 1 else set()


async def _trial(asked: Asked) -> Checked:
    """Ask whether this is a trial account, and whom that may write to."""
    if asked.twilio is None:
        return Checked()
    names = [lane.name for lane in asked.lanes]
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            found = await check_trial(asked.twilio, names, asked.order.content, asked.channels)
    except TimeoutError:
        return _unanswered("whether this is a trial account")
    return Checked(tuple(found.faults), Findings(warnings=tuple(found.warnings), verified=found.verified))


async def _limits(asked: Asked) -> Checked:
    """Ask how the WhatsApp senders are, and how many people they may write to in a day."""
    paces = tuple(filter(None, (pace_warning(lane.name, lane.rate) for lane in asked.lanes)))
    if asked.twilio is None:
        return Checked(findings=Findings(warnings=paces))
    names = [lane.name for lane in asked.lanes]
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            found = await check_limits(asked.twilio, names, asked.order.content)
    except TimeoutError:
        return _unanswered("how the WhatsApp senders are")
    return Checked(findings=Findings(warnings=(*paces, *found.warnings), limits=found.limits))


def _unanswered(what: str) -> Checked:
    return Checked(findings=Findings(warnings=(f"{what} can't be told: Twilio gave no answer in time",)))


#: In the order in which their faults and warnings are told.
CHECKS: Final[tuple[Check, ...]] = (_templates, _media, _trial, _limits)


async def preflight(asked: Asked) -> Findings:
    """Ask. Raises Invalid with every fault; nothing was queued."""
    done = await asyncio.gather(*(check(asked) for check in CHECKS))
    invalid(fault for one in done for fault in one.faults)
    found = NOTHING_FOUND
    for one in done:
        found |= one.findings
    return found
