"""Workers replaced one by one in the middle of a campaign; other versions: tests/bench/rolling_upgrade.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from rolling import ROOT, roll

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
async def test_replaced_by_drain_and_by_signal_nobody_is_lost_or_gets_it_twice(tmp_path: Path) -> None:
    found = await roll(tmp_path, ROOT, total=1500, rate=200.0, how=("drain", "term"))
    assert found.kept, (found.truth, found.singles_asked, found.singles_accepted)
    assert found.most_in_doubt == 0
    assert found.exits == [0, 0]
