"""A trial account, before anything is queued: whom it may write to, and what it may not send from.

Twilio takes messages of a trial account to verified numbers only (21608), and none from a name (21267).
Whether that also holds for people on WhatsApp isn't written down: in the sandbox who has joined counts
(63015), so nobody is skipped there.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from broadcaster.domain.addresses import Channel
from broadcaster.domain.senders import SenderKind, parse_sender
from broadcaster.operations.errors import Fault
from broadcaster.twilio.rest import TwilioError, TwilioUnreachable

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from broadcaster.domain.content import Content
    from broadcaster.twilio.rest import TwilioRest

PATIENCE_SECONDS: Final = 5.0
_REFUSED: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_NO_NAMES: Final = (
    "{name} is a name, and a trial account sends from numbers only (21267): give a number, or upgrade the "
    "account in Twilio's console"
)
_UNKNOWN: Final = (
    "whether this is a trial account, which writes to verified numbers only, can't be told: {why}"
)
_KEY: Final = "this API key may not read the account (a main one, or the auth token, may)"


@dataclass(slots=True)
class Trial:
    """What was found: `verified` are the numbers that may be written to, None for any."""

    faults: list[Fault] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    verified: frozenset[str] | None = None


async def check_trial(
    twilio: TwilioRest, senders: Sequence[str], content: Content, channels: Collection[Channel] = ()
) -> Trial:
    """Ask whether this is a trial account, and whom it may write to. Raises nothing; it warns instead.

    `channels` are those of the list, empty where that isn't known yet.
    """
    found = Trial()
    if channels and Channel.SMS not in channels and content.sms is None:
        return found
    try:
        found.verified = await twilio.trial.verified()
    except TwilioError as error:
        found.warnings.append(_UNKNOWN.format(why=_KEY if error.status in _REFUSED else error))
    except TwilioUnreachable as error:
        found.warnings.append(_UNKNOWN.format(why=f"no answer: {error}"))
    if found.verified is not None:
        named = [(name, "/from") for name in senders]
        if content.sms is not None:
            named.append((content.sms.sender, "/sms_fallback/from"))
        for name, pointer in named:
            if parse_sender(name).kind is SenderKind.ALPHANUMERIC:
                found.faults.append(Fault(_NO_NAMES.format(name=name), pointer))
    return found


async def verified_by(twilio: TwilioRest | None) -> frozenset[str] | None:
    """Return the numbers that a trial account may write to; None for any, and where that can't be told."""
    if twilio is None:
        return None
    with contextlib.suppress(TwilioError, TwilioUnreachable, TimeoutError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await twilio.trial.verified()
    return None
