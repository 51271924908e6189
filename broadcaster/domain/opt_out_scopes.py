"""What an opt-out is about: everything, one sender or one Messaging Service; of all purposes or of one.

A scope is text: `*`, a sender (`+1555…`, `whatsapp:+…`, a short code, `rcs:…`), or a service (`MG…`). Behind
a `#` stands the purpose that it is limited to: `*#marketing`. No sender's name has `#` or `|` in it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from broadcaster.domain.senders import parse_sender

if TYPE_CHECKING:
    from collections.abc import Iterable

EVERYWHERE: Final = "*"
_PURPOSE: Final = "#"
#: An RCS agent: we don't send from one by name, but people write STOP to it (Twilio's RCS pages).
_AGENT: Final = re.compile(r"rcs:[A-Za-z0-9_.-]{1,90}")
#: Twilio's codes for somebody who takes no marketing, and all the rest (docs: api/errors/63033, 63050).
MARKETING_OPT_OUTS: Final = frozenset({63033, 63050})


def scope_for(sender: str = EVERYWHERE, purpose: str | None = None) -> str:
    """Return the scope of a sender or service (`*`: all of them), and of one purpose if it is named."""
    return f"{sender}{_PURPOSE}{purpose}" if purpose else sender


def sender_of_scope(text: str) -> str:
    """Return whom an opt-out may be from: a sender or service as `parse_sender` names it, or an RCS agent.

    Raises AddressError for anything else.
    """
    name = text.strip()
    return name if _AGENT.fullmatch(name) else parse_sender(name).name


def parts_of_scope(scope: str) -> tuple[str, str | None]:
    """Return the sender or service (or `*`) of a scope, and the one purpose it is limited to."""
    sender, _, purpose = scope.partition(_PURPOSE)
    return sender, purpose or None


def scopes_concerning(lane: str, services: Iterable[str], pool: Iterable[str], purpose: str) -> list[str]:
    """Return the scopes of every opt-out that forbids a message of `purpose` on `lane`.

    `services` are those that the lane's number belongs to: Twilio keeps opt-outs for a whole service
    (Advanced Opt-Out). `pool` are the numbers of a lane that is a service: Twilio chooses among them, so who
    opted out of one of them gets nothing from the service.
    """
    senders = dict.fromkeys((EVERYWHERE, lane, *services, *pool))
    return [scope for sender in senders for scope in (sender, scope_for(sender, purpose))]
