"""What a worker holds is counted right, also where it is dropped before it was planned."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

from broadcaster.lanes.claims import Claimed, Item, Slice
from broadcaster.telemetry.metrics import Metrics
from workers.holding import Holding

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
