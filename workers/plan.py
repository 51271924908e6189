"""What this worker holds and has not sent: slices, ordered by when their next message may leave.

Pure: times are the caller's monotonic seconds. A message whose permit has grown old is given up rather than
caught up, so that a stall never turns into a burst: its record goes back to the flow when its claim ends. But
the last message of a slice goes if none has: where Redis is slow, all would be late, again and again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from broadcaster.lanes.claims import Item, Slice
    from workers.contents import Batch

#: One of a slice whose messages are all late may still go, if it is no later than this.
LAST_SECONDS: Final = 2.0
#: A permit may be used this long after its time, or one segment's interval where that is longer. Another
#: worker's permits go on where a slice's end: with as much by which a lane may be ahead of its pace
#: (claim.lua), any second stays below rate + 10 % + one message.
STALE_SECONDS: Final = 0.04


class Speed(NamedTuple):
    """What a worker can send now: so many a second, and `spare` more than it has before one would be late."""

    a_second: float
    spare: int


@dataclass(slots=True)
class Held:
    """A slice this worker holds. `open` counts messages whose end is not yet noted, `ended` those noted.

    `batch` is kept here while the slice is held, since the cache may drop it meanwhile. `refused` counts how
    often it was asked for with old opt-outs. `unsent` are rows that the gate refused after its first answer
    about them had been lost: that one may have been a yes. `closed` are rows to which free text may not go,
    as WhatsApp's 24 hours are over (workers/windows.py). `late` counts those whose permits had grown old.
    `noted` counts what is no acceptance, for the log.
    """

    slice: Slice
    next_at: float
    position: int = 0
    open: int = 0
    ended: int = 0
    began: float = 0.0
    planned: bool = False
    begun: bool = False
    dropped: bool = False
    batch: Batch | None = None
    refused: int = 0
    closed: frozenset[int] = frozenset()
    late: int = 0
    noted: dict[str, int] | None = None
    unsent: list[int] = field(default_factory=list)
    stale_after: float = field(init=False)

    def note(self, what: str, count: int = 1) -> None:
        """Count something for this slice's line in the log."""
        if self.noted is None:
            self.noted = {}
        self.noted[what] = self.noted.get(what, 0) + count

    def __post_init__(self) -> None:
        self.open = len(self.slice.items)
        self.stale_after = max(STALE_SECONDS, self.slice.interval_seconds)


@dataclass(slots=True)
class Plan:
    """A heap of slices. `unsent` counts their messages that have not been taken."""

    unsent: int = 0
    _heap: list[tuple[float, int, Held]] = field(default_factory=list)
    _serial: int = 0

    def add(self, held: Held) -> None:
        """Take a slice."""
        held.planned = True
        self.unsent += len(held.slice.items) - held.position
        self._push(held)

    def _push(self, held: Held) -> None:
        self._serial += 1
        heappush(self._heap, (held.next_at, self._serial, held))

    def next_at(self) -> float | None:
        """When the next message may leave, or None."""
        return self._heap[0][0] if self._heap else None

    def take(
        self, now: float, until: float, at_most: int
    ) -> tuple[list[tuple[Held, list[Item]]], list[Held]]:
        """Return up to `at_most` messages that may leave by `until`, by slice, and the slices used up.

        Messages whose permits are stale at `now` are passed over.
        """
        portions: list[tuple[Held, list[Item]]] = []
        ended: list[Held] = []
        heap = self._heap
        while heap and at_most > 0 and heap[0][0] <= until:
            held = heappop(heap)[2]
            if held.dropped:
                continue
            items = self._portion(held, now, until, at_most)
            at_most -= len(items)
            if items:
                portions.append((held, items))
            if held.position >= len(held.slice.items):
                ended.append(held)
            else:
                self._push(held)
        return portions, ended

    def _portion(self, held: Held, now: float, until: float, at_most: int) -> list[Item]:
        items, interval, at = held.slice.items, held.slice.interval_seconds, held.next_at
        position, end = held.position, len(items)
        taken: list[Item] = []
        oldest = now - held.stale_after
        while position < end and at <= until and at_most:
            item = items[position]
            position += 1
            if at < oldest and (held.begun or taken or position < end or at < now - LAST_SECONDS):
                held.open -= 1
                held.late += 1
            else:
                taken.append(item)
                at_most -= 1
            at += item.segments * interval
        self.unsent -= position - held.position
        held.position, held.next_at = position, at
        held.begun = held.begun or bool(taken)
        return taken

    def drop(self, held: Held) -> None:
        """Give up what is left of a slice, planned yet or not: the gate refused it, or its claim is gone."""
        if held.dropped:
            return
        held.dropped = True
        left = len(held.slice.items) - held.position
        held.open -= left
        if held.planned:
            self.unsent -= left
        held.position = len(held.slice.items)

    def drop_all(self) -> list[Held]:
        """Give up everything that was not taken; returns the slices it belonged to."""
        helds = [entry[2] for entry in self._heap if not entry[2].dropped]
        for held in helds:
            self.drop(held)
        self._heap.clear()
        return helds
