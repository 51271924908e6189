"""WhatsApp's 24 hours: who wrote to a sender may be answered freely for a day, anybody else by template only.

Twilio takes free-form messages outside the window and fails them later with 63016 (DOC:api/errors/63016,
DOC:whatsapp/key-concepts), so whoever asks for them is to know before. The sandbox has the same window; its
three days are about joining it.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broadcaster.domain.addresses import Channel, channel_of

if TYPE_CHECKING:
    from broadcaster.domain.content import Content

#: How long somebody may be answered freely, from when they last wrote.
WINDOW_SECONDS: Final = 86_400
#: A window counts as closed so long before its end. In that time a message passes a gate (under a second), a
#: request (30 s at most) and Twilio's queue, which is short at the sender's own rate; and a mark may be late:
#: it is the moment in which we were told, and Twilio tells again for a minute and a half at most (five tries of
#: 15 s). What is left covers clocks that differ.
MARGIN_SECONDS: Final = 300
#: What Twilio calls a free-form message outside the window.
OUTSIDE: Final = 63016
_SERVICE: Final = "MG"
_WHATSAPP: Final = "whatsapp:"


class Window(enum.Enum):
    """What is known of one person's window with a sender.

    `NEVER`: in the last day, as far as we and Twilio's list know; what is older is not kept.
    """

    OPEN = "open"
    CLOSED = "closed"
    NEVER = "never wrote"

    @property
    def shut(self) -> bool:
        """Whether only templates may be sent."""
        return self is not Window.OPEN


@dataclass(frozen=True, slots=True)
class Mark:
    """When somebody last wrote to a sender, and the last attempt of ours that Twilio failed with 63016.

    Unix seconds, 0 where there was none.
    """

    wrote: int = 0
    refused: int = 0



def is_free_form(content: Content) -> bool:
    """Whether a content is none of approved templates: text, media, a location."""
    return content.content_sid is None


def may_meet(lane: str) -> bool:
    """Whether a lane can send WhatsApp messages: its own sender, or one of its pool's."""
    return lane.startswith((_WHATSAPP, _SERVICE))


def is_whatsapp(address: str) -> bool:
    """Whether an address has a window at all."""
    return channel_of(address) is Channel.WHATSAPP


def window_of(mark: Mark, at: float) -> Window:
    """Return what a mark says of the unix second `at`.

    Twilio knows better than we: what it has refused stays closed until they write again.
    """
    if not mark.wrote:
        return Window.NEVER
    if mark.wrote <= mark.refused or mark.wrote + WINDOW_SECONDS - MARGIN_SECONDS <= at:
        return Window.CLOSED
    return Window.OPEN


def together(marks: Iterable[Mark], at: float) -> Window:
    """Return what holds whichever of several senders is taken, the worst of them; none at all is `NEVER`."""
    windows = {window_of(mark, at) for mark in marks} or {Window.NEVER}
    return next(w for w in (Window.NEVER, Window.CLOSED, Window.OPEN) if w in windows)


def refused_everywhere(marks: Iterable[Mark], refused: int) -> list[Mark]:
    """Return marks of a pool's senders with a refusal of the service itself, whichever sender it had taken."""
    return [Mark(mark.wrote, max(mark.refused, refused)) for mark in marks]


def words(window: Window, lane: str, *, later: bool = False) -> str:
    """Return why a person can't be written to freely now, or (`later`) at the time that was asked for."""
    senders = f"each WhatsApp sender of {lane}, of which Twilio picks one" if lane[:2] == _SERVICE else lane
    if window is Window.CLOSED:
        ends = "will be over by then" if later else "are over, or will be within minutes"
        told = f"24 hours since they last wrote to {senders} {ends}"
    else:
        told = f"they wrote nothing to {senders} in the last 24 hours"
    return (
        f"{told}. WhatsApp takes only templates then: give one with --fallback-content-sid HX…, or leave it to "
        f"Twilio with --outside-window send, which fails such messages with {OUTSIDE}"
    )
