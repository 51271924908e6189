"""When unknowns open the circuit, what closes it, and what is known afterwards."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.domain.circuit import (
    LEAST,
    RECENT_SECONDS,
    SHARE,
    WINDOW_SECONDS,
    Circuit,
    Steering,
    Word,
    steer,
    too_many,
)
from broadcaster.domain.concurrency import RESTART, Level, Second

CLOSED = Steering(Level(100))
NOW = 1_700_000_000.25


def after(state: Steering, second: Second, word: Word | None = None) -> Steering:
    return steer(state, second, word or Word(), now=NOW, most=400)


@pytest.mark.parametrize(
    ("answered", "unknown", "opens"),
    [
        (0, LEAST - 1, False),
        (0, LEAST, True),
        (80, 20, False),
        (79, 21, True),
        (5_000, 1_000, False),
        (5_000, 1_300, True),
        (100, 0, False),
    ],
)
def test_over_a_fifth_of_ten_seconds_opens(answered: int, unknown: int, opens: bool) -> None:  # noqa: FBT001
    state = CLOSED
    for part in range(WINDOW_SECONDS):
        at_once = Second(
            answered=answered * (part + 1) // WINDOW_SECONDS - answered * part // WINDOW_SECONDS,
            unknown=unknown * (part + 1) // WINDOW_SECONDS - unknown * part // WINDOW_SECONDS,
        )
        state = after(state, at_once)
    assert bool(state.circuit.since) == opens
    assert too_many(answered, unknown) == opens


def test_429s_are_answers() -> None:
    assert not after(CLOSED, Second(throttled=100, unknown=20)).circuit.since


def test_what_is_older_than_ten_seconds_counts_no_more() -> None:
    state = after(CLOSED, Second(answered=1_000))
    for _ in range(WINDOW_SECONDS - 1):
        state = after(state, Second())
    assert not after(state, Second(unknown=19)).circuit.since
    assert after(after(state, Second(unknown=19)), Second(unknown=1)).circuit.since


def test_one_worker_opens_it_for_all_and_a_probe_closes_it() -> None:
    opened = after(CLOSED, Second(), Word(opens=True))
    assert opened == Steering(Level(100), Circuit(since=NOW))
    assert after(opened, Second(unknown=50)) == opened
    assert after(opened, Second(answered=50)) == opened, "what left before it opened says nothing"
    assert after(opened, Second(), Word(closes=NOW - 5)) == opened, "of an earlier silence"
    closed = after(opened, Second(answered=1), Word(closes=NOW))
    assert closed == Steering(Level(RESTART, former=100))


@pytest.mark.parametrize(
    ("second", "opens"),
    [
        (Second(answered=1), False),
        (Second(throttled=3), False),
        (Second(answered=100, unknown=20), False),
        (Second(), False),
        (Second(answered=2, unknown=20), False),
        (Second(unknown=900), True),
    ],
)
def test_one_worker_stops_alone_while_the_others_are_answered(second: Second, opens: bool) -> None:  # noqa: FBT001
    state = CLOSED
    for _ in range(WINDOW_SECONDS):
        state = after(state, Second(answered=100))
    state = after(state, second, Word(opens=True))
    assert bool(state.circuit.since) == opens
    for _ in range(RECENT_SECONDS):
        state = after(state, Second(), Word(opens=True))
    assert state.circuit.since, "now nobody is"


def test_one_worker_stops_alone_where_the_others_send_a_message_every_two_seconds() -> None:
    """Turns may come sooner than seconds are over, for whoever has stopped asks for one."""
    state = CLOSED
    for half_seconds in range(40):
        seen = Second(seconds=0.5, answered=int(half_seconds % 4 == 0))
        state = after(state, seen, Word(opens=half_seconds % 2 == 1))
        assert not state.circuit.since, f"after {half_seconds / 2} s everybody is stopped"
    for _ in range(2 * (RECENT_SECONDS + 1)):
        state = after(state, Second(seconds=0.5), Word(opens=True))
    assert state.circuit.since, "now nobody is answered"


def test_parts_of_a_second_are_one_however_many_have_stopped() -> None:
    """The level rises and is held, and what was seen grows old, as if nobody had asked for a turn."""

    def story(parts: int) -> Steering:
        state = Steering(Level(10))
        for second in range(12):
            for part in range(parts):
                state = after(
                    state,
                    Second(
                        seconds=1 / parts,
                        answered=40 // parts,
                        pressed=int(second == 4 and part == 0),
                        unknown=int(part == 0),
                        peak=10,
                        busy=8.0,
                        ceiling=9 if second == 4 and part == 0 else 0,
                        full=part == 0,
                    ),
                    Word(opens=part > 0),
                )
        return state

    assert story(4) == story(2) == story(1)
    assert story(1).level.limit > 10


def test_after_a_pause_of_all_workers_what_they_saw_is_as_much_older() -> None:
    state = after(after(CLOSED, Second(unknown=15)), Second(seconds=60.0))
    assert not after(state, Second(unknown=19)).circuit.since
    state = after(after(CLOSED, Second(answered=100)), Second(seconds=4.0))
    assert after(state, Second(), Word(opens=True)).circuit.since


def test_a_second_silence_on_the_way_up_forgets_no_former_level() -> None:
    state = after(after(CLOSED, Second(), Word(opens=True)), Second(), Word(closes=NOW))
    state = after(state, Second(answered=10))
    assert state.level == Level(16, former=100)
    while not state.circuit.since:
        state = after(state, Second(), Word(opens=True))
    state = after(state, Second(), Word(closes=NOW))
    assert state.level == Level(RESTART, former=100)


counted = st.integers(0, 10_000)
some = st.builds(Second, answered=counted, throttled=counted, unknown=counted, peak=st.integers(0, 400))
words = st.builds(Word, opens=st.booleans(), closes=st.sampled_from((0.0, NOW, NOW + 1)))


@given(st.lists(st.tuples(some, words), max_size=40))
def test_it_is_open_only_for_a_reason_and_remembers_little(story: list[tuple[Second, Word]]) -> None:
    state = CLOSED
    for second, word in story:
        before, state = state, after(state, second, word)
        assert msgspec.json.decode(msgspec.json.encode(state), type=Steering) == state
        assert len(state.circuit.window) <= WINDOW_SECONDS
        if before.circuit.since:
            assert bool(state.circuit.since) == (word.closes != before.circuit.since)
        elif state.circuit.since:
            window = (*before.circuit.window, (second.answered + second.throttled, second.unknown))
            unknown = sum(u for _, u in window[-WINDOW_SECONDS:])
            assert word.opens or unknown > SHARE * sum(a + u for a, u in window[-WINDOW_SECONDS:])
