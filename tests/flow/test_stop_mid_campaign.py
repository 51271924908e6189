"""STOP in the middle of a campaign: whoever says it gets nothing more a second after the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from saying_stop import campaign

if TYPE_CHECKING:
    from pathlib import Path

    from saying_stop import Outcome


def kept(outcome: Outcome, recipients: int) -> None:
    """Everybody else got it once; of those who said STOP only whom it had reached before."""
    assert not outcome.unanswered
    assert not outcome.twice
    spared = [one for one in outcome.stopped if one.posted is None]
    assert outcome.skipped == len(spared)
    assert outcome.accepted == recipients - len(spared)


@pytest.mark.slow
async def test_who_says_stop_is_skipped_and_nobody_else(tmp_path: Path) -> None:
    """Whose turn is far enough away gets nothing, however busy this machine is."""
    outcome = await campaign(tmp_path, recipients=500, rate=100, every_seconds=0.3, ahead=(1, 350, 400))
    kept(outcome, 500)
    assert len(outcome.stopped) >= 3
    assert all(one.posted is None for one in outcome.stopped if one.ahead > 1)


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("callbacks", [False, True])
async def test_nobody_hears_from_us_a_second_after_stop(tmp_path: Path, *, callbacks: bool) -> None:
    outcome = await campaign(
        tmp_path,
        recipients=50_000,
        rate=500,
        every_seconds=1,
        ahead=(1, 25, 100, 250, 500, 1000, 2500, 5000),
        callbacks=callbacks,
    )
    kept(outcome, 50_000)
    assert not outcome.late
    assert outcome.rate >= 0.8 * 500, "less is no such campaign"


@pytest.mark.slow
async def test_a_slow_twilio_makes_no_stop_late(tmp_path: Path) -> None:
    """Each request takes 2.5 s: who has a yes must not wait for a connection as long."""
    around = tuple(range(64, 330, 3))
    outcome = await campaign(
        tmp_path, recipients=700, rate=500, every_seconds=8, ahead=around, latency_ms=2500
    )
    kept(outcome, 700)
    assert not outcome.late
