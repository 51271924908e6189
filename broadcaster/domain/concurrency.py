"""How many requests the account may have in flight at Twilio: found by trying, second by second. No I/O.

Twilio publishes no number (its page on 20429): a request beyond the limit is answered 429 and was not
processed. So the limit is what was admitted at the most when others were refused. It is looked for upwards in
steps that triple while all goes well, and lowered to what was admitted as soon as it doesn't.
"""

from __future__ import annotations

from typing import Final

import msgspec

#: A few 429 among many answers say nothing about concurrency, and must not end in a crawl.
STRAY: Final = 0.03
#: Seconds that a level just found is kept before more is tried; each try costs a few 429.
HOLD_SECONDS: Final = 2
STEP_FACTOR: Final = 3.0
#: A smaller loss is none that has to be made good.
SLIGHT: Final = 0.8
#: A single 429 may be a stray that came while little was in flight: so much of the limit is left at least.
EASE: Final = 0.9
#: Where Twilio was silent, so many may be in flight at first; then twice as many each second.
RESTART: Final = 8.0
#: What is in flight on average is measured from here, with a little less in it than Twilio sees.
ROOM: Final = 1.1


class Second(msgspec.Struct, frozen=True, array_like=True):
    """What all workers saw in about a second (`seconds`).

    `answered` were processed: accepted or refused for what they say. `throttled` were 429, and `pressed` of
    those came with more in flight than had been admitted before. `peak` is the most in flight, summed over
    workers, at which one was admitted; `busy` the average. `ceiling` is what Twilio itself counted in flight
    when it said 429 (the lowest of such, without the refused one; 0: it didn't say). `full`: a worker had its
    whole share admitted.
    """

    seconds: float = 1.0
    answered: int = 0
    throttled: int = 0
    pressed: int = 0
    unknown: int = 0
    peak: int = 0
    busy: float = 0.0
    ceiling: int = 0
    full: bool = False

    def then(self, more: Second) -> Second:
        """Return this and what was seen right after it, as one."""
        seconds = self.seconds + more.seconds
        busy = self.busy * self.seconds + more.busy * more.seconds
        return Second(
            seconds=seconds,
            answered=self.answered + more.answered,
            throttled=self.throttled + more.throttled,
            pressed=self.pressed + more.pressed,
            unknown=self.unknown + more.unknown,
            peak=max(self.peak, more.peak),
            busy=busy / seconds if seconds else 0.0,
            ceiling=min(filter(None, (self.ceiling, more.ceiling)), default=0),
            full=self.full or more.full,
        )


class Level(msgspec.Struct, frozen=True, array_like=True):
    """The limit; it moves by `step` next, after `hold` more seconds, up to `former` faster."""

    limit: float
    step: float = 1.0
    hold: int = 0
    former: float = 0.0


def adapt(level: Level, second: Second, *, most: float) -> Level:
    """Return the level for the next second; at least 1, at most `most`."""
    crowded = second.throttled > STRAY * (second.answered + second.throttled)
    if second.pressed or crowded:
        return _lowered(level, second, crowded=crowded, most=most)
    limit = min(most, level.limit)
    if not second.answered:
        return Level(limit, level.step, level.hold, level.former)
    if level.hold:
        return Level(limit, hold=level.hold - 1, former=level.former)
    if limit < level.former:
        limit = min(most, level.former, limit * 2)
        return Level(limit, former=level.former if limit < level.former else 0.0)
    if not second.full:
        return Level(limit)
    return Level(min(most, limit + min(level.step, limit)), step=level.step * STEP_FACTOR)


def _lowered(level: Level, second: Second, *, crowded: bool, most: float) -> Level:
    found = max(1.0, min(most, level.limit, _admitted(level, second, crowded=crowded)))
    if not second.answered:
        return Level(found, former=max(level.limit, level.former))
    # a level that had held, and is lost at once, may be a bad measurement: the way back is tried once
    had_held = level.step == 1 and not level.former and found < SLIGHT * level.limit
    return Level(found, hold=HOLD_SECONDS, former=level.limit if had_held else 0.0)


def restarted(level: Level) -> Level:
    """Return where to begin again after a silence: low, on the way back to the former limit."""
    return Level(min(level.limit, RESTART), former=max(level.limit, level.former))


def _admitted(level: Level, second: Second, *, crowded: bool) -> float:
    """Return how many Twilio let in at once, as far as the second tells."""
    if not second.answered or not second.peak:
        return level.limit / 2
    found = float(second.peak)
    if second.ceiling:
        found = min(found, second.ceiling)
    elif crowded and second.busy:
        # half at most in a second: where things change within one, its average says little
        found = min(found, max(second.busy * ROOM, level.limit / 2))
    return found if crowded else max(found, level.limit * EASE)
