"""What a list came to: the counters of a preparation."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import monotonic
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broadcaster.domain.content import Rendered

SHOWN_MESSAGES: Final = 3
SHOWN_UNVERIFIED: Final = 5


@dataclass(slots=True)
class LaneTotals:
    """What one sender has to send: recipients and segments."""

    recipients: int = 0
    segments: int = 0


@dataclass(frozen=True, slots=True)
class Culprit:
    """The first character that turned a message into UCS-2, and the row it was in."""

    character: str
    line: int


@dataclass(frozen=True, slots=True)
class ShownMessage:
    """A rendered message as its recipient will get it."""

    to: str
    lane: str
    rendered: Rendered
    segments: int


@dataclass(slots=True)
class Summary:
    """Counters of one list. `rows` is `recipients` + `duplicates` + `opted_out` + `unverified` + `rejected`.

    `segments`, `gsm7` and `ucs2` (text messages by encoding) cover what will be sent: the `recipients`, of
    whom `by_fallback` get the template as their 24-hour window is closed now. `encoding` is what the list was
    read as (None: it came as values), `notes` what to know of how it was read. A trial account may not write
    to the `unverified`, of whom the first are shown.
    """

    rows: int = 0
    recipients: int = 0
    duplicates: int = 0
    opted_out: int = 0
    rejected: int = 0
    segments: int = 0
    batches: int = 0
    gsm7: int = 0
    ucs2: int = 0
    culprit: Culprit | None = None
    encoding: str | None = None
    notes: tuple[str, ...] = ()
    by_fallback: int = 0
    unverified: int = 0
    first_unverified: list[str] = field(default_factory=list)
    lanes: dict[str, LaneTotals] = field(default_factory=dict)
    first: list[ShownMessage] = field(default_factory=list)
    began: float = field(default_factory=monotonic, compare=False, repr=False)

    def note_unverified(self, addresses: Iterable[str]) -> None:
        """Count people whom a trial account may not write to."""
        for address in addresses:
            self.unverified += 1
            if len(self.first_unverified) < SHOWN_UNVERIFIED:
                self.first_unverified.append(address)

    @property
    def records(self) -> int:
        """How many records the ledger gets: every row but the rejected ones."""
        return self.rows - self.rejected
