"""What one worker does between two renewals: at once, and by no more than what it has seen."""

from __future__ import annotations

from time import monotonic

import pytest

from broadcaster.domain.circuit import FLOOD, RECENT_SECONDS, RUN, Word
from broadcaster.domain.failures import Kind, Outcome
from broadcaster.lanes.claims import Standing
from workers import allowance
from workers.allowance import Allowance

TOO_MANY = Outcome(Kind.THROTTLED, code=20429, http_status=429)


def given(share: int = 100, concurrency: int = 200) -> Allowance:
    made = Allowance(concurrency)
    made.hear(standing(share))
    return made


def standing(share: int = 100, *, silent: float = 0.0, probe: bool = False) -> Standing:
    return Standing(share, float(share), 1, "0", "", silent, probe)


def test_stray_429s_lower_nothing() -> None:
    """Two in a hundred, at a level that was admitted."""
    made = given()
    made.admitted(100, 0.0, 0.1)
    for at in range(3_000):
        if at % 50 == 49:
            assert made.throttled(TOO_MANY, 100, 0.0, 99) == 0
        else:
            made.admitted(100, 0.0, 0.1)
        assert made.now == 100
    seen = made.take()
    assert (seen.throttled, seen.pressed, seen.full) == (60, 0, True)


def test_a_limit_that_fell_is_kept_within_the_requests_in_flight() -> None:
    """Of 100 in flight each that ends is followed by one that is refused, down to 20."""
    made = given()
    made.admitted(100, 0.0, 0.1)
    in_flight = 100
    while in_flight > 20:
        in_flight -= 1
        made.admitted(in_flight + 1, 0.0, 0.1)
        if in_flight < made.now:
            made.throttled(TOO_MANY, in_flight + 1, 0.0, in_flight)
    assert made.now <= 23
    seen = made.take()
    assert seen.throttled < 90
    made.hear(standing(20))
    assert made.now == 20
    assert made.take().pressed == 0
    made.hear(standing(21))
    assert made.now == 21, "after a second without refusals the whole share counts"


def test_when_all_is_refused_it_rests_longer_and_longer() -> None:
    made = given(share=1)
    rests = [made.throttled(TOO_MANY, 1, 0.0, 0) for _ in range(7)]
    assert rests == [0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
    wish = Outcome(Kind.THROTTLED, code=20429, http_status=429, retry_after_seconds=3)
    assert made.throttled(wish, 1, 0.0, 0) == 3
    made.admitted(1, 0.0, 0.1)
    assert made.throttled(TOO_MANY, 1, 0.0, 0) == 0.05


def test_the_lowest_that_twilio_counted_is_told() -> None:
    made = given()
    for counted in (25, 21, 24, None):
        made.throttled(Outcome(Kind.THROTTLED, code=20429, http_status=429, concurrent=counted), 30, 0.0, 9)
    assert made.take().ceiling == 20
    assert made.take().ceiling == 0


def test_a_run_of_unknowns_stops_and_an_answer_breaks_it() -> None:
    made, changes = given(), list[bool]()
    made.changed = changes.append
    for _ in range(RUN - 1):
        made.unknown(monotonic())
    made.admitted(1, monotonic(), monotonic())
    for _ in range(RUN - 1):
        made.unknown(monotonic())
    assert not changes
    made.unknown(monotonic())
    assert changes == [True]
    assert made.open
    assert made.soon.is_set()
    assert made.word() == Word(opens=True)
    assert made.take().unknown == RUN - 1, "those in a row are what `opens` says"


def test_who_has_stopped_insists_on_a_turn_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    """At each renewal, all others would steer that often, too."""
    clock = [1_000.0]
    monkeypatch.setattr(allowance, "monotonic", lambda: clock[0])
    made = given()
    assert not made.insists()
    for _ in range(2):
        for _ in range(RUN):
            made.unknown(clock[0])
        insisted = []
        for _ in range(2 * RECENT_SECONDS):
            insisted.append(made.insists())
            clock[0] += 1.0
        assert insisted == [True, *[False] * (RECENT_SECONDS - 1)] * 2
        made.hear(standing(silent=5.0, probe=True))
        assert not made.insists()
        made.admitted(1, clock[0], clock[0])
        assert made.insists(), "its probe was answered: the others go on at once"
        made.hear(standing())
        assert not made.insists()


def test_a_flood_of_unknowns_stops_before_the_second_is_over() -> None:
    made = given()
    for count in range(FLOOD):
        for _ in range(3):
            made.admitted(1, monotonic(), monotonic())
        assert made.open == (count >= FLOOD)
        made.unknown(monotonic())
    assert made.open


def test_only_what_left_after_it_opened_closes_it_and_old_timeouts_open_nothing() -> None:
    made, changes = given(), list[bool]()
    made.changed = changes.append
    before = monotonic()
    made.hear(standing(silent=5.0, probe=True))
    assert (changes, made.probes, made.word()) == ([True], 1, Word())
    made.admitted(1, before - 1, monotonic())
    assert made.word() == Word()
    made.admitted(1, monotonic(), monotonic())
    assert made.word() == Word(closes=5.0)
    made.hear(standing(8))
    assert (changes, made.word(), made.now) == ([True, False], Word(), 8)
    for _ in range(RUN):
        made.unknown(before)
    assert not made.open


def test_a_permit_for_a_probe_is_for_this_second() -> None:
    made = given()
    made.hear(standing(silent=5.0, probe=True))
    made.hear(standing(silent=5.0))
    assert made.probes == 1
    made.take()
    assert made.probes == 0


@pytest.mark.parametrize(("in_flight", "opens"), [(RUN - 1, False), (RUN, True)])
def test_many_requests_without_any_answer_stop_it(
    monkeypatch: pytest.MonkeyPatch,
    in_flight: int,
    opens: bool,  # noqa: FBT001
) -> None:
    clock = [1_000.0]
    monkeypatch.setattr(allowance, "monotonic", lambda: clock[0])
    made = given()
    made.alone(clock[0])
    for _ in range(11):
        assert not made.open
        made.look(in_flight)
        clock[0] += 1
    assert made.open == opens


def test_who_was_stopped_itself_has_heard_nothing_for_that() -> None:
    made = given()
    made._heard = made._looked = monotonic() - 60
    made.look(RUN)
    assert not made.open


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1_000.0]
    monkeypatch.setattr(allowance, "monotonic", lambda: now[0])
    return now


