"""What a list comes to: batches of the right size in little memory, a dry run, a fingerprint."""

from __future__ import annotations

import io
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.domain.content import Content, compile_content
from broadcaster.intake import table
from broadcaster.intake.batches import BatchRows, LaneRows, batch_size
from broadcaster.intake.dry_run import dry_run
from broadcaster.intake.faults import shown_value
from broadcaster.intake.fingerprint import fingerprint
from broadcaster.intake.fitting import Fit
from broadcaster.intake.prepare import Preparation
from broadcaster.intake.read_csv import CsvReader
from broadcaster.intake.sources import ListSource

SMS = "+14155550199"
OTHER = "+442071838750"


def listed(text: str) -> CsvReader:
    return CsvReader(ListSource(io.BytesIO(text.encode()), "list.csv"), delimiter=",")


def test_segments_and_the_character_that_costs() -> None:
    text = "to,name\n+14155550100,Ann\n+14155550101,Łukasz\n+14155550102,😀\n+14155550103,~" + "x" * 160
    report = dry_run(
        listed(text), renderer=compile_content(Content(body="Hi {{ name }}")), senders=[(SMS, 2.0)]
    )
    assert (report.segments, report.gsm7, report.ucs2) == (5, 2, 2)
    assert report.ucs2_cause is not None
    assert (report.ucs2_cause.character, report.ucs2_cause.code_point, report.ucs2_cause.line) == (
        "Ł",
        "U+0141",
        3,
    )
    assert report.seconds == 2.5
    assert [message.body for message in report.messages] == ["Hi Ann", "Hi Łukasz", "Hi 😀"]
    assert not report.refused


def test_a_dry_run_counts_a_faulty_list_to_its_end() -> None:
    text = "to\n+14155550100\nx\n+14155550101\n+14155550101\n"
    renderer = compile_content(Content(body="Hi"))
    report = dry_run(listed(text), renderer=renderer, senders=[(SMS, 1.0)])
    assert (report.rows, report.recipients, report.duplicates, report.rejected) == (4, 2, 1, 1)
    assert report.refused
    assert [fault.line for fault in report.faults] == [3]
    assert not dry_run(listed(text), renderer=renderer, senders=[(SMS, 1.0)], with_rejects=True).refused


class Generated(io.RawIOBase):
    """A list of `rows` rows that exists nowhere."""

    def __init__(self, rows: int) -> None:
        super().__init__()
        self._rows = iter(range(rows))
        self._left = b"to,name\n"

    def read(self, size: int = -1) -> bytes:
        while len(self._left) < size and (n := next(self._rows, None)) is not None:
            self._left += b"+1415%07d,Somebody called %d\n" % (n, n)
        part, self._left = self._left[:size], self._left[size:]
        return part


def _peak(rows: int) -> int:
    source = ListSource(Generated(rows), "list")  # type: ignore[arg-type]
    preparation = Preparation(
        CsvReader(source, delimiter=","),
        renderer=compile_content(Content(body="Hi {{ name }}")),
        senders=[(SMS, 100.0)],
    )
    tracemalloc.start()
    try:
        for _ in preparation:
            pass
        assert preparation.summary.recipients == rows
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_list() -> None:
    small, large = _peak(10_000), _peak(100_000)
    assert large < small * 1.1 + 200_000
    assert large < 8_000_000


@given(sizes=st.lists(st.integers(0, 50), max_size=30))
def test_lanes_cut_batches_without_loss(sizes: list[int]) -> None:
    lane, batches, count = LaneRows("x", 0.5, Fit()), [], 0
    assert lane.size == batch_size(0.5) == 16
    for size in sizes:
        to = [str(count + n) for n in range(size)]
        rows = BatchRows("x", to, None, ("a",), [to[:]], bytes(size), [0] * size, bytes(size))
        batches += lane.add(rows)
        count += size
    assert all(len(batch) == 16 for batch in batches)
    rest = lane.rest()
    batches += [rest] if rest else []
    assert [to for batch in batches for to in batch.to] == [str(n) for n in range(count)]
    assert [value for batch in batches for value in batch.values[0]] == [str(n) for n in range(count)]
    assert (batch_size(1), batch_size(10), batch_size(1000)) == (30, 300, 500)
    assert table.CHUNK_ROWS >= 500


def test_the_fingerprint_knows_what_makes_another_broadcast() -> None:
    content = Content(body="Hi", content_variables={}, options={"a": "1", "b": "2"})
    same = Content(body="Hi", options={"b": "2", "a": "1"})
    one = fingerprint(content, [SMS, OTHER], "ab", {"region": "US", "priority": None})
    assert one == fingerprint(same, [OTHER, SMS], "ab", {"region": "US"})
    others = {
        fingerprint(Content(body="Hi!"), [SMS, OTHER], "ab", {"region": "US"}),
        fingerprint(content, [SMS], "ab", {"region": "US"}),
        fingerprint(content, [SMS, OTHER], "ac", {"region": "US"}),
        fingerprint(content, [SMS, OTHER], "ab", {"region": "GB"}),
    }
    assert len(others | {one}) == 5


def test_faults_do_not_show_numbers() -> None:
    assert shown_value("+1 (415) 555-0100") == "+1 (41•) •••-••00"
    assert shown_value("call 4155550100 or 4155550101, x") == "call 415•••••00 or 415•••••01, x"
    assert shown_value("12345") == "12345"
    assert shown_value("x" * 50) == "x" * 39 + "…"
