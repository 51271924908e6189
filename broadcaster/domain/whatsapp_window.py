"""WhatsApp's 24 hours: who wrote to a sender may be answered freely for a day, anybody else by template only.

Twilio takes free-form messages outside the window and fails them later with 63016 (DOC:api/errors/63016,
DOC:whatsapp/key-concepts), so whoever asks for them is to know before. The sandbox has the same window; its
three days are about joining it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broadcaster.domain.addresses import Channel, channel_of
from broadcaster.domain.broadcast import OutsideWindow
from broadcaster.domain.content import Content

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broadcaster.domain.broadcast import BroadcastSpec
    from broadcaster.domain.content import Template

#: How long somebody may be answered freely, from when they last wrote.
WINDOW_SECONDS: Final = 86_400
#: A window counts as closed so long before its end. In that time a message passes a gate (under a second), a
#: request (30 s at most) and Twilio's queue, which is short at the sender's own rate; and a mark may be late:
#: it is the moment in which we were told, and Twilio tells again for a minute and a half at most (five tries
#: of 15 s). What is left covers clocks that differ.
MARGIN_SECONDS: Final = 300
#: What Twilio calls a free-form message outside the window.
OUTSIDE: Final = 63016
_SERVICE: Final = "MG"
_FREE_FORM: Final = frozenset(("PersistentAction", "SendAsMms"))
WHATSAPP: Final = "whatsapp:"


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


def minds(content: Content, outside: OutsideWindow) -> bool:
    """Whether anything depends on windows: free text (media and places are that, too), not left to Twilio."""
    return not content.is_template and (content.fallback is not None or outside is OutsideWindow.REFUSE)


def stand_in(content: Content, template: Template) -> Content:
    """Return what goes in place of free text: a template, with all else that was asked for and fits one.

    Twilio takes no media beside a template (63030), and a place is free-form.
    """
    options = {name: value for name, value in content.options.items() if name not in _FREE_FORM}
    return Content(content_sid=template.sid, content_variables=template.variables, options=options)


def window_warnings(spec: BroadcastSpec) -> tuple[str, ...]:
    """Return what to say where nobody looked at the windows of a list on WhatsApp."""
    if not minds(spec.content, spec.outside_window):
        return ()
    becomes = "gets the fallback template" if spec.content.fallback else "is refused when the list is sent"
    return (
        (
            "WhatsApp's 24-hour window was not looked at: whoever did not write to the sender within a day "
            f"{becomes}"
        ),
    )


def may_meet(lane: str) -> bool:
    """Whether a lane can send WhatsApp messages: its own sender, or one of its pool's."""
    return lane.startswith((WHATSAPP, _SERVICE))


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
    """Return marks of a pool's senders with a refusal of the service itself, whichever it had taken."""
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
        f"{told}. WhatsApp takes only templates then: give one with --fallback-content-sid HX…, or leave it "
        f"to Twilio with --outside-window send, which fails such messages with {OUTSIDE}"
    )
