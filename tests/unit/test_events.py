from __future__ import annotations

import pytest
import structlog

from broadcaster.telemetry.events import BroadcastEnded, SliceDone, Telemetry
from broadcaster.telemetry.metrics import Metrics


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry(structlog.stdlib.get_logger("test"), Metrics())


def test_a_slice_is_counted_and_written_once(telemetry: Telemetry) -> None:
    with structlog.testing.capture_logs() as lines:
        telemetry.slice_done(
            SliceDone(
                broadcast="b",
                lane="+14155550100",
                records=5,
                seconds=0.5,
                outcomes={"accepted": 3, "unknown": 1},
                refused={"paused": 1},
                retries={"throttled": 2},
                durations=[0.1] * 4,
                waits=[0.01],
            )
        )
    assert [(line["event"], line["log_level"]) for line in lines] == [("slice_done", "warning")]
    sample = telemetry.metrics.registry.get_sample_value
    assert sample("broadcaster_messages_total", {"outcome": "accepted"}) == 3
    assert sample("broadcaster_intents_refused_total", {"reason": "paused"}) == 1
    assert sample("broadcaster_retries_total", {"reason": "throttled"}) == 2
    assert sample("broadcaster_send_duration_seconds_count") == 4
    assert sample("broadcaster_permit_wait_seconds_count") == 1


def test_a_slice_in_which_all_went_well_is_a_debug_line(telemetry: Telemetry) -> None:
    with structlog.testing.capture_logs() as lines:
        telemetry.slice_done(SliceDone("b", "l", 1, 0.1, {"accepted": 1}))
    assert lines[0]["log_level"] == "debug"


def test_a_broadcasts_line_has_its_states_and_rate(telemetry: Telemetry) -> None:
    with structlog.testing.capture_logs() as lines:
        telemetry.broadcast_ended(BroadcastEnded("b", "completed", 10, 4.0, {"accepted": 9, "dead": 1}))
        telemetry.broadcast_ended(BroadcastEnded("b", "canceled", 0, 0.0, {}))
    assert lines[0]["rate"] == 2.5
    assert (lines[0]["accepted"], lines[0]["dead"], lines[0]["state"]) == (9, 1, "completed")
    assert lines[1]["rate"] is None
