"""When a delivery that failed goes again, and how long an endpoint that fails is left in peace."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broadcaster.events.queue import Ended, How

if TYPE_CHECKING:
    from broadcaster.events.queue import Delivery
    from broadcaster.events.sending import Answer

#: Seconds until the next try, after the first, the second … (Standard Webhooks, "Deliverability").
SCHEDULE: Final = (5, 300, 1800, 7200, 18_000, 36_000, 50_400)
#: Waits are stretched by up to this share, so that what failed together doesn't come together.
JITTER: Final = 0.2
#: After so many failures in a row an endpoint is left in peace, longer with each such run.
STREAK: Final = 8
HOLD_SECONDS: Final = 5.0
LONGEST_HOLD_SECONDS: Final = 300.0
#: An endpoint may ask for a longer wait (Retry-After), up to this.
LONGEST_WISH_SECONDS: Final = 3600.0


def end_of(delivery: Delivery, answer: Answer, draw: float, scale: float = 1.0) -> Ended:
    """Decide what becomes of a delivery after an answer. Pure: `draw` in [0, 1) is the jitter."""
    after = delivery.after(answer.words)
    if answer.ok:
        return Ended(after, How.DELIVERED)
    if answer.gone or after.tries > len(SCHEDULE):
        return Ended(after, How.PARKED)
    wait = SCHEDULE[after.tries - 1] * scale * (1.0 + JITTER * draw)
    return Ended(after, How.AGAIN, max(wait, wish_of(answer)))


def hold_after(answer: Answer, streak: int, scale: float = 1.0) -> float:
    """Return for how many seconds an endpoint is left in peace, `streak` failures in a row being its last.

    One that says that it is overloaded (429, 502, 503, 504) from the first on, others from `STREAK` on.
    """
    if answer.ok:
        return 0.0
    wish = wish_of(answer)
    if answer.slows and wish:
        return wish
    runs = streak // STREAK
    if not answer.slows and not runs:
        return 0.0
    return float(min(LONGEST_HOLD_SECONDS, HOLD_SECONDS * 2.0 ** min(runs, 16)) * scale)


def wish_of(answer: Answer) -> float:
    """Return the wait that an endpoint asked for, in seconds; 0 for none."""
    return min(answer.retry_after_seconds or 0.0, LONGEST_WISH_SECONDS)
