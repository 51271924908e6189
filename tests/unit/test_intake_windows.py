"""Rows whose 24 hours of WhatsApp are over, in intake: faulty, or counted where a template goes instead."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.domain.broadcast import OutsideWindow
from broadcaster.domain.content import Content, Template, compile_content
from broadcaster.domain.record import State
from broadcaster.intake.faults import ListRefusedError
from broadcaster.intake.peek import Peeked
from broadcaster.intake.prepare import Preparation
from broadcaster.intake.read_csv import CsvReader
from broadcaster.intake.sources import ListSource
from broadcaster.operations.orders import Order
from broadcaster.operations.trying import forecast
from broadcaster.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Sequence

SMS, CHAT, OTHER = "+14155550199", "whatsapp:+14155238886", "whatsapp:+14155238887"
WROTE, SILENT = "whatsapp:+14155550101", "whatsapp:+14155550102"
HX = "HX" + "1" * 32


class Windows:
    """Closed but for some; remembers what it was asked."""

    def __init__(self, *wrote: str, refuses: bool = True) -> None:
        self.refuses = refuses
        self.asked: list[tuple[str, list[str]]] = []
        self._wrote = wrote

    def closed(self, lane: str, addresses: Sequence[str]) -> dict[int, str]:
        self.asked.append((lane, list(addresses)))
        silent = [i for i, one in enumerate(addresses) if one not in self._wrote and one[0] == "w"]
        return dict.fromkeys(silent, f"nothing to {lane}")


class OptOuts:
    """Everybody from `gone` opted out."""

    def __init__(self, *gone: str) -> None:
        self._gone = gone

    def scopes(self, lane: str, service: str | None, purpose: str) -> tuple[str, ...]:
        assert (lane, service, purpose) == (CHAT, None, "utility")
        return (CHAT,)

    def blocked(self, addresses: Sequence[str], scopes: tuple[str, ...]) -> list[int]:
        assert scopes == (CHAT,)
        return [place for place, one in enumerate(addresses) if one in self._gone]


def listed(text: str) -> CsvReader:
    return CsvReader(ListSource(io.BytesIO(text.encode()), "list.csv"), delimiter=",")


def preparation(text: str, windows: Windows | None, **options: Any) -> Preparation:
    senders = options.pop("senders", [(SMS, 1.0), (CHAT, 1.0)])
    renderer = compile_content(Content(body="Hi"))
    return Preparation(listed(text), renderer=renderer, senders=senders, windows=windows, **options)


def test_each_closed_row_is_a_fault_of_its_own() -> None:
    made = preparation(f"to\n{WROTE}\n{SILENT}\n+14155550103\n{SILENT}\n", Windows(WROTE))
    with pytest.raises(ListRefusedError) as refused:
        list(made)
    shown = [(fault.line, fault.column, fault.reason) for fault in refused.value.shown]
    assert shown == [(3, "to", f"nothing to {CHAT}"), (5, "to", f"nothing to {CHAT}")]
    assert made.summary.duplicates == 0


def test_who_is_not_written_to_anyway_is_not_looked_at() -> None:
    windows = Windows(WROTE)
    made = preparation(f"to\n{WROTE}\n{SILENT}\nnobody\n{WROTE}\n", windows, opt_outs=OptOuts(SILENT))
    with pytest.raises(ListRefusedError) as refused:
        list(made)
    assert [fault.line for fault in refused.value.shown] == [4]
    assert windows.asked == [(CHAT, [WROTE, WROTE])]


def test_lists_without_whatsapp_are_not_looked_at() -> None:
    windows = Windows()
    assert sum(map(len, preparation("to\n+14155550101\n+14155550102\n", windows))) == 2
    assert not windows.asked


def test_each_lane_is_asked_for_its_own_and_the_template_is_counted() -> None:
    people = [f"whatsapp:+1415555{i:04d}" for i in range(100)]
    windows = Windows(*people[:50], refuses=False)
    text = "to\n" + "\n".join([*people, people[99], people[0]])
    made = preparation(text, windows, senders=[(CHAT, 1.0), (OTHER, 1.0)])
    batches = list(made)
    assert (made.summary.recipients, made.summary.duplicates, made.summary.by_fallback) == (100, 2, 50)
    assert sum(batch.states.count(State.QUEUED) for batch in batches) == 100
    assert {lane for lane, _ in windows.asked} == {CHAT, OTHER}
    for lane, asked in windows.asked:
        assert set(asked) == {to for batch in batches if batch.lane == lane for to in batch.to}


@pytest.mark.parametrize(
    ("content", "outside", "told"),
    [
        (Content(body="Hi"), OutsideWindow.REFUSE, "is refused when the list is sent"),
        (Content(body="Hi", fallback=Template(HX)), OutsideWindow.REFUSE, "gets the fallback template"),
        (Content(body="Hi"), OutsideWindow.SEND, ""),
        (Content(content_sid=HX), OutsideWindow.REFUSE, ""),
    ],
)
def test_a_dry_run_without_redis_says_that_windows_were_not_looked_at(
    content: Content, outside: OutsideWindow, told: str
) -> None:
    settings = load_settings(None, twilio_whatsapp_from=CHAT, twilio_phone_number=SMS)
    order = Order(name="test", content=content, outside_window=outside)
    for text, concerned in ((f"to\n{WROTE}\n", True), ("to\n+14155550101\n", False)):
        warnings = forecast(order, Peeked(listed(text)), settings).report.warnings
        assert len(warnings) == bool(told and concerned)
        assert not warnings or told in warnings[0]
