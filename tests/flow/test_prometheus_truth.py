"""A real Prometheus under a small campaign: the dashboards' queries say what the ledger says."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from observing import PROGRAM
from told_by_dashboards import at_the_end, while_paused, without_data
from watched_campaign import begin, go_on, opt_out, pause, watched

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(PROGRAM is None, reason="no `prometheus` on PATH")
async def test_dashboards_say_what_the_ledger_says(tmp_path: Path) -> None:
    async with watched(tmp_path, recipients=500) as made:
        await begin(made)
        await pause(made)
        paused = await while_paused(made)
        await opt_out(made)
        await go_on(made)
        ended = await at_the_end(made)
        await without_data(made)
        rules = await made.prometheus.rules()
    assert [one for one in (*paused, *ended) if not one.equal] == []
    assert [rule["lastError"] for rule in rules if rule["health"] == "err"] == []
    assert rules
