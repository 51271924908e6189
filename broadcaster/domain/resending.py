"""Which failed deliveries go again by themselves, when, and how often.

Twilio took these messages, so a second one may follow a late first: by default none goes again but those that
surely did not arrive, and for a reason that passes: Twilio held them back for quiet hours at the recipient
(30610, 30615), WhatsApp had not got the new template yet (63053), the media did not load (63019), and free
text outside WhatsApp's 24 hours (63016) where a template was given to go in its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broadcaster.domain.whatsapp_window import OUTSIDE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broadcaster.domain.send_window import SendWindow

#: Delivery codes that pass by themselves: with those below all of remedy `retry` and `queue_full` in
#: twilio/codes.toml.
PASSING: Final = frozenset(
    (
        *(30001, 30003, 30008, 30017, 30020, 30021, 30022, 30036, 30046, 30450, 30453, 30485, 30500),
        *(63009, 63010, 63012, 63018),
    )
)
#: Held back for quiet hours at the recipient.
QUIET: Final = frozenset((30610, 30615))
#: Surely not delivered, and soon may be: after how many seconds it goes again, and how often at most.
SOON: Final[dict[int, tuple[float, int]]] = {63019: (60.0, 1), 63053: (600.0, 3)}
#: What goes again by itself whatever is chosen.
IN_ANY_CASE: Final = QUIET | SOON.keys()
#: The provider timed out, so it may have been delivered; Twilio itself does not try again for that reason.
PROVIDER_TIMED_OUT: Final = 30410
#: Never left Twilio's queue, so however often it goes again, one arrives.
NEVER_LEFT: Final = frozenset((30001, 30022, 63018))
_MINUTE: Final = 60.0
_HOUR: Final = 3600.0
#: One of the soft kind goes again at most so often, quiet hours likewise.
TWICE: Final = 2
_ONCE: Final = 1
_SPREAD_SECONDS: Final = 600.0
Openings = Iterator[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Resending:
    """What goes again: `codes` were chosen, `max_attempts` is what a message may spend in all."""

    codes: frozenset[int] = frozenset()
    max_attempts: int = 5

    def goes_again(self, code: int) -> bool:
        """Whether a failure of this code may go again at all."""
        return code in IN_ANY_CASE or code in self.codes


def parse_codes(text: str) -> list[int]:
    """Read `30001,30003`. Raises ValueError with what must be otherwise ("must be …")."""
    codes = []
    for part in text.split(","):
        name = part.strip()
        if not (name.isascii() and name.isdigit()):
            raise ValueError("must be codes of failed deliveries with commas between, like 30001,30003")
        codes.append(int(name))
    for code in codes:
        if code == PROVIDER_TIMED_OUT:
            raise ValueError(
                f"must not hold {code}: the provider timed out, the message may have been delivered, and "
                "Twilio itself does not send it again for that reason"
            )
        if code in IN_ANY_CASE:
            raise ValueError(f"need not hold {code}: what failed for that reason goes again in any case")
        if code not in PASSING:
            known = ", ".join(map(str, sorted(PASSING)))
            raise ValueError(f"must not hold {code}: it does not pass by itself. These do: {known}")
    return sorted(set(codes))


def most_times(code: int, max_attempts: int) -> int:
    """Return how often a message may go again for failures of this kind."""
    if code == OUTSIDE:  # as the template, which is not free text
        return _ONCE
    if code in SOON:
        return SOON[code][1]
    return max_attempts if code in NEVER_LEFT else TWICE


def wait_seconds(code: int, times: int, draw: float) -> float:
    """Return how long a failure waits that went again `times` times before; `draw` in [0, 1) spreads a crowd.

    What never left Twilio's queue waits a quarter of an hour, then twice as long each time: the queue drains
    at the sender's pace. A handset that is off is one for hours.
    """
    if code in SOON:
        return SOON[code][0] * (1 + draw / 2)
    first = 15 * _MINUTE if code in NEVER_LEFT else 2 * _HOUR
    return float(first * 2 ** min(times, 6) * (1 + draw / 2))


def quiet_until(
    windows: Iterable[SendWindow], failed: float, draw: float, horizon_seconds: float = 14 * 86_400.0
) -> float | None:
    """Return when what was held back at `failed` may go: with all windows open, but not within an hour.

    Twilio has just called it night there, whatever our windows say. None if they are never open together
    until the horizon. `draw` in [0, 1) spreads a crowd over the first minutes of the opening.
    """
    begin, end = _together([window.openings(failed + _HOUR) for window in windows], failed + horizon_seconds)
    if end <= begin:
        return None
    at = max(float(begin), failed + _HOUR)
    return at + min(_SPREAD_SECONDS, end - at) * draw


def _together(all_openings: list[Openings], until: float) -> tuple[int, int]:
    """Return the first stretch of time that lies in an opening of each; an empty one if there is none."""
    current = [next(openings) for openings in all_openings]
    while current and max(begin for begin, _ in current) < until:
        begin, end = max(a for a, _ in current), min(b for _, b in current)
        if begin < end:
            return begin, end
        current = [
            one if one[1] > begin else next(openings)
            for one, openings in zip(current, all_openings, strict=True)
        ]
    return 0, 0
