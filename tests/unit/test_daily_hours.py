"""Daily hours in a zone: how they are written, and when they open."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.domain.send_window import SendWindow, parse_window
from broadcaster.domain.times import TimeError

ZONES = ["America/Lima", "Europe/Berlin", "Australia/Lord_Howe", "America/New_York", "Asia/Kathmandu", "UTC"]


def moment(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


@pytest.mark.parametrize(
    ("written", "zone", "shown"),
    [
        ("09:00-20:00", "America/Lima", "09:00-20:00 America/Lima"),
        ("9:00 - 20:00", "UTC", None),
        ("9:00-24:00", "UTC", "09:00-00:00 UTC"),
        ("22:00\u201306:30", "Europe/Berlin", "22:00-06:30 Europe/Berlin"),
        ("08:00-12:00 Asia/Tokyo", None, "08:00-12:00 Asia/Tokyo"),
        ("08:00-12:00 Asia/Tokyo", "UTC", None),
        ("08:00-12:00", None, None),
        ("08:00-12:00", "Mars/Base", None),
        ("08:00-08:00", "UTC", None),
        ("00:00-24:00", "UTC", None),
        ("24:00-08:00", "UTC", None),
        ("08:00-24:30", "UTC", None),
        ("25:00-08:00", "UTC", None),
        ("8-20", "UTC", None),
        ("", "UTC", None),
    ],
)
def test_hours_as_they_are_written(written: str, zone: str | None, shown: str | None) -> None:
    if shown is None:
        with pytest.raises(TimeError):
            parse_window(written, zone)
        return
    window = parse_window(written, zone)
    assert str(window) == shown
    assert parse_window(str(window)) == window


@pytest.mark.parametrize(
    ("window", "after", "openings"),
    [
        (  # inside: the one that it lies in comes first
            "09:00-20:00 America/Lima",
            "2026-11-21T12:00-05:00",
            [
                ("2026-11-21T09:00-05:00", "2026-11-21T20:00-05:00"),
                ("2026-11-22T09:00-05:00", "2026-11-22T20:00-05:00"),
            ],
        ),
        (  # at its end it is closed
            "09:00-20:00 America/Lima",
            "2026-11-21T20:00-05:00",
            [("2026-11-22T09:00-05:00", "2026-11-22T20:00-05:00")],
        ),
        (  # over midnight
            "22:00-06:00 Europe/Berlin",
            "2026-11-21T03:00+01:00",
            [
                ("2026-11-20T22:00+01:00", "2026-11-21T06:00+01:00"),
                ("2026-11-21T22:00+01:00", "2026-11-22T06:00+01:00"),
            ],
        ),
        (  # clocks are put back in it: it is an hour longer
            "22:00-06:00 Europe/Berlin",
            "2026-10-24T23:00+02:00",
            [("2026-10-24T22:00+02:00", "2026-10-25T06:00+01:00")],
        ),
        (  # clocks are put forward at 02:00: it begins at 03:30 summer time
            "02:30-09:00 Europe/Berlin",
            "2026-03-29T00:00+01:00",
            [("2026-03-29T03:30+02:00", "2026-03-29T09:00+02:00")],
        ),
        (  # all of it is skipped that day
            "02:10-02:50 Europe/Berlin",
            "2026-03-29T00:00+01:00",
            [("2026-03-29T03:10+02:00", "2026-03-29T03:50+02:00")],
        ),
    ],
)
def test_openings(window: str, after: str, openings: list[tuple[str, str]]) -> None:
    found = list(islice(parse_window(window).openings(moment(after)), len(openings)))
    assert found == [(moment(begin), moment(end)) for begin, end in openings]


@given(
    st.integers(0, 1439),
    st.integers(0, 1439),
    st.sampled_from(ZONES),
    st.integers(1_577_836_800, 2_051_222_400),
)
def test_openings_ascend_and_never_stop(begins: int, ends: int, zone: str, after: int) -> None:
    if begins == ends:
        return
    found = list(islice(SendWindow(begins, ends, zone).openings(after), 5))
    assert found[0][1] > after
    assert found[0][0] - after < timedelta(days=2).total_seconds()
    for (begin, end), (following, _) in pairwise(found):
        assert begin < end <= following
    noon = datetime.fromtimestamp(found[2][0], ZoneInfo(zone))
    assert abs(noon.hour * 60 + noon.minute - begins) in {0, 30, 60, 1380, 1410}
