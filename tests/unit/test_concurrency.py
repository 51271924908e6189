"""The account's limit against a Twilio made of numbers: it finds the level, from above and below."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from broadcaster.domain.concurrency import RESTART, STRAY, Level, Second, adapt, restarted

MOST = 400.0
TWENTY, SIXTY = Level(20, hold=2, former=100), Level(55 * 1.1, hold=2, former=100)
counted = st.integers(0, 5_000)
seconds = st.builds(
    Second,
    answered=counted,
    throttled=counted,
    pressed=st.integers(0, 50),
    peak=st.integers(0, 500),
    busy=st.floats(0, 500),
    ceiling=st.integers(0, 500),
    full=st.booleans(),
)


@pytest.mark.parametrize(
    ("level", "second", "expected"),
    [
        (Level(100), Second(answered=900, full=True), Level(101, step=3)),
        (Level(101, step=3), Second(answered=900, full=True), Level(104, step=9)),
        (Level(104, step=9), Second(answered=900), Level(104)),
        (Level(20, step=81), Second(answered=900, full=True), Level(40, step=243)),
        (Level(100, hold=2), Second(answered=900, full=True), Level(100, hold=1)),
        (Level(100, step=9), Second(), Level(100, step=9)),
        (Level(399, step=9), Second(answered=9, full=True), Level(400, step=27)),
        # strays: with as much in flight as was admitted before
        (Level(100), Second(answered=990, throttled=10, peak=100, full=True), Level(101, step=3)),
        # one too many
        (Level(21), Second(answered=200, throttled=1, pressed=1, peak=20), Level(20, hold=2)),
        # far too many, and Twilio says how many it had
        (Level(100), Second(answered=300, throttled=80, pressed=80, peak=100, ceiling=20), TWENTY),
        (Level(100), Second(answered=300, throttled=80, pressed=80, peak=100, busy=55), SIXTY),
        (Level(100, step=3), Second(answered=300, throttled=80, peak=100, busy=55), replace(SIXTY, former=0)),
        (Level(100), Second(answered=300, throttled=80, peak=100, busy=20), Level(50, hold=2, former=100)),
        (Level(40, former=100), Second(answered=300, throttled=80, peak=21), Level(21, hold=2)),
        # a single 429 where few were in flight
        (Level(100), Second(answered=5, pressed=1, throttled=0, peak=2), Level(90, hold=2)),
        # nothing but 429
        (Level(100), Second(throttled=9), Level(50, former=100)),
        (Level(50, former=100), Second(throttled=9), Level(25, former=100)),
        (Level(1.2), Second(throttled=9), Level(1, former=1.2)),
        # on the way back after a silence
        (Level(8, former=100), Second(answered=3), Level(16, former=100)),
        (Level(64, former=100), Second(answered=3), Level(100)),
    ],
)
def test_the_rule(level: Level, second: Second, expected: Level) -> None:
    assert adapt(level, second, most=MOST) == expected


@given(st.lists(seconds, max_size=30), st.floats(1, 400))
def test_it_stays_in_its_bounds(all_seconds: list[Second], begun: float) -> None:
    level = Level(begun)
    for second in all_seconds:
        before, level = level, adapt(level, second, most=MOST)
        assert 1 <= level.limit <= MOST
        if second.pressed or second.throttled > STRAY * (second.answered + second.throttled):
            assert level.limit <= before.limit, "never up in a second that says too many"


@given(st.integers(2, 400), st.integers(2, 400), st.integers(1, 5), st.booleans())
def test_a_new_level_is_found_in_a_dozen_seconds_at_most(
    first: int,
    then: int,
    workers: int,
    tells: bool,  # noqa: FBT001
) -> None:
    """From any limit of Twilio's to any other, 2 to 400 at the worst, within 10 %, and stays there."""
    level = Level(100.0)
    for _ in range(15):
        level = adapt(level, seen(level, first, workers=workers, tells=tells), most=MOST)
    used = []
    for _ in range(30):
        level = adapt(level, seen(level, then, workers=workers, tells=tells), most=MOST)
        used.append(min(then, level.limit))
    room = max(0.1 * then, 1.0)
    assert used[11] >= then - room, used
    assert min(used[12:]) >= then - room, used
    assert level.limit <= then * 2 + workers


def seen(level: Level, limit: int, *, workers: int, tells: bool) -> Second:
    """What workers see in a second in which they have more to send than may be in flight, 0.1 s a request."""
    ours = int(level.limit)
    inside = min(ours, limit)
    over = ours > limit
    return Second(
        answered=inside * 10,
        throttled=ours - inside + inside // 4 if over else 0,
        pressed=ours - inside if over else 0,
        peak=min(ours, limit + workers - 1),
        busy=inside * 0.97,
        ceiling=limit if over and tells else 0,
        full=not over,
    )


def test_stray_429s_take_nothing_away() -> None:
    """One in a hundred, whatever is in flight: the limit still rises to the most."""
    chance, level = random.Random(1), Level(20.0)
    for _ in range(30):
        inside = int(level.limit)
        strays = sum(chance.random() < 0.01 for _ in range(inside * 10))
        second = Second(answered=inside * 10 - strays, throttled=strays, peak=inside, busy=inside, full=True)
        level = adapt(level, second, most=MOST)
    assert level.limit == MOST


@given(st.floats(1, 400), st.floats(0, 400))
def test_after_a_silence_it_climbs_back_in_seconds(limit: float, former: float) -> None:
    before = Level(limit, former=former)
    level = restarted(before)
    assert level.limit <= RESTART
    taken = 0
    while level.limit < max(limit, former):
        level = adapt(level, Second(answered=1), most=MOST)
        taken += 1
    assert taken <= 9
    assert level.limit == max(limit, former)
