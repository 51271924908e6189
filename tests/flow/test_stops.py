"""A worker stopped for longer than its lease, its requests held up meanwhile; 25 of these: `tests/bench`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from stopping import IN_FLIGHT, LEAST_SECONDS, Stop, stop_workers

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
async def test_what_a_stopped_worker_had_in_flight_is_sent_by_nobody_else(tmp_path: Path) -> None:
    (seen,), session = await stop_workers(tmp_path, [Stop(LEAST_SECONDS, held=True)])
    assert seen.sending >= IN_FLIGHT
    assert seen.in_doubt >= IN_FLIGHT, "they wait for their owner's word"
    assert not seen.resent
    assert not seen.unleased, "woken, it sends only what its HTTP client had taken, or under a new lease"
    assert session.kept, (session.twice, session.lost, session.wrong)
    assert session.accepted == session.recipients