def second(made: Allowance, clock: list[float]) -> int:
    """Let a second pass without a word of the others; return how many messages may be tried."""
    clock[0] += 1
    made.take()
    made.hear(standing())
    return made.probes


def test_who_stops_alone_tries_a_message_a_second_and_goes_on_when_one_is_answered(
    clock: list[float],
) -> None:
    made, changes = given(), list[bool]()
    made.changed = changes.append
    for _ in range(RUN):
        made.unknown(clock[0])
    assert [second(made, clock) for _ in range(4)] == [0, 1, 1, 1], "at first all may have stopped"
    assert made.word() == Word(opens=True), "for as long as nobody has heard"
    made.admitted(1, 999.0, clock[0])
    second(made, clock)
    assert made.open, "that had left before"
    made.admitted(1, clock[0], clock[0])
    second(made, clock)
    assert (changes, made.open, made.word()) == ([True, False], False, Word())


def test_who_stops_alone_stops_with_all_when_all_do(clock: list[float]) -> None:
    made = given()
    for _ in range(RUN):
        made.unknown(clock[0])
    made.hear(standing(silent=5.0))
    clock[0] += 9
    made.hear(standing(silent=5.0))
    assert (made.open, made.probes, made.word()) == (True, 0, Word()), "tries are for whoever is told to"


@pytest.mark.parametrize(("tries", "seconds", "opens"), [(100, 2.9, False), (4, 60, False), (5, 3.1, True)])
def test_who_can_not_reach_twilio_stops_alone(
    clock: list[float],
    tries: int,
    seconds: float,
    opens: bool,  # noqa: FBT001
) -> None:
    made = given()
    for _ in range(tries):
        made.unreached()
        clock[0] += seconds / (tries - 1)
    assert made.open == opens
    assert made.word() == Word(), "it says nothing about Twilio"
    if opens:
        while not second(made, clock):
            made.unreached()
        made.admitted(1, clock[0], clock[0])
        second(made, clock)
        assert not made.open


def test_an_answer_between_tries_that_reach_nobody_is_no_cut(clock: list[float]) -> None:
    made = given()
    for _ in range(50):
        made.unreached()
        clock[0] += 1
        made.admitted(1, clock[0], clock[0])
    assert not made.open
