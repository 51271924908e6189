"""Why something waits, in one word: the same rules that make a person's words."""

from __future__ import annotations

import pytest
from msgspec.structs import replace as changed

from broadcaster.reporting.waits import (
    Everything,
    LaneStanding,
    Sending,
    Wait,
    broadcast_waits,
    lane_waits,
    refused_by_twilio,
    stopped_by,
    stops_everything,
)
from broadcaster.telemetry.installation_metrics import WAITS

NOW = 1_000_000.0
WELL = Everything(workers=1)
OPEN = Sending("running", unsent=10)
LANE = LaneStanding(rate=5.0, ahead=True)
PAUSED = changed(LANE, paused="by hand")
HELD = changed(LANE, hold=(NOW + 30) * 1e6, hold_reason="its queue is full")
LATER = LaneStanding(rate=5.0, first_retry=(NOW + 10) * 1e6)
DUE = LaneStanding(rate=5.0, first_retry=(NOW - 10) * 1e6)
DONE = LaneStanding(rate=5.0)


def test_the_words_are_those_of_the_catalogue() -> None:
    assert {wait.value for wait in Wait} == set(WAITS)


@pytest.mark.parametrize(
    ("everything", "sending", "lanes", "expected"),
    [
        (WELL, OPEN, [LANE], "pace"),
        (WELL, OPEN, [DUE], "pace"),
        (WELL, OPEN, [LATER], "retry"),
        (WELL, OPEN, [LATER, LANE], "pace"),
        (WELL, OPEN, [PAUSED], "sender_paused"),
        (WELL, OPEN, [PAUSED, LANE], "pace"),
        (WELL, OPEN, [PAUSED, HELD], "sender_held"),
        (WELL, OPEN, [HELD], "sender_held"),
        (WELL, OPEN, [DONE, PAUSED], "sender_paused"),
        (WELL, Sending("running", unsent=10, closed="at night"), [LANE], "quiet_hours"),
        (WELL, Sending("running", unsent=10, closed="at night"), [PAUSED], "sender_paused"),
        (WELL, Sending("paused", "by hand", unsent=10), [LANE], "broadcast_paused"),
        (WELL, Sending("paused", "x", unsent=10, stopped_itself=True), [LANE], "paused_by_failures"),
        (WELL, OPEN, [changed(LANE, paused="21606: not yours")], "sender_refused"),
        (Everything(workers=0), OPEN, [LANE], "no_worker"),
        (Everything(workers=1, silent="999000"), OPEN, [LANE], "twilio_silent"),
        (Everything(workers=1, paused="audit"), OPEN, [LANE], "everything_paused"),
        (Everything(workers=1, paused="20003: Authentication failed"), OPEN, [LANE], "account_stopped"),
        (Everything(workers=1, rewind=999_000, paused="audit"), OPEN, [LANE], "rewinding"),
        (Everything(workers=1, missing="0 of 1 replicas"), OPEN, [LANE], "replicas"),
        (Everything(workers=1, rate=2.0), OPEN, [LANE], "account_limit"),
        (Everything(workers=1, rate=9.0), OPEN, [LANE], "pace"),
        (Everything(workers=1, full=True), OPEN, [LANE], "account_limit"),
        (Everything(workers=1, rate=2.0), Sending("running", unsent=9, rate=1.0), [LANE], "pace"),
        (WELL, Sending("running", in_doubt=2), [DONE], "settling"),
        (WELL, Sending("running", unsent=3), [DONE], "nothing"),  # all of it is with workers
        (Everything(paused="audit"), Sending("running", in_doubt=1), [DONE], "settling"),
        (WELL, Sending("running"), [DONE], "nothing"),
    ],
)
def test_why_the_next_message_does_not_leave(
    everything: Everything, sending: Sending, lanes: list[LaneStanding], expected: str
) -> None:
    assert broadcast_waits(everything, sending, lanes, NOW) == expected


def test_a_person_reads_the_same_reason_in_words() -> None:
    def words(lane: LaneStanding, everything: Everything = WELL, sending: Sending = OPEN) -> str:
        found = lane_waits(everything, sending, lane, NOW)
        assert found is not None
        return found.words

    assert words(PAUSED) == "paused: by hand"
    assert words(HELD) == "held for 30 s: its queue is full"
    assert words(LANE) == "its pace of 5/s"
    assert words(LANE, sending=Sending("running", unsent=1, rate=2.0)) == "the broadcast's pace of 2/s"
    assert words(LATER) == "its pace of 5/s"  # ten seconds need no words of their own
    assert words(LATER, sending=Sending("running", unsent=1, closed="at night")) == "at night"
    assert words(changed(LATER, first_retry=(NOW + 90) * 1e6)).startswith("the next try of those that failed")
    assert "no worker is running" in words(LANE, Everything())
    assert lane_waits(WELL, OPEN, DONE, NOW) is None


def test_what_stops_everything_says_so() -> None:
    assert stopped_by("", 0) == ""
    assert stopped_by("audit", 0) == "everything is stopped: audit"
    assert "is being put in doubt first" in stopped_by("audit", 999_000)
    assert stops_everything(WELL) is None
    assert refused_by_twilio("20003: Authentication failed")
    assert not refused_by_twilio("audit: see ticket 20003")
    assert not refused_by_twilio("20003 looks odd")
