"""What Twilio's list of messages says about a message in doubt: it is there, it is not, or nothing yet.

Pure rules over values. *There* needs one listed message that fits and that no other record explains;
*absent* needs much more (see `absent`), because it lets the message be sent again. Times are unix seconds of
our clock (Redis') unless a name says otherwise; `skew` is how many seconds Twilio's clock is ahead of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import floor
from typing import TYPE_CHECKING, Final

from broadcaster.domain.body_likeness import alike, may_be

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

#: Twilio's `date_created` has whole seconds, and its clock was measured to about one.
TOLERANCE_SECONDS: Final = 5
#: The skew is measured from whole seconds and may be that much too large: without it the message of the next
#: attempt, created in the second in which that began, would count as a duplicate that we caused.
SKEW_ERROR: Final = 0.5
OUTBOUND: Final = "outbound-api"


@dataclass(frozen=True, slots=True)
class Question:
    """One attempt of one message whose answer never came.

    `sender` is the `From` we named, None where the service chose; `service` the messaging service, None
    without. `body` is None where Twilio may have changed more than its characters (template, short links,
    media, retention): then it isn't compared, nor where it is
    not wholly GSM-7. `began` is the second of the attempt, `before` that of the next
    one if another has left since. `set_back` says by how many seconds our clock was set back since it began:
    the measured skew is that of now. `in_flight_until` is the last moment its POST could have been under way,
    None while its owner may still be sending it.
    """

    to: str
    sender: str | None
    service: str | None
    body: str | None
    began: int
    attempt: int
    in_flight_until: float | None = None
    before: int | None = None
    set_back: int = 0

    def earliest(self, skew: float) -> int:
        """Return the least `date_created` (Twilio's clock) its message can have.

        A clock ahead of ours doesn't raise it: were the measurement wrong, the message would be overlooked.
        """
        return floor(self.began - self.set_back + min(0.0, skew)) - TOLERANCE_SECONDS


@dataclass(frozen=True, slots=True)
class Listed:
    """A message as Twilio lists it; `created` and `sent` are seconds of Twilio's clock."""

    sid: str
    to: str | None
    sender: str | None
    service: str | None
    direction: str | None
    body: str | None
    created: int | None
    sent: int | None

    def __repr__(self) -> str:
        return f"Listed({self.sid})"


def fits(question: Question, listed: Listed, skew: float) -> bool:
    """Tell whether a listed message may be the one asked about, whoever else may explain it."""
    if listed.to != question.to or listed.direction != OUTBOUND or listed.created is None:
        return False
    if question.service is not None and listed.service != question.service:
        return False
    if question.sender is not None and listed.sender not in (None, question.sender):
        return False
    if listed.created < question.earliest(skew):
        return False
    if question.before is not None and listed.created >= floor(question.before + skew - SKEW_ERROR):
        return False
    return question.body is None or may_be(question.body, listed.body)


def match(
    questions: Sequence[Question], listed: Iterable[Listed], held: Collection[str], skew: float
) -> dict[int, Listed]:
    """Give each question (by its place) the message that settles it.

    A message explains one question at most and none if another record holds its SID. The attempt that began
    first chooses first, and takes the oldest that fits. Messages that show a question's own text are given
    out before all others: of two in doubt to one person, the one must not take what is the other's.
    """
    free = sorted(
        (m for m in listed if m.sid not in held and m.created is not None),
        key=lambda m: (m.created, m.sid),
    )
    found: dict[int, Listed] = {}
    taken: set[str] = set()
    order = sorted(range(len(questions)), key=lambda i: (questions[i].began, questions[i].attempt))
    for fit in (_shows, fits):
        for place in (place for place in order if place not in found):
            for message in free:
                if message.sid not in taken and fit(questions[place], message, skew):
                    found[place] = message
                    taken.add(message.sid)
                    break
    return found


def _shows(question: Question, listed: Listed, skew: float) -> bool:
    """Tell whether a message that fits shows the very text that was sent."""
    return question.body is not None and alike(question.body, listed.body) and fits(question, listed, skew)


class Reading:
    """One reading of the list, page after page, newest `date_sent` first; its window begins at `earliest`.

    Messages that were not sent have no `date_sent`; whether they come first or last isn't documented. So a
    page that is wholly older than the window (`past`) completes it for sent messages, and for unsent ones
    only if this reading has seen one before a sent one.
    """

    def __init__(self, earliest: int = 0) -> None:
        self.earliest = earliest
        self.complete = False
        self.past = False
        self.newest: int | None = None
        self._unsent = False
        self._unsent_first = False

    def page(self, messages: Sequence[Listed], *, last: bool) -> bool:
        """Take the next page; tells whether all that the window can hold has been read."""
        for message in messages:
            if message.created is not None and (self.newest is None or message.created > self.newest):
                self.newest = message.created
            if message.sent is None:
                self._unsent = True
            elif self._unsent:
                self._unsent_first = True
        self.past = bool(messages) and all(m.sent is not None and m.sent < self.earliest for m in messages)
        self.complete = last or (self.past and self._unsent_first)
        return self.complete


@dataclass(frozen=True, slots=True)
class Look:
    """How far a reading of the list can prove an absence.

    `began` is when it began, `newest` the newest `date_created` that the list showed by then (Twilio's
    clock), `complete` whether every page of the window was read with HTTP 200.
    """

    began: float
    complete: bool
    newest: int | None
    skew: float


@dataclass(frozen=True, slots=True)
class Patience:
    """How long after a POST could last have been in flight its absence from the list means something."""

    seconds: float = 60.0
    alone_seconds: float = 120.0


def absent(question: Question, look: Look, patience: Patience) -> bool:
    """Tell whether a look that found no candidate proves that there is none to be found.

    Wanted: a complete reading; `patience.seconds` since the POST could last have been in flight; and a
    control, a message accepted later than that which the list shows; without one `patience.alone_seconds`.
    """
    until = question.in_flight_until
    if until is None or not look.complete:
        return False
    waited = look.began - until
    if waited < patience.seconds:
        return False
    control = look.newest is not None and look.newest > until + max(0.0, look.skew)
    return control or waited >= patience.alone_seconds
