"""Broadcasts that Twilio keeps until their time: until when it takes their messages, and what goes after."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.domain.broadcast import BroadcastSpec, Scheduler
from broadcaster.domain.content import Content, ContentError, compile_content
from broadcaster.domain.create_message import check_content
from broadcaster.domain.handing import (
    NEVER,
    Handing,
    TooSoonError,
    handed_options,
    late_warnings,
    timed,
)
from broadcaster.domain.openings import closed_words, openings_text, opens_at
from broadcaster.domain.polling import PollTimes
from broadcaster.domain.send_window import SendWindow
from broadcaster.intake.refusals import HandedOutsideError, WindowMissedError
from broadcaster.intake.submit import check_hours
from broadcaster.operations.order_form import OrderForm
from broadcaster.settings import Settings
from broadcaster.store.batches import Recipients, pack_batch
from workers.contents import _make

SERVICE = "MG" + "0a" * 16
#: A day's first second, and a time on it.
DAY = int(datetime(2030, 1, 31, tzinfo=UTC).timestamp())
NOON = DAY + 12 * 3600
LAST = NOON - 16 * 60
HANDING = Handing(NOON)


def soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


def spec(at: float = NOON, **more: Any) -> BroadcastSpec:
    given: dict[str, Any] = {"name": "n", "senders": (SERVICE,), "content": Content(body="hi")}
    return BroadcastSpec(**given | {"schedule_at": at, "scheduler": Scheduler.TWILIO} | more)


def form(now: float, **more: Any) -> dict[str, list[str]]:
    """Return what leaves a worker by whose knowledge it is `now`."""
    made = spec(**more)
    packed = pack_batch(Recipients(["+14155550100"], None, (), []))
    batch = _make(packed, made, compile_content(made.content), SERVICE, now=lambda: now)
    return parse_qs(batch.form(0, 1).decode())


@pytest.mark.parametrize(
    ("now", "openings"),
    [
        (DAY, [(0, LAST), (NOON, NEVER)]),
        (LAST - 0.1, [(0, LAST), (NOON, NEVER)]),
        (LAST, [(NOON, NEVER)]),
        (NOON - 0.1, [(NOON, NEVER)]),
        (NOON + 10**8, [(NOON, NEVER)]),
    ],
)
def test_it_is_open_until_twilio_takes_no_more_and_from_its_time_on(
    now: float, openings: list[tuple[int, int]]
) -> None:
    assert list(islice(HANDING.openings(now), 3)) == openings
    assert openings_text(HANDING, now) == ",".join(f"{a}:{b}" for a, b in openings)
    assert opens_at(HANDING, now) == (NOON if LAST <= now < NOON else None)


def test_what_goes_by_itself_keeps_to_the_broadcasts_hours() -> None:
    hours = SendWindow(11 * 60, 13 * 60, "UTC")
    both = Handing(NOON + 0.5, hours)
    found = list(islice(both.openings(DAY), 3))
    assert found == [(0, LAST), (NOON + 1, NOON + 3600), (DAY + 86400 + 11 * 3600, DAY + 86400 + 13 * 3600)]
    assert next(both.openings(NOON + 7200)) == found[2]
    assert "goes by itself on 2030-01-31 12:00 UTC" in closed_words(both, NOON + 1)
    assert closed_words(both, found[2][0]).startswith("outside its send window 11:00")


def test_a_time_outside_its_hours_is_refused_as_twilio_would_not_wait_for_them() -> None:
    hours = SendWindow(9 * 60, 11 * 60, "UTC")
    with pytest.raises(HandedOutsideError, match="outside its send window 09:00"):
        check_hours(spec(send_window=hours), DAY)
    check_hours(spec(NOON - 2 * 3600, send_window=hours), DAY)
    check_hours(spec(send_window=hours, scheduler=Scheduler.BROADCASTER), DAY)
    with pytest.raises(WindowMissedError):  # ours waits for them, if there is time enough
        check_hours(spec(send_window=hours, scheduler=Scheduler.BROADCASTER, expires_at=NOON + 60), DAY)


def test_a_fraction_of_a_second_is_never_early() -> None:
    assert handed_options(NOON + 0.001) == {"SendAt": "2030-01-31T12:00:01Z", "ScheduleType": "fixed"}
    assert Handing(NOON + 0.001).begins == NOON + 1


@pytest.mark.parametrize("now", [DAY, LAST - 1, LAST + 450, NOON - 481])
def test_what_leaves_before_is_handed(now: float) -> None:
    """Twilio refuses what comes too late for it."""
    told = form(now)
    assert (told["SendAt"], told["ScheduleType"]) == (["2030-01-31T12:00:00Z"], ["fixed"])
    assert told["MessagingServiceSid"] == [SERVICE]


@pytest.mark.parametrize("now", [NOON - 480, NOON - 300, NOON - 0.001])
def test_what_would_leave_early_does_not_leave_whatever_the_gate_said(now: float) -> None:
    """A worker of a version before, which knows nothing of `SendAt`, may have opened the hours."""
    with pytest.raises(TooSoonError) as soon:
        form(now)
    assert soon.value.seconds == NOON - now


@pytest.mark.parametrize("now", [NOON, NOON + 3600])
def test_what_leaves_after_goes_by_itself(now: float) -> None:
    assert not {"SendAt", "ScheduleType"} & form(now).keys()


def test_it_is_valid_for_as_long_as_is_left_when_it_is_sent() -> None:
    expires = {"expires_at": NOON + 900.0}
    assert form(DAY, **expires)["ValidityPeriod"] == ["900"]
    assert form(NOON + 300, **expires)["ValidityPeriod"] == ["600"]
    own = {"content": Content(body="x", options={"ValidityPeriod": "60"})}
    assert form(DAY, **own)["ValidityPeriod"] == form(DAY, **own, **expires)["ValidityPeriod"] == ["60"]
    assert "ValidityPeriod" not in form(DAY)


def test_what_twilio_would_refuse_is_refused_before() -> None:
    def faults(after_seconds: float, service: str | None = SERVICE) -> list[int]:
        content = timed(Content(body="x"), DAY + after_seconds)
        sender = None if service else "+14155550199"
        found = check_content(content, from_=sender, messaging_service_sid=service, now=DAY)
        return [fault.twilio_code for fault in found]

    days = 86400.0
    for seconds, codes in ((899, [35115]), (901, []), (35 * days - 1, []), (35 * days + 1, [35115])):
        assert faults(seconds) == codes, seconds
    assert faults(3600, None) == [35118]
    assert timed(Content(body="x"), None) == Content(body="x")
    with pytest.raises(ContentError, match="SendAt follow"):
        timed(Content(body="x", options={"SendAt": "2030-01-31T12:00:00Z"}), NOON)


def test_it_begins_at_once_and_is_asked_about_only_after_its_time() -> None:
    handed, ours = spec(), spec(scheduler=Scheduler.BROADCASTER)
    assert (handed.starts_at, handed.send_at, handed.hours) == (None, NOON, HANDING)
    assert (ours.starts_at, ours.send_at, ours.hours) == (NOON, 0.0, None)
    accepted = float(DAY)
    assert PollTimes().following(max(accepted, handed.send_at), DAY) == NOON + 60


@pytest.mark.parametrize(
    ("order", "pointers"),
    [
        ({"messaging_service_sid": SERVICE, "schedule_at": "2030-01-31T12:00Z"}, {"/schedule_at"}),
        ({"messaging_service_sid": SERVICE, "schedule_at": soon(60)}, {"/schedule_at"}),
        ({"messaging_service_sid": SERVICE, "schedule_at": soon(3600)}, set()),
        ({"from": "+14155550199", "schedule_at": soon(3600)}, {"/schedule_at"}),
        ({"messaging_service_sid": SERVICE}, {"/scheduler"}),
        (
            {
                "messaging_service_sid": SERVICE,
                "schedule_at": soon(3600),
                "options": {"SendAt": soon(7200), "ScheduleType": "fixed"},
            },
            {"/options"},
        ),
    ],
)
def test_an_order_says_where_it_is_wrong(order: dict[str, Any], pointers: set[str]) -> None:
    form = OrderForm.model_validate(
        {"body": "x", "recipients": ["+14155550100"], "scheduler": "twilio"} | order
    )
    faults = form.faults(Settings(), frozenset(), late=False)
    assert {fault.pointer for fault in faults} == pointers


def test_a_list_too_long_to_be_handed_over_whole_is_said() -> None:
    assert late_warnings(None, 10**9, DAY) == late_warnings(HANDING, 60, DAY) == ()
    (told,) = late_warnings(HANDING, 3600, LAST - 1800)
    assert "it takes 60 min to leave" in told
    assert "for 30 min more" in told
    assert "for 0 min more" in late_warnings(HANDING, 1, NOON)[0]


@given(
    at=st.floats(DAY, DAY + 86400),
    before=st.floats(-2 * 86400, 3 * 3600),
    off=st.floats(-7200, 7200),
    hours=st.none() | st.builds(SendWindow, st.integers(0, 719), st.integers(720, 1439), st.just("UTC")),
)
def test_nothing_is_ever_early_nor_handed_too_late(
    at: float, before: float, off: float, hours: SendWindow | None
) -> None:
    """Of what the gate lets through nothing is handed over too late or goes outside its hours.

    Whatever the gate says, what goes by itself isn't early.
    """
    handing, now = Handing(at, hours), at + before
    if opens_at(handing, now) is not None:
        assert handing.handed_until <= now < handing.begins or (hours and opens_at(hours, now))
    else:
        handed = handing.is_handed(now)
        assert handed == (at - now >= 16 * 60)
        assert handed or now >= at
        assert handed or hours is None or opens_at(hours, now) is None
    with contextlib.suppress(TooSoonError):
        assert handing.is_handed(now + off) or now + off >= at
