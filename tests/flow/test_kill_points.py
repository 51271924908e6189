"""`kill -9` at chosen points, the inside of the intent-to-outcome gap among them; the rest: `tests/bench`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kill_kinds import KINDS, Point, Victim
from killing import kill_at

if TYPE_CHECKING:
    from pathlib import Path

GAP = (
    "held before it is accepted",
    "its answer is lost",
    "its 201 was just written",
    "an intent's yes is lost",
    "half a page of the list came",
)


def _point(victim: Victim, name: str) -> Point:
    return Point(victim, name, worker=0, skip=3, many=10, after_seconds=0.1, down_seconds=0.0)


@pytest.mark.parametrize("victim", list(Victim))
async def test_nobody_is_lost_or_sent_to_twice(tmp_path: Path, victim: Victim) -> None:
    """Each is one of `KINDS`; the page of the list is one that a settling worker reads."""
    assert set(GAP) <= set(KINDS)
    session = await kill_at(tmp_path, [_point(victim, name) for name in GAP], workers=2, seed=1)
    assert not session.error
    assert (session.twice, session.lost, session.wrong) == ([], [], [])
    assert session.accepted == session.recipients, "nobody is held, so all were sent to"
    assert not session.alarms, "no duplicate, no alarm about one"
    assert not session.crashed, "a worker ends by a signal only"
    assert len(session.struck) >= 4, session.timed
