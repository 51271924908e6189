"""WhatsApp's 24 hours as a rule: what marks say of a moment, what depends on them, and the words for it."""

from __future__ import annotations

import pytest

from broadcaster.domain.broadcast import BroadcastSpec, OutsideWindow
from broadcaster.domain.content import Content, SmsFallback, Template
from broadcaster.domain.record import Reason
from broadcaster.domain.resending import most_times
from broadcaster.domain.whatsapp_window import (
    MARGIN_SECONDS,
    OUTSIDE,
    WINDOW_SECONDS,
    Mark,
    Window,
    is_whatsapp,
    may_meet,
    minds,
    refused_everywhere,
    stand_in,
    together,
    window_of,
    window_warnings,
    words,
)
from broadcaster.operations.order_faults import as_fields
from broadcaster.twilio.codes import meaning

NOW = 1_800_000_000
LAST = NOW - WINDOW_SECONDS + MARGIN_SECONDS
SENDER, SANDBOX, SERVICE = "whatsapp:+14155550199", "whatsapp:+14155238886", "MG" + "0" * 32
HX = "HX" + "1" * 32
TEXT = Content(body="hello")


@pytest.mark.parametrize(
    ("wrote", "refused", "window"),
    [
        (NOW, 0, Window.OPEN),
        (NOW - 60, 0, Window.OPEN),
        (LAST + 1, 0, Window.OPEN),
        (LAST, 0, Window.CLOSED),
        (LAST - 1, 0, Window.CLOSED),
        (NOW - WINDOW_SECONDS, 0, Window.CLOSED),
        (0, 0, Window.NEVER),
        (0, NOW, Window.NEVER),
        (NOW - 60, NOW - 30, Window.CLOSED),
        (NOW - 60, NOW - 60, Window.CLOSED),
        (NOW - 30, NOW - 60, Window.OPEN),
        (NOW + 5, 0, Window.OPEN),
    ],
)
def test_what_a_mark_says(wrote: int, refused: int, window: Window) -> None:
    assert window_of(Mark(wrote, refused), NOW) is window
    assert window.shut == (window is not Window.OPEN)


OPEN, CLOSED, NEVER = Mark(NOW), Mark(LAST), Mark()


@pytest.mark.parametrize(
    ("marks", "window"),
    [
        ([OPEN], Window.OPEN),
        ([OPEN, OPEN], Window.OPEN),
        ([OPEN, CLOSED], Window.CLOSED),
        ([CLOSED, NEVER], Window.NEVER),
        ([OPEN, NEVER], Window.NEVER),
        ([], Window.NEVER),
    ],
)
def test_of_several_senders_the_worst_counts(marks: list[Mark], window: Window) -> None:
    assert together(marks, NOW) is window
    assert together(reversed(marks), NOW) is window


def test_a_services_refusal_is_every_senders() -> None:
    marks = refused_everywhere([Mark(10, 5), Mark(20), Mark()], 12)
    assert marks == [Mark(10, 12), Mark(20, 12), Mark(0, 12)]


@pytest.mark.parametrize(
    ("content", "outside", "depends"),
    [
        (TEXT, OutsideWindow.REFUSE, True),
        (TEXT, OutsideWindow.SEND, False),
        (Content(body="hello", fallback=Template(HX)), OutsideWindow.REFUSE, True),
        (Content(body="hello", fallback=Template(HX)), OutsideWindow.SEND, True),
        (Content(media_urls=("https://example.com/a.png",)), OutsideWindow.REFUSE, True),
        (Content(body="here", options={"PersistentAction": "geo:1,2"}), OutsideWindow.REFUSE, True),
        (Content(body="hello", sms=SmsFallback("+14155550199")), OutsideWindow.REFUSE, True),
        (Content(content_sid=HX), OutsideWindow.REFUSE, False),
        (Content(languages={"de": HX}, language_column="language"), OutsideWindow.REFUSE, False),
    ],
)
def test_what_depends_on_windows(content: Content, outside: OutsideWindow, *, depends: bool) -> None:
    assert minds(content, outside) is depends
    spec = BroadcastSpec(name="", senders=(SENDER,), content=content, outside_window=outside)
    assert bool(window_warnings(spec)) is depends


@pytest.mark.parametrize(
    ("lane", "meets"),
    [
        (SENDER, True),
        ("whatsapp:+14155238886", True),
        (SERVICE, True),
        ("+14155550199", False),
        ("ACME", False),
    ],
)
def test_which_lanes_can_meet_windows(lane: str, *, meets: bool) -> None:
    assert may_meet(lane) is meets


def test_only_whatsapp_has_windows() -> None:
    assert is_whatsapp(SENDER)
    assert not is_whatsapp("+14155550199")
    assert not is_whatsapp("forgotten")


def test_a_template_stands_in_with_all_that_fits_one() -> None:
    options = {"ValidityPeriod": "600", "PersistentAction": "geo:1,2", "SendAsMms": "true"}
    text = Content(body="hello", media_urls=("https://example.com/a.png",), options=options)
    found = stand_in(text, Template(HX, {"1": "{{ name }}"}))
    assert found == Content(
        content_sid=HX, content_variables={"1": "{{ name }}"}, options={"ValidityPeriod": "600"}
    )


@pytest.mark.parametrize("window", [Window.CLOSED, Window.NEVER])
@pytest.mark.parametrize("lane", [SENDER, SERVICE])
def test_the_words_say_what_to_do(window: Window, lane: str) -> None:
    told = words(window, lane)
    for part in (lane, "24 hours", "--fallback-content-sid HX…", "--outside-window send", "63016"):
        assert part in told
    fields = as_fields(told)
    assert "--" not in fields
    assert "`fallback`" in fields
    assert ("each WhatsApp sender" in told) == (lane == SERVICE)


def test_a_template_goes_once_for_a_closed_window() -> None:
    assert most_times(OUTSIDE, 5) == 1
    assert "window" in meaning(OUTSIDE)
    assert "window" in meaning(Reason.WINDOW_CLOSED)
