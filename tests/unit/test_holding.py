"""What a worker holds is counted right, also where it is dropped before it was planned."""

from __future__ import annotations

from time import monotonic
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from broadcaster.lanes.claims import Claimed, Item, Slice
from broadcaster.telemetry.metrics import Metrics
from workers.holding import UNASKED_SECONDS, UNSENT_AT_MOST, Holding
from workers.plan import Speed

if TYPE_CHECKING:
    from broadcaster.store.connection import Store


async def test_a_slice_that_comes_after_the_silence_began_is_not_counted_as_taken_from_the_plan() -> None:
    holding = Holding(cast("Store", SimpleNamespace()), Metrics(), lambda: None)
    holding.probes = 0
    items = [Item(row, 1, 0, 0) for row in range(50)]
    holding.answered(
        Claimed(None, [Slice("1.a.1", "+15550000001", "b", "0.0", 0.0, 0.01, items)], "", 0.0), 0.0, 0.0
    )
    await holding.close()
    assert holding.finished == ["1.a.1"]
    assert holding.plan.unsent == 0


def holding_of(*, next_seconds: float | None, asked: float) -> Holding:
    """One whose claim, asked then, was answered just now."""
    holding = Holding(cast("Store", SimpleNamespace()), Metrics(), lambda: None)
    holding.answered(Claimed(next_seconds, [], "", monotonic()), asked, monotonic())
    return holding


def test_who_has_nothing_to_do_claims_again_when_a_lane_is_due() -> None:
    holding, now = holding_of(next_seconds=None, asked=monotonic()), monotonic()
    assert holding.claim_at == pytest.approx(now + UNASKED_SECONDS, abs=0.5)
    holding.hear(None)
    assert holding.claim_at == pytest.approx(now + UNASKED_SECONDS, abs=0.5)
    holding.hear(3.0)
    assert holding.claim_at == pytest.approx(now + 3.0, abs=0.5)
    holding.hear(60.0)
    assert holding.claim_at == pytest.approx(now + 3.0, abs=0.5)
    holding.hear(0.0)
    assert holding.claim_at <= monotonic()


def test_nobody_holds_more_than_would_leave_while_a_slice_lasts() -> None:
    holding = Holding(cast("Store", SimpleNamespace()), Metrics(), lambda: None)
    assert holding.ask("w1", 0).arguments[3] == UNSENT_AT_MOST, "of one that sent nothing so far"
    holding.speed = lambda: Speed(160.0, 100)
    assert holding.ask("w1", 0).arguments[3] == 80
    holding.plan.unsent = 60
    assert holding.wants()
    assert holding.ask("w1", 0).arguments[3] == 20
    holding.limited = True
    assert not holding.wants(), "it is behind"
    holding.plan.unsent = 3
    assert holding.wants()
    holding.limited, holding.plan.unsent = False, 80
    assert not holding.wants()
    holding.plan.unsent = 0
    holding.speed = lambda: Speed(1_000.0, 19)
    assert not holding.wants(), "for a few"
    holding.probes = 1
    assert holding.wants(), "though requests hang"
    holding.probes = None
    holding.speed = lambda: Speed(1_000.0, 20)
    assert holding.wants()
    assert holding.ask("w1", 0).arguments[-2:] == (1_000.0, 20)
    holding.plan.unsent = 5
    assert holding.ask("w1", 0).arguments[-2:] == (1_000.0, 15)
    assert not holding.short_of_room()
    holding.asking = 4
    assert holding.ask("w1", 0).arguments[-2:] == (1_000.0, 11)
    assert holding.short_of_room()
    holding.speed = lambda: Speed(1.0, 1)
    holding.plan.unsent = holding.asking = 0
    assert holding.wants()
    assert holding.ask("w1", 0).arguments[3] == 1


def test_a_wake_that_comes_while_a_claim_is_under_way_is_not_forgotten() -> None:
    asked = monotonic()
    holding = Holding(cast("Store", SimpleNamespace()), Metrics(), lambda: None)
    holding.ask("w1", 0)
    holding.wake()
    holding.answered(Claimed(None, [], "", asked), asked, monotonic())
    assert holding.claim_at <= monotonic()


def test_what_a_claim_has_seen_wakes_nobody_again() -> None:
    asked = monotonic()  # when its exchange began, in which something came before the claim was made
    holding = Holding(cast("Store", SimpleNamespace()), Metrics(), lambda: None)
    holding.wake()
    holding.ask("w1", 0)
    holding.answered(Claimed(None, [], "", asked), asked, monotonic())
    assert holding.claim_at > asked + 1.0


@pytest.mark.parametrize("late", [0, 1])
async def test_messages_that_go_back_as_they_were_late_are_claimed_again_at_once(late: int) -> None:
    holding = holding_of(next_seconds=None, asked=monotonic())
    slice_ = Slice("1.a.1", "+15550000001", "b", "0.0", 0.0, 0.01, [Item(row, 1, 0, 0) for row in range(3)])
    now = monotonic()
    holding.answered(Claimed(None, [slice_], "", now), now, now)
    (held,) = holding._held.values()
    held.position, held.open, held.late = 3, 1, late
    assert not holding.close_if_done(held), "one has no end yet"
    assert holding.claim_at > now + 1.0
    held.open = 0
    assert holding.close_if_done(held) == bool(late)
    assert (holding.claim_at == 0.0) == bool(late)
    assert holding.finished == ["1.a.1"]
    assert not holding.close_if_done(held), "it is ended"
    holding.answered(Claimed(None, [], "", now), now, monotonic())
    assert (holding.claim_at <= monotonic()) == bool(late), "a claim was under way meanwhile"
    await holding.close()
