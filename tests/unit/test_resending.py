"""Which failed deliveries go again by themselves, when, and how often."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.domain.failures import Remedy
from broadcaster.domain.resending import (
    IN_ANY_CASE,
    PASSING,
    PROVIDER_TIMED_OUT,
    Resending,
    most_times,
    parse_codes,
    quiet_until,
    wait_seconds,
)
from broadcaster.domain.send_window import SendWindow, parse_window
from broadcaster.ledger.resending import by_day
from broadcaster.ledger.zones import zones_of
from broadcaster.settings import SettingsError, load_settings
from broadcaster.twilio.codes import CODES

HOUR = 3600.0


def test_the_codes_that_pass_are_those_of_the_table() -> None:
    passing = {
        code
        for code, one in CODES.items()
        if one.delivery and one.remedy in (Remedy.RETRY, Remedy.QUEUE_FULL)
    }
    assert passing == PASSING | IN_ANY_CASE
    assert PROVIDER_TIMED_OUT in CODES
    assert PROVIDER_TIMED_OUT not in passing


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("30410", "must not hold 30410: the provider timed out, the message may have been delivered"),
        ("30003,30006", "must not hold 30006: it does not pass by itself. These do: 30001, 30003,"),
        ("21610", "must not hold 21610: it does not pass by itself"),
        ("30610", "need not hold 30610"),
        ("30003;30001", "must be codes of failed deliveries with commas between"),
    ],
)
def test_the_setting_says_what_it_does_not_take(text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        load_settings(None, resend_codes=text)


def test_by_default_only_what_surely_did_not_arrive_and_soon_may_goes_again() -> None:
    assert load_settings(None).resent_codes == frozenset()
    assert {code for code in CODES if Resending().goes_again(code)} == {30610, 30615, 63019, 63053}
    chosen = load_settings(None, resend_codes="30003, 30001").resent_codes
    assert chosen == {30001, 30003}
    assert parse_codes("30003,30001,30003") == [30001, 30003]
    assert Resending(chosen).goes_again(30001)


def test_soft_ones_wait_for_hours_and_a_queue_for_ever_longer() -> None:
    assert [wait_seconds(30003, n, 0.0) / HOUR for n in range(3)] == [2, 4, 8]
    assert [wait_seconds(30001, n, 0.0) / 60 for n in range(4)] == [15, 30, 60, 120]
    assert wait_seconds(30001, 0, 0.999) < 1.5 * wait_seconds(30001, 0, 0.0)
    assert (most_times(30001, 5), most_times(30003, 5), most_times(30610, 5)) == (5, 2, 2)


def test_numbers_are_somewhere_in_their_country() -> None:
    assert "America/Los_Angeles" in zones_of("+14155550100")
    assert "Pacific/Honolulu" in zones_of("whatsapp:+12125550100")
    assert zones_of("+51987654321") == ("America/Lima",)
    assert zones_of("+999123") == ()
    assert zones_of("~gone") == ()


def test_an_american_number_waits_until_it_is_day_from_new_york_to_honolulu() -> None:
    failed = datetime(2026, 11, 22, 4, 0, tzinfo=UTC).timestamp()  # 23:00 in New York
    at = quiet_until(by_day("+14155550100"), failed, 0.0)
    assert at is not None
    assert datetime.fromtimestamp(at, UTC) == datetime(2026, 11, 22, 18, 0, tzinfo=UTC)


def test_not_within_an_hour_though_our_hours_would_allow_it() -> None:
    window = parse_window("08:00-21:00", "America/Lima")
    failed = datetime(2026, 11, 21, 20, 30, tzinfo=ZoneInfo("America/Lima")).timestamp()
    at = quiet_until([window], failed, 0.0)
    assert at == datetime(2026, 11, 22, 8, 0, tzinfo=ZoneInfo("America/Lima")).timestamp()
    assert quiet_until([window], failed - 3 * HOUR, 0.0) == failed - 2 * HOUR
    assert quiet_until([window], failed, 0.5) == at + 300


def test_hours_that_never_meet_mean_never() -> None:
    assert quiet_until([], 1e9, 0.0) is None
    apart = [SendWindow(0, 60, "UTC"), SendWindow(120, 180, "UTC")]
    assert quiet_until(apart, 1e9, 0.0) is None


@given(
    st.lists(st.tuples(st.integers(0, 1439), st.integers(0, 1439)), min_size=1, max_size=4),
    st.integers(1_767_225_600, 1_830_297_600),
    st.floats(0, 0.999),
)
def test_it_lies_in_an_opening_of_each_zone(hours: list[tuple[int, int]], failed: int, draw: float) -> None:
    zones = ("America/New_York", "Europe/Berlin", "Asia/Kathmandu", "UTC")
    windows = [
        SendWindow(begins, ends, zone)
        for (begins, ends), zone in zip(hours, zones, strict=False)
        if begins != ends
    ]
    at = quiet_until(windows, failed, draw)
    if at is not None:
        assert at >= failed + HOUR
        for window in windows:
            begin, end = next(islice(window.openings(at), 1))
            assert begin <= at < end
