"""From a list to batches: every row ends in exactly one place, whatever is wrong with its neighbours."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broadcaster.domain.content import Content, ContentError, Template, compile_content
from broadcaster.domain.record import Reason, State
from broadcaster.intake.faults import (
    EmptyListError,
    FaultList,
    ListRefusedError,
    RejectsFile,
    UnreadableListError,
)
from broadcaster.intake.prepare import Preparation
from broadcaster.intake.read_csv import CsvReader
from broadcaster.intake.read_json import ValuesReader
from broadcaster.intake.sources import ListSource

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from broadcaster.intake.batches import BatchRows

SMS = "+14155550199"
OTHER = "+442071838750"
WHATSAPP = "whatsapp:+14155238886"


def listed(text: str) -> CsvReader:
    return CsvReader(ListSource(io.BytesIO(text.encode()), "list.csv"), delimiter=",")


def prepare(text: str, body: str | Content = "Hello", **options: Any) -> tuple[Preparation, list[BatchRows]]:
    options.setdefault("senders", [(SMS, 10.0)])
    content = Content(body=body) if isinstance(body, str) else body
    preparation = Preparation(listed(text), renderer=compile_content(content), **options)
    return preparation, list(preparation)


def states(batches: list[BatchRows]) -> list[tuple[str, State, int]]:
    return [
        (to, State(state), code)
        for batch in batches
        for to, state, code in zip(batch.to, batch.states, batch.codes, strict=True)
    ]


class Blocked:
    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses

    def scopes(self, lane: str, service: str | None, purpose: str) -> tuple[str, ...]:
        assert (service, purpose) == (None, "utility")
        return (SMS,) if lane == SMS else ()

    def blocks(self, address: str, scopes: tuple[str, ...]) -> bool:
        return address in self.addresses and SMS in scopes

    def blocked(self, addresses: Sequence[str], scopes: tuple[str, ...]) -> list[int]:
        return [place for place, one in enumerate(addresses) if one and self.blocks(one, scopes)]


def test_a_plain_list() -> None:
    text = "name,to,reference,other\n" + "".join(f"N{n},+1415555{n:04},r{n},x\n" for n in range(1000))
    preparation, batches = prepare(text, "Hi {{ name }}")
    assert sum(len(batch) for batch in batches) == 1000
    assert all(240 < len(batch) <= 300 for batch in batches[:3])
    assert len(batches) == 4
    assert {batch.lane for batch in batches} == {SMS}
    assert batches[0].columns == ("name",)
    assert batches[3].values[0][-1] == "N999"
    assert batches[3].references is not None
    assert batches[3].references[-1] == "r999"
    assert batches[3].to[-1] == "+14155550999"
    summary = preparation.summary
    assert (summary.rows, summary.recipients, summary.segments, summary.gsm7) == (1000, 1000, 1000, 1000)
    assert [(shown.to, shown.rendered.body) for shown in summary.first] == [
        (f"+1415555000{n}", f"Hi N{n}") for n in range(3)
    ]
    kept = prepare(text, "Hi {{ name }}", keep_unused_columns=True)[1]
    assert kept[0].columns == ("name", "other")


def test_a_faulty_list_is_refused_with_every_fault(tmp_path: Path) -> None:
    rows = ["+14155550100,Ann", "12345,Bob", "+14155550101,", "+14155550102,Cy,x", "whatsapp:+14155550103,Di"]
    path = tmp_path / "faults.csv"
    faults = FaultList(path)
    with pytest.raises(ListRefusedError) as caught:
        prepare("to,name\n" + "\n".join(rows), "Hi {{ name }}", faults=faults)
    assert (caught.value.total, caught.value.rows) == (4, 5)
    assert [(fault.line, fault.column) for fault in caught.value.shown] == [
        (3, "to"),
        (4, "name"),
        (5, ""),
        (6, "to"),
    ]
    assert "no sender for whatsapp" in caught.value.shown[3].reason
    assert "+14155550103" not in caught.value.shown[3].value
    assert "4 of 5 rows" in str(caught.value)
    assert str(path) in str(caught.value)
    with path.open(newline="") as file:
        assert [row["line"] for row in csv.DictReader(file)] == ["3", "4", "5", "6"]


_MINE, _ALIKE = {"1": "{{ address }}"}, {"1": "for\nall"}


@pytest.mark.parametrize(
    ("content", "column"),
    [
        (Content(content_sid="HX1", content_variables=_MINE), "address"),
        (Content(content_sid="HX1", content_variables={"1": "{{ name }}, {{ address }}"}), ""),
        (Content(body="Hi", fallback=Template("HX1", _MINE)), "address"),
        (Content(content_sid="HX1", content_variables=_ALIKE), ""),
        (Content(body="Hi", fallback=Template("HX1", _ALIKE)), ""),
        (Content(body="Hi {{ name }}", fallback=Template("HX1", _ALIKE)), ""),
    ],
)
def test_a_value_that_whatsapp_takes_from_no_template_is_a_fault_of_its_row(
    content: Content, column: str
) -> None:
    """An SMS to the same person is well."""
    row = ',Ada,"12 High St\nLondon"\n'
    text = f"to,name,address\n+14155550100{row}whatsapp:+14155550101{row}"
    with pytest.raises(ListRefusedError) as refused:
        prepare(text, content, senders=[(SMS, 10.0), (WHATSAPP, 1.0)])
    (fault,) = refused.value.shown
    assert (fault.line, fault.column) == (4, column)
    assert "variable 1 has a line break" in fault.reason


def test_only_a_hundred_faults_stay_in_memory() -> None:
    with pytest.raises(ListRefusedError) as caught:
        prepare("to\n" + "12\n" * 5000)
    assert (caught.value.total, len(caught.value.shown)) == (5000, 100)


def test_good_rows_go_on_when_rejects_have_a_file(tmp_path: Path) -> None:
    path = tmp_path / "rejects.csv"
    text = 'to,name\n+14155550100,Ann\nnobody,Bob\n+14155550101,\n"+14155550102","a"b\n+14155550103,Di\n'
    with RejectsFile(path) as rejects:
        preparation, batches = prepare(text, "Hi {{ name }}", rejects=rejects)
    assert [to for to, _, _ in states(batches)] == ["+14155550100", "+14155550103"]
    assert (preparation.summary.rejected, rejects.count) == (3, 3)
    with path.open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [(row["line"], row["to"], row["name"]) for row in found] == [
        ("3", "nobody", "Bob"),
        ("4", "+14155550101", ""),
        ("5", '"+14155550102"', '"a"b'),
    ]
    # Corrected, the file is a list; what is still wrong keeps the list's own columns.
    again = path.read_text().replace("nobody", "+14155550109")
    with RejectsFile(tmp_path / "second.csv") as rejects:
        _, batches = prepare(again, "Hi {{ name }}", rejects=rejects)
    assert [to for to, _, _ in states(batches)] == ["+14155550109"]
    assert (tmp_path / "second.csv").read_text().startswith("line,reason,to,name\n")


def test_rejects_may_not_overwrite_the_list(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("to\n+14155550100\n")
    with pytest.raises(UnreadableListError, match="overwrite"):
        RejectsFile(path, list_path=str(path))
    assert path.read_text().startswith("to")
    with pytest.raises(UnreadableListError, match="cannot write"):
        RejectsFile(tmp_path / "none" / "rejects.csv")


def test_a_list_without_a_good_row_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EmptyListError):
        prepare("to\n\n")
    with RejectsFile(tmp_path / "r.csv") as rejects, pytest.raises(ListRefusedError):
        prepare("to\n1\n", rejects=rejects)


def test_a_trial_account_writes_to_verified_numbers_only() -> None:
    text = "to\n" + "".join(f"+1415555010{n}\n" for n in (0, 1, 1, 2, 3)) + "whatsapp:+14155550101\n"
    preparation, batches = prepare(
        text,
        senders=[(SMS, 10.0), (WHATSAPP, 80.0)],
        opt_outs=Blocked("+14155550102"),
        verified=frozenset(("+14155550100",)),
    )
    found = [(code, to) for to, _, code in states(batches)]
    assert sorted(found) == [
        (0, "+14155550100"),
        (0, "whatsapp:+14155550101"),
        (Reason.OPTED_OUT, "+14155550102"),
        (Reason.DUPLICATE, "+14155550101"),
        (Reason.UNVERIFIED, "+14155550101"),
        (Reason.UNVERIFIED, "+14155550103"),
    ]
    summary = preparation.summary
    assert (summary.recipients, summary.unverified) == (2, 2)
    assert summary.first_unverified == ["+14155550101", "+14155550103"]


def test_duplicates_and_opted_out_keep_a_row() -> None:
    text = (
        "to\n+14155550100\n+1 415 555 0100\n+14155550101\n+14155550102\nwhatsapp:+14155550100\n+14155550102\n"
    )
    opted_out = Blocked("+14155550102")
    preparation, batches = prepare(text, senders=[(SMS, 10.0), (WHATSAPP, 80.0)], opt_outs=opted_out)
    by_lane = {batch.lane: states([batch]) for batch in batches}
    assert by_lane[WHATSAPP] == [("whatsapp:+14155550100", State.QUEUED, 0)]
    assert by_lane[SMS] == [
        ("+14155550100", State.QUEUED, 0),
        ("+14155550100", State.SKIPPED, Reason.DUPLICATE),
        ("+14155550101", State.QUEUED, 0),
        ("+14155550102", State.SKIPPED, Reason.OPTED_OUT),
        ("+14155550102", State.SKIPPED, Reason.DUPLICATE),
    ]
    summary = preparation.summary
    assert (summary.rows, summary.recipients, summary.duplicates, summary.opted_out) == (6, 3, 2, 1)
    assert summary.lanes[SMS].recipients == 2


def test_a_rejected_row_is_nobodys_first(tmp_path: Path) -> None:
    text = "to,name\n+14155550100,\n+14155550100,Ann\n+14155550100,Bob\n"
    with RejectsFile(tmp_path / "r.csv") as rejects:
        _, batches = prepare(text, "Hi {{ name }}", rejects=rejects)
    assert [state for _, state, _ in states(batches)] == [State.QUEUED, State.SKIPPED]
    assert batches[0].values == [["Ann", "Bob"]]


_rows = st.lists(
    st.tuples(
        st.sampled_from(
            [f"+1415555010{n}" for n in range(6)]
            + [f"(415) 555-010{n}" for n in range(3)]
            + [f"whatsapp:+1415555010{n}" for n in range(3)]
            + ["x", "", "+1"]
        ),
        st.sampled_from(["Ann", "", "😀" * 36]),
    ),
    min_size=1,
    max_size=40,
)


@settings(deadline=None)
@given(rows=_rows, chunk=st.integers(1, 7), blocked=st.booleans())
def test_rows_add_up_and_agree_with_one_at_a_time(
    rows: list[tuple[str, str]], *, chunk: int, blocked: bool
) -> None:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("to", "name"), *rows])
    opted_out = Blocked("+14155550101") if blocked else None
    seen: set[str] = set()
    expected: list[tuple[str, State, int]] = []
    for to, name in rows:
        address = to.replace("(415) 555-", "+1415555")
        if address in {"x", "", "+1"}:
            continue
        if address in seen:
            expected.append((address, State.SKIPPED, Reason.DUPLICATE))
        elif opted_out and opted_out.blocks(address, (SMS,)):
            expected.append((address, State.SKIPPED, Reason.OPTED_OUT))
            seen.add(address)
        elif name:
            expected.append((address, State.QUEUED, 0))
            seen.add(address)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("broadcaster.intake.text_lines.BLOCK_CHARACTERS", chunk)
        preparation = Preparation(
            listed(text.getvalue()),
            renderer=compile_content(Content(body="Hi {{ name }}")),
            senders=[(SMS, 0.1), (WHATSAPP, 0.1)],
            region="US",
            opt_outs=opted_out,
            rejects=_Nowhere(),
        )
        try:
            batches = list(preparation)
        except ListRefusedError:
            assert not expected
            return
    for lane in (SMS, WHATSAPP):
        got = states([batch for batch in batches if batch.lane == lane])
        assert got == [row for row in expected if (row[0][0] == "w") == (lane == WHATSAPP)]
    summary = preparation.summary
    assert summary.rows == len(rows)
    assert summary.rows == summary.recipients + summary.duplicates + summary.opted_out + summary.rejected
    assert summary.records == len(expected) == sum(map(len, batches))
    assert summary.rejected == preparation.faults.total
    queued = [
        cost
        for batch in batches
        for cost, state in zip(batch.segments, batch.states, strict=True)
        if state == State.QUEUED
    ]
    assert summary.segments == sum(queued) == sum(lane.segments for lane in summary.lanes.values())
    assert sum(lane.recipients for lane in summary.lanes.values()) == summary.recipients == len(queued)
    assert summary.gsm7 + summary.ucs2 == sum(
        to[0] == "+" and state == State.QUEUED for to, state, _ in expected
    )


class _Nowhere(RejectsFile):
    def __init__(self) -> None:
        self.count = 0

    def add(self, *_: Any) -> None:
        self.count += 1


def test_several_senders_share_and_an_address_keeps_its_own() -> None:
    numbers = [f"+1415555{n:04}" for n in range(4000)]
    senders = [(SMS, 30.0), (OTHER, 10.0)]
    preparation, batches = prepare("to\n" + "\n".join(numbers), senders=senders)
    lanes = {to: batch.lane for batch in batches for to in batch.to}
    assert sorted(lanes) == numbers
    assert 0.7 < preparation.summary.lanes[SMS].recipients / 4000 < 0.8
    other = {
        to: batch.lane
        for batch in prepare("to\n" + "\n".join(numbers[::-1]), senders=senders)[1]
        for to in batch.to
    }
    assert lanes == other


def test_a_variable_without_a_column_is_named() -> None:
    with pytest.raises(ContentError, match="nmae"):
        prepare("to,name\n+14155550100,Ann\n", "Hi {{ nmae }}")


def test_json_rows_may_lack_a_variable(tmp_path: Path) -> None:
    values = [{"to": "+14155550100", "variables": {"name": "Ann"}}, {"to": "+14155550101"}]
    with RejectsFile(tmp_path / "r.csv") as rejects:
        preparation = Preparation(
            ValuesReader(values),
            renderer=compile_content(Content(body="Hi {{ name }}")),
            senders=[(SMS, 1.0)],
            rejects=rejects,
        )
        (batch,) = list(preparation)
    assert batch.values == [["Ann"]]
    assert preparation.faults.shown[0].line == 2
    assert preparation.faults.shown[0].column == "name"
