"""What this worker may have in flight right now, and what it saw of Twilio since it told the others.

Between two renewals a worker acts on its own: a 429 that means "too many at once" lowers what it has in
flight, twenty unknowns in a row stop it. What follows for the account is said in `domain.circuit`, once a
second: where others are answered only this worker stops, and tries one message a second by itself. So it does
where it can't reach Twilio at all; else it would use up permits that others could send with.
"""

from __future__ import annotations

import asyncio
import math
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog

from broadcaster.domain.circuit import FLOOD, QUIET_SECONDS, RECENT_SECONDS, RUN, Word, too_many
from broadcaster.domain.concurrency import STRAY, Second
from broadcaster.domain.failures import Remedy
from broadcaster.twilio.codes import lookup

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.domain.failures import Outcome
    from broadcaster.lanes.claims import Standing

log = structlog.get_logger("twilio")

#: What one answer gives back of what a 429 took: three in a hundred take nothing on balance.
REGAIN: Final = STRAY
#: While every try is a 429 there is one at a time, and after each a rest, twice as long as the last.
REST_FIRST_SECONDS: Final = 0.05
REST_MOST_SECONDS: Final = 1.0
#: Twilio's own wish may be longer; other senders' messages need not wait for it for ever.
RETRY_AFTER_MOST_SECONDS: Final = 10.0
#: Who was not asked for so long was stopped itself, and has not read what came meanwhile.
ASLEEP_SECONDS: Final = 3.0
#: Who has a yes should leave within so long: it is out of reach of a pause, and its permit grows old. Several
#: workers whose connections are all busy would make up for that, once they are not, in a sender's one second.
READY_SECONDS: Final = 0.1
#: So many that could not be sent, and for so long, are no blip.
UNREACHED: Final = 5
UNREACHED_SECONDS: Final = 3.0
#: While only this worker has stopped it tries again so often, after a moment in which all may have stopped.
PROBE_SECONDS: Final = 0.95
ALONE_AFTER_SECONDS: Final = 2.0
#: How long a request takes is an average of about so many.
USUAL_OF: Final = 16


