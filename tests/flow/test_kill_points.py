"""`kill -9` at chosen points, the inside of the intent-to-outcome gap among them; the rest: `tests/bench`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kill_kinds import Point, Victim
from killing import kill_at

if TYPE_CHECKING:
    from pathlib import Path

POINTS = {
    Victim.WORKER: (
        "held before it is accepted",
        "its 201 was just written",
    ),
    Victim.REDIS: (
        "held before it is accepted",
        "its answer is lost",
        "half an outcome is heard",
        "an intent's yes is lost",
    ),
}


def _point(victim: Victim, name: str) -> Point:
    return Point(victim, name, worker=0, skip=3, many=10, after_seconds=0.1, down_seconds=0.0)


@pytest.mark.slow
@pytest.mark.parametrize("victim", [pytest.param(Victim.WORKER, marks=pytest.mark.slow), Victim.REDIS])
async def test_nobody_is_lost_or_sent_to_twice(tmp_path: Path, victim: Victim) -> None:
    some = [_point(victim, name) for name in POINTS[victim]]
    session = await kill_at(tmp_path, some, workers=2, seed=1, patience_seconds=2)
    assert not session.error
    assert (session.twice, session.lost, session.wrong) == ([], [], [])
    assert session.accepted == session.recipients, "nobody is held, so all were sent to"
    assert not session.alarms, "no duplicate, no alarm about one"
    assert not session.crashed, "a worker ends by a signal only"
    assert len(session.struck) >= len(some) - 1, session.timed
