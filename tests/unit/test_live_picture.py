"""The live view as text: what it shows, at any width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from broadcaster.cli.live import Glimpse, Meter
from broadcaster.cli.live_picture import Frame, picture, plain_line
from broadcaster.cli.live_senders import SenderNow
from broadcaster.domain.broadcast import BroadcastSpec
from broadcaster.domain.content import Content
from broadcaster.domain.record import State
from broadcaster.reporting.broadcasts import BroadcastView

SENDERS = (
    SenderNow("72975", "short code", 143.18, "its pace"),
    SenderNow("whatsapp:+14155550111", "whatsapp", 114.55, "paused: somebody said so", stopped=True),
    SenderNow(
        "FloodAlert", "alphanumeric", 14.32, "held for 2 s: 21611: the sender's queue at Twilio is full"
    ),
)


def view(accepted: int = 600) -> BroadcastView:
    counts = {State.QUEUED: 990 - accepted, State.ACCEPTED: accepted, State.DEAD: 4, State.SKIPPED: 6}
    return BroadcastView(
        id="b",
        name="Flood warning",
        state="running",
        state_reason="",
        total=1_000,
        counts=counts,
        codes=(),
        senders=tuple(sender.name for sender in SENDERS),
        spec=BroadcastSpec(name="Flood warning", senders=("72975",), content=Content(body="x")),
        retried=0,
        created_at=0,
        started_at=0,
        finished_at=None,
        eta_seconds=12.0,
    )


def frame() -> Frame:
    return Frame((view(),), SENDERS, 9.0, 250.0, 240.0, {"72975": (1_126, 143.9)})


def drawn(width: int) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(picture(frame(), width))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [76, 80, 100, 140])
def test_figures_are_never_cut_for_a_long_reason(width: int) -> None:
    text = drawn(width)
    lines = text.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= width
    for figure in ("143.2/s", "143.9/s", "1,126", "114.5/s", "250 messages a second", "61%", "610 of 1,000"):
        assert figure in text, f"{figure} at {width} columns:\n{text}"
    assert all(sender.name in text for sender in SENDERS)
    assert "held for 2 s" in text
    assert lines[-1].split() == ["390", "0", "0", "600", "4", "6", "1,000"]


def test_a_plain_line_has_the_counts_and_who_is_stopped() -> None:
    line = plain_line(frame())
    assert "61 %  610 of 1,000  250/s  queued 390, accepted 600, dead 4, skipped 6" in line
    assert "whatsapp:+14155550111 paused: somebody said so; FloodAlert held for 2 s" in line
    assert "\n" not in line


def test_speed_is_that_of_the_last_seconds() -> None:
    meter = Meter(began=100.0)
    for second in range(11):
        accepted = 10 * second if second <= 5 else 50 + 40 * (second - 5)
        now = meter.frame(Glimpse((view(accepted),), (), {"72975": accepted}), 100.0 + second)
    assert now.now_rate == pytest.approx(40.0)
    assert now.mean_rate == pytest.approx((250 + 4) / 10)
    assert list(now.sent["72975"]) == pytest.approx([250, 40.0])
