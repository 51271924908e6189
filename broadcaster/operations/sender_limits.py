"""WhatsApp senders, before anything is queued: are they online, and how many people may they write to.

The limit is about people that a sender begins to write to in 24 hours, so about templates; who has written in
the last 24 hours doesn't count. The list tells how many that could be (`Findings.over_limits`); what else the
sender has begun in this day isn't known here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from broadcaster.domain.senders import SenderKind, parse_sender
from broadcaster.twilio.rest import TwilioError, TwilioUnreachable
from broadcaster.twilio.whatsapp_senders import whatsapp_senders

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.domain.content import Content
    from broadcaster.twilio.rest import TwilioRest
    from broadcaster.twilio.whatsapp_senders import WhatsAppSender

_REFUSED: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_UNKNOWN: Final = "how many people the WhatsApp senders may write to in a day can't be told: {why}"


@dataclass(slots=True)
class SenderLimits:
    """`limits`: people a day by sender, where they are known."""

    warnings: list[str] = field(default_factory=list)
    limits: dict[str, int] = field(default_factory=dict)


async def check_limits(twilio: TwilioRest, senders: Sequence[str], content: Content) -> SenderLimits:
    """Ask about the WhatsApp senders among `senders`. Raises nothing; it warns instead.

    The sandbox is in nobody's list. An account that lists no sender at all may have had its own registered
    before Twilio listed any: that says nothing.
    """
    found = SenderLimits()
    names = [name for name in senders if parse_sender(name).kind is SenderKind.WHATSAPP]
    if not names:
        return found
    try:
        listed = await whatsapp_senders(twilio)
    except TwilioError as error:
        why = "this API key may not read them" if error.status in _REFUSED else str(error)
        found.warnings.append(_UNKNOWN.format(why=why))
        return found
    except TwilioUnreachable as error:
        found.warnings.append(_UNKNOWN.format(why=f"no answer: {error}"))
        return found
    begins = content.is_template or content.fallback is not None
    for name in names:
        sender = listed.get(name)
        if sender is not None:
            found.warnings += words_about(sender, begins=begins)
            if begins and sender.people.people is not None:
                found.limits[name] = sender.people.people
        elif listed:
            found.warnings.append(f"{name} is none of this account's WhatsApp senders, as Twilio lists them")
    return found


def words_about(sender: WhatsAppSender, *, begins: bool) -> list[str]:
    """Return what to know about a sender; `begins`: it is to write to people who have not written to it."""
    words = []
    if not sender.online:
        words.append(
            f"{sender.name} is {sender.status} as a WhatsApp sender: Twilio may refuse its messages until it "
            "is ONLINE"
        )
    if begins and sender.limit and not sender.people.known:
        words.append(
            f"how many people {sender.name} may write to in a day isn't known: Twilio says {sender.limit!r}"
        )
    return words
