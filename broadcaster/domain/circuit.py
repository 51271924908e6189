"""The circuit: when Twilio does not answer, nothing more is put in doubt but one probe a second. No I/O.

An *unknown* outcome (a timeout, a reset, a 5xx) may have been sent, so each costs an attempt and somebody's
time. It opens on twenty in a row or over a fifth of ten seconds' outcomes, and where many requests have
waited long without any answer; an answer to a probe, whatever it says, closes it.

A worker that stops while the others are answered has trouble of its own, its host's or its network's: then it
stops alone, and they go on.

Who stops asks for a turn before the second is over. What was seen in such a part of one is added up until it is
whole: however many have stopped, the seconds go by no faster.
"""

from __future__ import annotations

from typing import Final

import msgspec

from broadcaster.domain.concurrency import Level, Second, adapt, restarted

RUN: Final = 20
SHARE: Final = 0.2
WINDOW_SECONDS: Final = 10
#: Whether others are answered is seen in so many, and the one that isn't over: who stops asks at once.
RECENT_SECONDS: Final = 3
#: From this on a second is over; those who renew once in one are a little early or late (renew.lua).
WHOLE_SECONDS: Final = 0.95
#: Fewer outcomes than this are no share of anything.
LEAST: Final = 20
#: Of a worker's own second so many unknowns are enough to stop it before anybody has added up.
FLOOD: Final = 100
#: Answers come in far less; the client itself waits 30 s and more, in which very many would be put in doubt.
QUIET_SECONDS: Final = 10.0


class Circuit(msgspec.Struct, frozen=True, array_like=True):
    """Closed, or open `since` a unix second. `window`: (answered, unknown) of each of the last seconds."""

    since: float = 0.0
    window: tuple[tuple[int, int], ...] = ()


class Steering(msgspec.Struct, frozen=True, array_like=True):
    """What is known about Twilio, shared by all workers: the level of concurrency, and the circuit.

    `part` is what was seen of a second that isn't over.
    """

    level: Level
    circuit: Circuit = Circuit()
    part: Second | None = None


class Word(msgspec.Struct, frozen=True):
    """What one worker has to tell: it `opens`; or a probe was answered in the silence since `closes`.

    It goes on to say that it opens for as long as it is stopped and the circuit isn't open for all.
    """

    opens: bool = False
    closes: float = 0.0


def too_many(answered: int, unknown: int) -> bool:
    """Whether that many unknowns among so many outcomes are no accident."""
    total = answered + unknown
    return total >= LEAST and unknown > SHARE * total


def _sums(window: tuple[tuple[int, int], ...]) -> tuple[int, int]:
    return sum(answered for answered, _ in window), sum(unknown for _, unknown in window)


def _answered(window: tuple[tuple[int, int], ...]) -> bool:
    """Whether enough was answered lately to say that one worker's silence is its own."""
    answered, unknown = _sums(window)
    return answered > SHARE * (answered + unknown)


def steer(state: Steering, second: Second, word: Word, *, now: float, most: float) -> Steering:
    """Return what is known after one more second, or a part of one. `now` is in unix seconds."""
    circuit = state.circuit
    if circuit.since:
        if word.closes == circuit.since:
            return Steering(restarted(state.level))
        return state
    seen = second if state.part is None else state.part.then(second)
    whole = seen.seconds >= WHOLE_SECONDS
    # after a pause of all workers what they saw before is as much older
    passed = ((0, 0),) * min(WINDOW_SECONDS, round(seen.seconds) - 1)
    window = (*circuit.window, *passed, (seen.answered + seen.throttled, seen.unknown))[-WINDOW_SECONDS:]
    recent = RECENT_SECONDS + (not whole)
    if (word.opens and not _answered(window[-recent:])) or too_many(*_sums(window)):
        return Steering(state.level, Circuit(since=now))
    if not whole:
        return Steering(state.level, circuit, seen)
    return Steering(adapt(state.level, seen, most=most), Circuit(window=window))
