"""Which senders have a name of their own in a process's metrics: at most 100, the rest is `other`.

The first 50 that send get a place at once: most installations have fewer, and see each from its first
message. 50 more are kept for those that turn out to be busy: a sender gets one when what was counted of it
under `other` is 50 messages and a two-hundredth of all that the process has sent.

A place is kept until the process ends. To give it to a busier one would take what was counted under the old
name out of sight (a sum over senders would fall), or add it to `other` again (a rate would show it twice).
For the same reason what was counted under `other` stays there when a sender gets its place, and its own
counter begins at 0: every message is counted once, under one name, and no counter ever goes back.
"""

from __future__ import annotations

from typing import Final

from broadcaster.telemetry.families import OTHER

AT_ONCE: Final = 50
AT_MOST: Final = 100
#: What a busy sender has sent at least: so many messages, and this part of all.
BUSY_MESSAGES: Final = 50
BUSY_PART: Final = 200
#: So many senders without a place are counted; beyond that all of them begin anew.
COUNTED: Final = 20_000


class Senders:
    """Gives places to senders."""

    def __init__(self) -> None:
        self._places: set[str] = set()
        self._others: dict[str, int] = {}
        self._total = 0

    def name(self, sender: str, messages: int) -> str:
        """Return under which name to count these messages of a sender. A set look-up where it has one."""
        self._total += messages
        if sender in self._places:
            return sender
        return sender if self._gets_place(sender, messages) else OTHER

    def _gets_place(self, sender: str, messages: int) -> bool:
        taken = len(self._places)
        if taken >= AT_MOST:
            return False
        if taken >= AT_ONCE:
            if len(self._others) >= COUNTED:
                self._others.clear()
            sent = self._others[sender] = self._others.get(sender, 0) + messages
            if sent < BUSY_MESSAGES or sent * BUSY_PART < self._total:
                return False
        self._places.add(sender)
        self._others.pop(sender, None)
        if taken + 1 == AT_MOST:
            self._others.clear()
        return True