class Allowance:
    """`now` bounds what may be in flight; 0 while it rests. `open`: only probes go, `probes` of them.

    `changed` is called when the circuit opens or closes here; `soon` is set when others should hear of it.
    """

    def __init__(self, concurrency: int) -> None:
        self.now = concurrency
        self.open = False
        self.probes = 0
        self.soon = asyncio.Event()
        self.changed: Callable[[bool], None] = lambda _: None
        self._concurrency = concurrency
        self._share = concurrency
        self._cap = float(concurrency)
        self._answered = self._throttled = self._pressed = self._unknown = 0
        self._peak = self._peak_before = self._ceiling = 0
        self._busy = 0.0
        self._run = 0
        self._rests = 0
        self._resting = False
        self._eased = True
        self._heard = self._looked = monotonic()
        #: Only what started after this says anything about now.
        self._since = 0.0
        self._silent = 0.0
        self._probed = 0
        self._answers_probe = False
        self._usual = 0.0
        self._unreached = 0
        self._unreached_since = 0.0
        #: Whether it stopped because Twilio can't be reached from here, which says nothing about the others.
        self._cut_off = False
        self._tried = 0.0
        #: When it last asked for a turn to say that it has stopped.
        self._insisted = -math.inf

    # -- what happens to requests

    def alone(self, now: float) -> None:
        """Note that a request starts while no other is in flight: silence counts from here."""
        self._heard = now

    @property
    def ready(self) -> int:
        """How many may wait with a yes: those that leave soon, if requests take as long as they do now."""
        return max(1, min(max(4, 2 * self.now), int(self.a_second * READY_SECONDS)))

    @property
    def a_second(self) -> float:
        """How many leave in a second, if requests take as long as they do now."""
        return self.now / max(self._usual, 0.001)

    def admitted(self, in_flight: int, started: float, ended: float) -> None:
        """Note that Twilio processed a request; with it so many had been in flight when it started."""
        self._answered += 1
        took = ended - started
        self._busy += took
        self._usual += (took - self._usual) / USUAL_OF
        self._heard = ended
        self._run = self._rests = self._unreached = 0
        if in_flight > self._peak:  # noqa: PLR1730 - a third of the time, for each message
            self._peak = in_flight
        if self._cap < self._share:
            self._set(self._cap + REGAIN)
        if self.open:
            self._hear_probe(started)

    def throttled(self, outcome: Outcome, in_flight: int, started: float, left: int) -> float:
        """Note a 429 about concurrency; `left` are still in flight. Returns for how many seconds to rest."""
        self._throttled += 1
        self._heard = monotonic()
        self._run = self._unreached = 0
        if outcome.concurrent is not None and (self._ceiling == 0 or outcome.concurrent <= self._ceiling):
            self._ceiling = max(1, outcome.concurrent - 1)
        if in_flight > max(self._peak, self._peak_before) or self._throttled > max(4, STRAY * self._answered):
            self._pressed += 1
            self._set(min(self._cap - 1, left))
        if self.open:
            self._hear_probe(started)
        if left or self._cap > 1:
            return 0.0
        rest = REST_FIRST_SECONDS * 2.0 ** min(self._rests, 10)
        self._rests += 1
        wish = min(outcome.retry_after_seconds or 0.0, RETRY_AFTER_MOST_SECONDS)
        return max(wish, min(REST_MOST_SECONDS, rest))

    def unknown(self, started: float) -> None:
        """Note a request of which nobody knows what became."""
        if started < self._since or self.open:
            return
        self._unknown += 1
        self._run += 1
        if self._run >= RUN:
            self._stop(f"{self._run} requests in a row without an answer")
            # `opens` says so; as a share of few outcomes they would stop the others, who may be answered
            self._unknown = max(0, self._unknown - self._run)
        elif self._unknown >= FLOOD and too_many(self._answered + self._throttled, self._unknown):
            self._stop(f"{self._unknown} requests of {self._unknown + self._answered} without an answer")

    def unreached(self) -> None:
        """Note a request for which no connection could be made: it has surely not left."""
        now = monotonic()
        if not self._unreached:
            self._unreached_since = now
        self._unreached += 1
        seconds = now - self._unreached_since
        if not self.open and self._unreached >= UNREACHED and seconds >= UNREACHED_SECONDS:
            self._cut_off = True
            self._break(f"Twilio can't be reached from here: {self._unreached} tries in {seconds:.0f} s")

    async def rest(self, seconds: float) -> None:
        """Let nothing more leave for so long: every try is refused."""
        self._resting, self.now = True, 0
        try:
            await asyncio.sleep(seconds)
        finally:
            self._resting = False
            self._set(self._cap)

    # -- what the others hear, and say

    def look(self, in_flight: int) -> None:
        """Stop where many requests have waited long without any answer. To be called every second."""
        now = monotonic()
        if now - self._looked > ASLEEP_SECONDS:
            self._heard = now
        self._looked = now
        if not self.open and in_flight >= min(RUN, self._concurrency) and now - self._heard >= QUIET_SECONDS:
            self._stop(f"none of {in_flight} requests was answered for {now - self._heard:.0f} s")

    def word(self) -> Word:
        """Return what the others have to hear at once: this worker stopped, or its probe was answered."""
        opens = self.open and not self._silent and not self._cut_off
        return Word(opens=opens, closes=self._silent if self._answers_probe else 0.0)

    def insists(self) -> bool:
        """Whether its word can't wait until the second is over. To be called once before each renewal.

        Only who has the turn is heard: so it insists when it stops, and as often after that as the answer may
        be another. At each renewal everybody would steer that often.
        """
        word, now = self.word(), monotonic()
        if not word.opens:
            self._insisted = -math.inf
            return bool(word.closes)
        if now - self._insisted < RECENT_SECONDS:
            return False
        self._insisted = now
        return True

    def take(self) -> Second:
        """Return what was seen since the last call."""
        full = self._peak >= self._share
        seen = Second(
            answered=self._answered,
            throttled=self._throttled,
            pressed=self._pressed,
            unknown=self._unknown,
            peak=self._peak,
            busy=self._busy,
            ceiling=self._ceiling,
            full=full,
        )
        self._eased = not self._pressed
        self.probes = 0
        self._answered = self._throttled = self._pressed = self._unknown = 0
        self._peak_before, self._peak, self._ceiling, self._busy = self._peak, 0, 0, 0.0
        return seen

    def hear(self, standing: Standing) -> None:
        """Take what a renewal says."""
        self._share = standing.share
        self._set(self._share if self._eased and not self._pressed else self._cap)
        if standing.silent:
            if not self.open:
                self._break("another worker gets no answer")
            if self._silent != standing.silent:
                self._silent, self._answers_probe = standing.silent, False
            if standing.probe:
                self.probes = 1
                self._probed += 1
        elif self._silent or (self.open and self._answers_probe):
            self._close()
        elif self.open:
            self._try_alone()

    def _try_alone(self) -> None:
        """Let a message a second go while only this worker has stopped."""
        now = monotonic()
        if now - self._since >= ALONE_AFTER_SECONDS and now - self._tried >= PROBE_SECONDS:
            self.probes, self._tried = 1, now
            self._probed += 1

    # -- the circuit

    def _stop(self, why: str) -> None:
        self._break(why)
        self.soon.set()

    def _break(self, why: str) -> None:
        self.open, self.probes, self._probed = True, 0, 0
        self._answers_probe = False
        self._since = monotonic()
        log.error("circuit.opened", reason=why, unknown=self._unknown, answered=self._answered)
        self.changed(True)

    def _close(self) -> None:
        seconds = round(monotonic() - self._since, 1)
        self.open, self.probes, self._silent, self._answers_probe = False, 0, 0.0, False
        self._since = self._heard = monotonic()
        self._run = self._unknown = self._unreached = 0
        self._cut_off = False
        log.warning("circuit.closed", seconds=seconds, probes=self._probed)
        self.changed(False)

    def _hear_probe(self, started: float) -> None:
        if started >= self._since and not self._answers_probe:
            self._answers_probe = True
            self.soon.set()

    def _set(self, cap: float) -> None:
        self._cap = max(1.0, min(float(self._share), cap))
        if not self._resting:
            self.now = min(self._concurrency, int(self._cap))


def about_concurrency(outcome: Outcome) -> bool:
    """Whether a 429 says that too many requests are in flight; it may also be about one sender's queue."""
    code = outcome.code or outcome.http_status
    return lookup(code, outcome.http_status).remedy not in (Remedy.QUEUE_FULL, Remedy.ACCOUNT)
