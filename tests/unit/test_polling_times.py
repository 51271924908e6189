"""When messages without a final state are asked for: ever less often, then not any more."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.domain.polling import PollTimes
from broadcaster.settings import load_settings

HOUR = 3600.0


def moments(times: PollTimes) -> list[float]:
    """All moments at which a message that changed at 0 is asked for."""
    found, since = [], 0.0
    while (at := times.following(0.0, since)) is not None:
        found.append(at)
        since = at
    return found


def test_distances_double_up_to_half_a_day_and_end_after_three_days() -> None:
    found = moments(PollTimes())
    assert found[:6] == [60, 180, 420, 900, 1860, 3780]
    distances = [b - a for a, b in pairwise(found)]
    assert distances == sorted(distances)
    assert max(distances) == 12 * HOUR
    assert 60 * HOUR < found[-1] <= 72 * HOUR
    assert len(found) == 14


@given(st.floats(1, 86_400), st.floats(3600, 4e5), st.floats(-10, 5e5), st.integers(0, 10**9))
def test_the_next_moment_lies_behind_the_last_round(
    after: float, until: float, since: float, changed: int
) -> None:
    times = PollTimes(after, until)
    at = times.following(changed, changed + since)
    if at is not None:
        assert at > changed + since
        assert times.following(changed, at) != at
    else:
        assert since >= after, "it is asked for once at least"


@pytest.mark.parametrize(
    ("values", "seconds"),
    [({}, 60.0), ({"public_url": "https://x.example"}, 3600.0), ({"poll_after_seconds": 5.0}, 5.0)],
)
def test_with_callbacks_it_is_asked_for_late(values: dict[str, object], seconds: float) -> None:
    settings = load_settings(None, **values)
    assert settings.poll_after(settings.public_url) == seconds
