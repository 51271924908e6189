"""When a permit may be used: anchored where Redis gave it, and given up rather than caught up."""

from __future__ import annotations

from time import monotonic
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.lanes.claims import Item, Slice
from broadcaster.telemetry.metrics import Metrics
from workers.clock import LATELY_SECONDS, ROUND_TRIP_MOST_SECONDS, SLEW, Moments, RoundTrips
from workers.gate import Gate
from workers.plan import LAST_SECONDS, STALE_SECONDS, Held, Plan

if TYPE_CHECKING:
    from broadcaster.store.connection import Store
    from workers.holding import Holding
    from workers.posting import Poster

AHEAD = 1_700_000_000.0
_trips = st.floats(0.0, 0.5)


@given(st.lists(st.tuples(st.floats(0.0, 5.0), _trips, _trips), min_size=1, max_size=20))
def test_what_redis_did_is_never_placed_before_it_was_done_nor_after_its_answer(
    trips: list[tuple[float, float, float]],
) -> None:
    moments, asked = Moments(), 1000.0
    for pause, there, back in trips:
        asked += pause
        done, answered = asked + there, asked + there + back
        placed = moments.of(AHEAD + done, asked, answered)
        assert done - 1e-6 <= placed <= answered + 1e-6
        asked = answered


@given(st.lists(st.tuples(_trips, _trips, st.floats(-1e6, 1e6)), min_size=1, max_size=20))
def test_a_clock_that_is_moved_puts_nothing_outside_of_its_round_trip(
    trips: list[tuple[float, float, float]],
) -> None:
    moments, asked = Moments(), 1000.0
    for there, back, moved in trips:
        answered = asked + there + back
        placed = moments.of(AHEAD + moved + asked + there, asked, answered)
        assert asked - 1e-6 <= placed <= answered + 1e-6
        asked = answered


def test_an_answer_that_was_long_on_its_way_does_not_move_what_it_says() -> None:
    moments = Moments()
    assert moments.of(AHEAD + 10.0, 9.999, 10.001) == pytest.approx(10.001, abs=1e-6)
    late = moments.of(AHEAD + 11.0, 10.999, 11.300)
    assert late == pytest.approx(11.001, abs=SLEW * 1.5)


def slice_of(count: int, interval: float) -> Slice:
    return Slice("1.a.1", "+15550000001", "b", "0.0", 0.0, interval, [Item(n, 1, 0, 0) for n in range(count)])


@pytest.mark.parametrize(
    ("interval", "now", "rows"),
    [
        (0.01, 10.0, [0]),
        (0.01, 10.0 + STALE_SECONDS - 0.001, [0, 1, 2, 3]),
        (0.01, 10.035 + STALE_SECONDS, [4, 5, 6, 7]),
        (0.01, 11.0, [9]),
        # one permit is good until the next, whatever the pace
        (1.0, 10.9, [0]),
        (1.0, 11.5, [1]),
    ],
)
def test_a_permit_is_used_in_time_or_given_up(interval: float, now: float, rows: list[int]) -> None:
    plan = Plan()
    held = Held(slice_of(10, interval), next_at=10.0)
    plan.add(held)
    portions, _ = plan.take(now, now, 64)
    assert [item.row for _, items in portions for item in items] == rows
    assert held.late == held.position - len(rows)


def test_however_late_all_are_one_of_each_slice_goes() -> None:
    plan, late = Plan(), 10.0 + LAST_SECONDS - 0.1
    for _ in range(3):
        plan.add(Held(slice_of(1, 0.01), next_at=10.0))
    portions, ended = plan.take(late, late, 64)
    assert [len(items) for _, items in portions] == [1, 1, 1]
    assert len(ended) == 3
    held = Held(slice_of(10, 0.01), next_at=10.0)
    plan.add(held)
    assert [len(items) for _, items in plan.take(10.0, 10.0, 64)[0]] == [1]
    assert plan.take(late, late, 64) == ([], [held]), "one has gone"


def test_after_a_long_stall_nothing_goes() -> None:
    plan = Plan()
    held = Held(slice_of(3, 0.01), next_at=10.0)
    plan.add(held)
    assert plan.take(10.1 + LAST_SECONDS, 10.1 + LAST_SECONDS, 64) == ([], [held])
    assert (held.open, held.late, plan.unsent) == (0, 3, 0)


def noted(*seconds: float, at: float = 1000.0, apart: float = 1.0) -> RoundTrips:
    """Round trips that took so long each, one after the other."""
    trips = RoundTrips()
    for took in seconds:
        trips.note(at, at + took)
        at += apart
    return trips


def test_the_quickest_round_trip_of_late_counts() -> None:
    assert RoundTrips().quickest == 0.0
    assert noted(0.08, 0.3, 0.1).quickest == pytest.approx(0.08)
    assert noted(5.0).quickest == ROUND_TRIP_MOST_SECONDS


def test_after_a_slow_spell_nothing_leaves_the_earlier_for_it() -> None:
    assert noted(0.001, *[0.2] * 8, 0.001).quickest == pytest.approx(0.001)
    assert noted(0.001, *[0.2] * 20).quickest == pytest.approx(0.001)


def test_a_redis_that_has_moved_far_away_is_asked_earlier_in_the_end() -> None:
    seconds = int(2 * LATELY_SECONDS) + 2
    assert noted(0.001, *[0.08] * seconds).quickest == pytest.approx(0.08)


async def test_the_gate_is_asked_as_much_ahead_as_its_answers_take() -> None:
    plan = Plan()
    plan.add(Held(slice_of(1, 1.0), next_at=10.0))
    poster = SimpleNamespace(allowance=SimpleNamespace(ready=64), ready=[])
    holding = cast("Holding", SimpleNamespace(plan=plan))
    gate = Gate(cast("Store", None), holding, cast("Poster", poster), Metrics())
    assert gate.next_at() == 10.0
    await gate.answered([], [], asked_at=monotonic() - 0.08, late=False, repeated=False)
    assert gate.next_at() == pytest.approx(10.0 - 0.08, abs=0.02)
