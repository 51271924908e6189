"""Broadcasts that Twilio keeps until their time (`SendAt`): until when it takes messages, what goes after.

Twilio takes a message for a time that is 15 minutes ahead, by its own clock. What a list at its pace has not
handed over by then goes by itself at that time, without `SendAt`. So nothing leaves between the two; whoever
writes a request needs to know the time no better than to some minutes.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from math import ceil
from typing import TYPE_CHECKING, Final

import msgspec

from broadcaster.domain.content import ContentError
from broadcaster.domain.message_rules import SOONEST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.domain.content import Content
    from broadcaster.domain.send_window import SendWindow

#: Twilio's clock may be ahead of ours, and a request take a while.
SLACK_SECONDS: Final = 60
_EARLIEST: Final = int(SOONEST.total_seconds()) + SLACK_SECONDS
#: The last second of the year 9999: it closes no more.
NEVER: Final = 253_402_300_799


class TooSoonError(Exception):
    """A message's turn has come when Twilio keeps it no more, and its time has not come."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"its time comes in {seconds:.0f} s")
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Handing:
    """Twilio sends `at` (unix seconds). What goes by itself from then on keeps to the `window`, if any.

    It has openings as a send window has: until the last moment at which Twilio takes it, and from `at` on.
    """

    at: float
    window: SendWindow | None = None

    @property
    def handed_until(self) -> int:
        """Until when messages are handed over, in unix seconds."""
        return int(self.at) - _EARLIEST

    @property
    def begins(self) -> int:
        """From when they go by themselves: never before the time that was named."""
        return ceil(self.at)

    def openings(self, after: float) -> Iterator[tuple[int, int]]:
        """Yield (from, to) in unix seconds: the one that `after` lies in first, else the next."""
        if after < self.handed_until:
            yield 0, self.handed_until
        if self.window is None:
            yield self.begins, NEVER
            return
        for begin, end in self.window.openings(max(after, self.begins)):
            yield max(begin, self.begins), end

    def is_handed(self, now: float) -> bool:
        """Whether what leaves now is handed over: decided in the middle of the time when nothing leaves.

        Raises TooSoonError behind that: it would go at once, before its time.
        """
        if self.at - _EARLIEST / 2 <= now < self.begins:
            raise TooSoonError(self.begins - now)
        return now < self.at - _EARLIEST / 2


def late_warnings(handing: Handing | None, seconds: float, now: float) -> tuple[str, ...]:
    """Return what to say of a list that takes so many seconds to leave: too long to be handed over whole."""
    if handing is None or now + seconds <= handing.handed_until:
        return ()
    left = max(0, round((handing.handed_until - now) / 60))
    told = (
        f"at its senders' pace it takes {round(seconds / 60)} min to leave, and Twilio takes messages for "
        f"its time for {left} min more: what is left then goes by itself at that time"
    )
    return (told,)


def handed_options(at: float) -> dict[str, str]:
    """Return what Create Message needs to be told of the time (ISO 8601, in whole seconds: never early)."""
    when = datetime.fromtimestamp(ceil(at), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"SendAt": when, "ScheduleType": "fixed"}


def timed(content: Content, at: float | None) -> Content:
    """Return what Twilio is asked for a message that it shall keep until `at`; None: as it is.

    Raises ContentError where the content names a time of its own.
    """
    if at is None:
        return content
    own = [name for name in handed_options(at) if name in content.options]
    if own:
        raise ContentError(
            f"{' and '.join(own)} follow from the broadcast's time: leave them out of its options"
        )
    return msgspec.structs.replace(content, options=content.options | handed_options(at))
