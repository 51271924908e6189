"""Openings of send windows as broadcasts carry them, over changes of clocks in several zones."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.domain.openings import (
    KEPT,
    closed_words,
    ends_by,
    never_open,
    openings_text,
    opens_at,
    read_openings,
)
from broadcaster.domain.send_window import SendWindow, parse_window

ZONES = ("America/Lima", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC")


def at(text: str, zone: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("window", "zone", "now", "hours"),
    [
        # clocks go forward in the night to the second opening: it comes 23 hours after the first
        ("09:00-20:00", "America/New_York", "2026-03-07T12:00", [(0, 8), (20, 31), (44, 55)]),
        # and back: 25 hours
        ("09:00-20:00", "Europe/Berlin", "2026-10-24T12:00", [(0, 8), (22, 33), (46, 57)]),
        # by half an hour only
        ("09:00-20:00", "Australia/Lord_Howe", "2026-10-03T12:00", [(0, 8), (20.5, 31.5), (44.5, 55.5)]),
        # a zone that never changes its clocks
        ("09:00-20:00", "America/Lima", "2026-03-07T12:00", [(0, 8), (21, 32), (45, 56)]),
        # over midnight, and the hour that comes twice counts whole
        ("20:00-06:00", "Europe/Berlin", "2026-10-24T12:00", [(8, 19), (33, 43), (57, 67)]),
        # the hour that is skipped
        ("20:00-06:00", "Europe/Berlin", "2026-03-28T12:00", [(8, 17), (31, 41), (55, 65)]),
    ],
)
def test_openings_over_a_change_of_clocks(
    window: str, zone: str, now: str, hours: list[tuple[float, float]]
) -> None:
    noon = at(now, zone)
    found = read_openings(openings_text(parse_window(window, zone), noon))
    assert [((max(a, noon) - noon) / 3600, (b - noon) / 3600) for a, b in found] == hours


@given(
    st.sampled_from(ZONES),
    st.integers(0, 1439),
    st.integers(0, 1439),
    st.integers(1_767_225_600, 1_830_297_600),
)
def test_what_is_kept_ascends_and_agrees_with_the_clock_on_the_wall(
    zone: str, begins: int, ends: int, now: int
) -> None:
    if begins == ends:
        return
    window = SendWindow(begins, ends, zone)
    found = read_openings(openings_text(window, now))
    assert len(found) == KEPT
    assert all(a < b for a, b in found)
    assert all(b <= c for (_, b), (c, _) in pairwise(found))
    assert found[0][1] > now
    opens = opens_at(window, now)
    assert (opens is None) == (found[0][0] <= now)
    shown = datetime.fromtimestamp(now, ZoneInfo(zone))
    minutes = shown.hour * 60 + shown.minute
    inside = begins <= minutes < ends if begins < ends else not ends <= minutes < begins
    ordinary = shown.utcoffset() == datetime.fromtimestamp(now - 86_400, ZoneInfo(zone)).utcoffset()
    if ordinary and shown.utcoffset() == datetime.fromtimestamp(now + 86_400, ZoneInfo(zone)).utcoffset():
        assert (opens is None) == inside


def test_it_says_until_when_it_waits_in_the_windows_zone() -> None:
    window = parse_window("09:00-20:00", "America/Lima")
    opens = opens_at(window, datetime(2026, 11, 22, 3, tzinfo=UTC).timestamp())
    assert opens is not None
    assert closed_words(window, opens) == (
        "outside its send window 09:00–20:00 America/Lima: goes on 2026-11-22 09:00 -05"  # noqa: RUF001
    )
    nepal = parse_window("09:00-20:00", "Asia/Kathmandu")
    assert closed_words(nepal, opens).endswith("2026-11-22 19:45 +05:45")


def test_what_expires_before_it_opens_never_goes() -> None:
    window = parse_window("09:00-20:00", "UTC")
    night = datetime(2026, 11, 21, 22, tzinfo=UTC).timestamp()
    assert never_open(window, night, night + 11 * 3600)
    assert not never_open(window, night, night + 11 * 3600 + 1)
    assert not never_open(window, night - 3 * 3600, night)


def test_how_long_sending_takes_counts_the_hours_that_are_closed() -> None:
    openings = [(100, 200), (300, 400)]
    assert ends_by(openings, 150, 50) == 50
    assert ends_by(openings, 150, 60) == 160
    assert ends_by(openings, 0, 10) == 110
    assert ends_by(openings, 150, 151) is None
