"""What a slice's line says, and that a thousand slow lanes write no thousand lines."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
import structlog

from broadcaster.lanes.claims import Item, Slice
from broadcaster.telemetry.bounded import BURST, SUMS_AT_ONCE, LineBudget, Sample, sample_of
from workers.plan import Held
from workers.slices import CODE, REFUSED, SliceLog

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def lines() -> Iterator[list[Any]]:
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.INFO)
    structlog.reset_defaults()  # a command that ran before may have set what is logged at all
    with structlog.testing.capture_logs() as caught:
        yield caught
    root.setLevel(level)


def held(lane: str = "+1", records: int = 10, given_back: int = 0, **noted: int) -> Held:
    items = [Item(row, 2, 0, 0) for row in range(records)]
    made = Held(Slice("c", lane, "b", "0.7", 0.125, 0.0, items), 0.0, began=100.0)
    made.ended = records - given_back
    for name, count in noted.items():
        made.note(name, count)
    return made


def test_a_slice_has_one_line_whose_counts_add_up(lines: list[dict[str, Any]]) -> None:
    log = SliceLog()
    log.about = lambda: ("host-1", 7)
    noted = {REFUSED + "paused": 2, CODE + "429": 3, CODE + "502": 1}
    log.ended(held("+1", 20, 5, unknown=1, throttled=3, retries=3, **noted), 101.5)
    (line,) = lines
    assert line == {
        "event": "slice.done", "log_level": "info", "broadcast": "b", "lane": "+1", "batch": "0.7",
        "worker": "host-1", "in_flight": 7, "records": 20, "segments": 40, "accepted": 11, "rejected": 0,
        "throttled": 3, "not_sent": 0, "unknown": 1, "retries": 3, "codes": {"429": 3, "502": 1},
        "refused": {"paused": 2}, "given_back": 3,
        "seconds": 1.5, "permit_wait_seconds": 0.125,
    }  # fmt: skip


def test_what_exceeds_the_budget_is_summed_by_lane_and_nothing_is_lost(lines: list[dict[str, Any]]) -> None:
    log = SliceLog()
    for second in range(3):
        for lane in range(2000):
            log.ended(held(f"+{lane}", 1, **({"unknown": 1} if lane == 1999 else {})), 101.0 + second)
    log.write_due(102.0)
    alone = [line for line in lines if line["event"] == "slice.done"]
    assert len(alone) <= BURST + 3 * 10 + 1
    log.write_due(200.0)
    sums = [line for line in lines if line["event"] == "slices.done"]
    assert len(sums) <= SUMS_AT_ONCE + 1
    assert sum(line["records"] for line in lines) == 6000
    assert sum(line["slices"] for line in sums) + len(alone) == 6000
    assert sum(line["unknown"] for line in lines) == 3
    assert sums[-1]["lane"] is None
    log.write_due(300.0)
    assert sum(line["records"] for line in lines) == 6000


def test_nothing_is_kept_where_nothing_is_logged(lines: list[dict[str, Any]]) -> None:
    logging.getLogger().setLevel(logging.WARNING)
    log = SliceLog()
    for _ in range(1000):
        log.ended(held(), 101.0)
    log.write_all()
    assert not lines


def test_a_budget_fills_with_time() -> None:
    budget = LineBudget(10.0, 5.0)
    assert [budget.take(100.0) for _ in range(7)] == [True] * 5 + [False] * 2
    assert [budget.take(100.25) for _ in range(3)] == [True] * 2 + [False]
    assert sum(budget.take(1000.0) for _ in range(20)) == 5


def test_every_process_samples_the_same_messages() -> None:
    chosen = [row for row in range(20_000) if Sample(0.01).takes("b", "0.1", row)]
    assert chosen == [row for row in range(20_000) if Sample(0.01).takes("b", "0.1", row)]
    assert 120 < len(chosen) < 290
    assert set(chosen) <= {row for row in range(20_000) if Sample(0.1).takes("b", "0.1", row)}
    assert all(Sample(1.0).takes("b", "0.1", row) for row in range(1000))


@pytest.mark.parametrize(("share", "level"), [(0.0, "debug"), (1.0, "info")])
def test_off_is_nothing_at_all(share: float, level: str) -> None:
    assert sample_of(share, level) is None
