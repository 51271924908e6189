"""How long a WhatsApp sender waits that its channel takes no more of (63018), which says one of two things.

Above the rate, a minute is long enough. Where what left after that is refused again, and what left after ten
more minutes too, it is the sender's messaging limit: how many people it may begin to write to in 24 hours
(https://www.twilio.com/docs/api/errors/63018), so it waits for a day. How many it has begun to write to isn't
known here: other programs may use it, and answers don't count.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

CHANNEL_LIMIT: Final = 63018
HOLDS_SECONDS: Final = (60.0, 600.0, 86_400.0)
#: So long after a hold a refusal is another story.
ANOTHER_STORY_SECONDS: Final = 3600.0
FIELD: Final = "slowed"


class Slowed(NamedTuple):
    """The last hold: which one of `HOLDS_SECONDS` (-1: there was none), and its end, in unix seconds."""

    step: int = -1
    until: float = 0.0

    def after(self, began: float, now: float) -> Slowed:
        """Return the hold after a refusal of what left at `began`: the same for what left before its end."""
        if began <= self.until:
            return self
        step = 0 if began > self.until + ANOTHER_STORY_SECONDS else min(self.step + 1, len(HOLDS_SECONDS) - 1)
        return Slowed(step, now + HOLDS_SECONDS[step])


def slowed(raw: bytes | None) -> Slowed:
    """Read a lane's field."""
    step, _, until = (raw or b"-1:0").decode().partition(":")
    return Slowed(int(step), float(until))


async def slow_down(store: Store, lane: str, began: float) -> tuple[float, str]:
    """Note a refusal of what left at `began`; return for how long to hold the lane from now, and why.

    0.0: not at all. What is noted is noted before the hold, so dying in between, or doing it twice, makes the
    same hold. Raises redis' errors.
    """
    key = store.keys.lane(lane)
    before = slowed(await store.redis.hget(key, FIELD))
    seconds, micro = await store.redis.time()
    now = seconds + micro / 1e6
    hold = before.after(began, now)
    if hold != before:
        await store.redis.hset(key, FIELD, f"{hold.step}:{hold.until:.3f}")
    why = "the sender's messaging limit is reached" if hold.step == len(HOLDS_SECONDS) - 1 else ""
    return max(0.0, hold.until - now), why
