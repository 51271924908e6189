"""When Twilio is asked what became of a message of which nobody has told the final state.

The moments follow from when the message last changed, each further from the one before, so that nothing
about single messages has to be remembered: a round asks for those of which a moment has passed since the
last round. Times are unix seconds of Redis' clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from broadcaster.domain.record import State

#: States that Twilio may still move on from.
AWAITING: Final = (State.ACCEPTED, State.SENT)


@dataclass(frozen=True, slots=True)
class PollTimes:
    """First `after_seconds` of silence, then at distances that double up to `longest_seconds`."""

    after_seconds: float = 60.0
    until_seconds: float = 72 * 3600.0
    longest_seconds: float = 12 * 3600.0

    def following(self, changed: float, since: float) -> float | None:
        """Return the first moment after `since`; None if there is none any more."""
        end = changed + max(self.until_seconds, self.after_seconds)
        if since >= end:
            return None
        at, distance = changed + self.after_seconds, self.after_seconds
        while at <= since:
            distance = min(2 * distance, max(self.longest_seconds, self.after_seconds))
            at += distance
        return at if at <= end else None
