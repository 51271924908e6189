"""Lists are read as they are: any quoting, any line end, and every row knows its line."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broadcaster.domain.addresses import Channel
from broadcaster.intake.detect import Format
from broadcaster.intake.faults import ColumnError, EmptyListError, UnreadableListError
from broadcaster.intake.peek import Peeked
from broadcaster.intake.read_json import ValuesReader
from broadcaster.intake.reader import ListOptions, open_list, read_list
from broadcaster.intake.sources import ListSource

if TYPE_CHECKING:
    from pathlib import Path

    from broadcaster.intake.table import Chunk, ListReader


class Trickle(io.RawIOBase):
    """A pipe that gives a few bytes at a time."""

    def __init__(self, raw: bytes, step: int) -> None:
        super().__init__()
        self._raw, self._step = io.BytesIO(raw), step

    def read(self, size: int = -1) -> bytes:
        return self._raw.read(min(self._step, size) if size > 0 else self._step)


def reader(raw: bytes | str, step: int = 1 << 20, **options: Any) -> ListReader:
    data = raw.encode() if isinstance(raw, str) else raw
    return read_list(ListSource(Trickle(data, step), "list"), ListOptions(**options))  # type: ignore[arg-type]


def rows(chunks: ListReader) -> list[tuple[int, dict[str, str]]]:
    return [
        (chunk.lines[i], dict(zip(chunk.columns, chunk.row(i), strict=True)))
        for chunk in chunks
        for i in range(len(chunk))
    ]


def bad(chunks: ListReader) -> list[tuple[int, str]]:
    return [(row.line, row.reason) for chunk in chunks for row in chunk.bad]


def only(chunks: ListReader) -> Chunk:
    (chunk,) = list(chunks)
    return chunk


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_csv_dialects(delimiter: str, bom: str, end: str) -> None:
    lines = [
        "name|phone".replace("|", delimiter),
        "",
        f'"A{delimiter}B"{delimiter}+14155550100',
        f"C{delimiter}2",
    ]
    assert rows(reader(bom + end.join(lines))) == [
        (3, {"name": f"A{delimiter}B", "phone": "+14155550100"}),
        (4, {"name": "C", "phone": "2"}),
    ]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("sep=;\r\nto;name;;\r\n+1;A,B;;\r\n;;;\r\n;;;\r\n", {}),
        ('\ufeff"sep=;"\n\ufeffto;name\n+1;A,B\n', {}),
        ("SEP=|\nto|name\n+1|A,B\n", {}),
        ("sep=\t\r\nto\tname\t\r\n+1\tA,B\t\r\n", {}),
        ("sep=,\nto;name\n+1;A,B\n", {"delimiter": ";"}),
        ('to;name;;;\n+1;"A,B";;;\n;;;;\n', {}),
        ('"\ufeffto";name\n+1;A,B\n', {}),
    ],
)
def test_spreadsheets_have_their_ways_with_csv(text: str, options: dict[str, Any]) -> None:
    ((_, row),) = rows(reader(text, **options))
    assert row == {"to": "+1", "name": "A,B"}


@pytest.mark.parametrize(
    "text", ["whatsapp:+41791234567", '="whatsapp:+41791234567"', "'WhatsApp:+41791234567"]
)
def test_the_channel_of_a_list_is_seen_through_a_spreadsheets_wrapping(text: str) -> None:
    assert Peeked(reader(f"to\n{text}\n")).channels == {Channel.WHATSAPP}


@pytest.mark.parametrize("text", ["4.15E+10", '="+41791234567"', "'+41791234567", "41791234567.0"])
def test_what_a_spreadsheet_made_of_a_number_is_still_one_to_a_line(text: str) -> None:
    assert only(reader(f"{text}\n+14155550100\n")).columns == ("to",)


def test_lines_count_on_after_quoted_line_ends() -> None:
    text = 'to,note\n+14155550100,"a\nb\r\nc"\n\n+14155550101,x\n"+14155550102","\n"\n+14155550103,y'
    assert [line for line, _ in rows(reader(text))] == [2, 6, 7, 9]


_cell = st.text(st.sampled_from("a;,|\t\"' \n\réß😀\u2028\x0b="), max_size=8)


@settings(deadline=None)
@given(
    table=st.lists(st.tuples(_cell, _cell, _cell), max_size=30),
    end=st.sampled_from(["\n", "\r\n"]),
    delimiter=st.sampled_from([",", ";", "\t", "|"]),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    step=st.integers(1, 50),
)
def test_csv_comes_back_as_it_was_written(
    table: list[tuple[str, str, str]], end: str, delimiter: str, quoting: Any, step: int
) -> None:
    if end == "\n":  # the csv module quotes a carriage return only where it is part of the line end
        quoting = csv.QUOTE_ALL
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=quoting)
    writer.writerow(("to", "one", "two", "three"))
    lines = []
    for number, row in enumerate(table):
        text = out.getvalue()
        lines.append(1 + text.count("\n") + text.count("\r") - text.count("\r\n"))
        writer.writerow((number, *row))
    got = rows(reader(out.getvalue(), step, delimiter=delimiter))
    assert [line for line, _ in got] == lines
    assert [tuple(row.values()) for _, row in got] == [(str(n), *row) for n, row in enumerate(table)]


def test_a_broken_row_does_not_hide_the_others() -> None:
    text = 'to,name\n1,"a"b\n2,x\n3,y,z\n4,w,\n5\n,\n6,"never\n7,closed\n'
    list_reader = reader(text)
    chunks = list(list_reader)
    good = [row for chunk in chunks for row in zip(*chunk.values, strict=True)]
    assert good == [("2", "x"), ("4", "w"), ("5", "")]
    broken = {row.line: row for chunk in chunks for row in chunk.bad}
    assert sorted(broken) == [2, 4, 8, 9]
    assert "3 fields under 2 column names" in broken[4].reason
    assert "quote opened here" in broken[8].reason
    assert broken[9].reason == "swallowed by a quote opened in line 8"
    assert broken[9].values == ["7", "closed"]


def test_the_recipient_column() -> None:
    text = "id,Phone Number,to,reference\n1,+1,+2,r\n"
    assert only(reader(text)).to == 2
    assert only(reader(text)).reference == 3
    assert only(reader(text, to_column="ID")).to == 0
    assert only(reader("a,Phone-Number\n1,2\n")).to == 1
    with pytest.raises(ColumnError, match=r"no column 'tel'.*'id', 'Phone Number', 'to', 'reference'"):
        reader(text, to_column="tel")
    with pytest.raises(ColumnError, match=r"--to-column.*'a', 'b'"):
        reader("a,b\n1,2\n")
    with pytest.raises(ColumnError, match="begins with a recipient"):
        reader("+14155550100,Ann\n+14155550101,Bob\n")
    with pytest.raises(ColumnError, match=r"two columns called 'a' \(2 and 3\)"):
        reader("to,a,a\n1,2,3\n")


def test_an_export_of_ours_is_a_list() -> None:
    text = "to,reference,state,code,sid\n+14155550100,a1,delivered,0,SM1\n"
    chunk = only(reader(text))
    assert (chunk.columns[chunk.to], chunk.reference) == ("to", 1)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("+14155550100\n\n+14155550101\n", Format.LINES),
        ("whatsapp:+14155550100", Format.LINES),
        ("(415) 555-0100\n", Format.LINES),
        ('\n [ "+14155550100"]', Format.JSON),
        ('{"to": "+14155550100"}\n', Format.NDJSON),
        ("phone\n+14155550100\n", Format.CSV),
        ("to,name\n+14155550100,Ann", Format.CSV),
    ],
)
def test_formats_are_told_by_their_content(text: str, found: Format) -> None:
    kinds = {
        "LinesReader": Format.LINES,
        "JsonReader": Format.JSON,
        "NdjsonReader": Format.NDJSON,
        "CsvReader": Format.CSV,
    }
    list_reader = reader(text)
    assert kinds[type(list_reader).__name__] is found
    assert rows(list_reader)[0][1][next(iter(only(reader(text)).columns))]


def test_numbers_on_lines() -> None:
    assert rows(reader('+1\n\n  "+2" \r\n+3')) == [(1, {"to": "+1"}), (3, {"to": "+2"}), (4, {"to": "+3"})]


def test_json_objects_become_rows() -> None:
    items = [
        {"to": "+1", "variables": {"name": "Ann", "due": None}, "reference": "r1"},
        {"phone": "+2", "name": "Bob", "sum": 1.10, "ok": True, "n": 7},
        "whatsapp:+3",
    ]
    text = json.dumps(items).replace("1.1,", "1.10,")
    expected = [
        {"to": "+1", "reference": "r1", "name": "Ann", "due": ""},
        {"to": "+2", "phone": "+2", "name": "Bob", "sum": "1.10", "ok": "true", "n": "7"},
        {"to": "whatsapp:+3"},
    ]
    got = [{key: value for key, value in row.items() if value} for _, row in rows(reader(text))]
    assert got == [{key: value for key, value in row.items() if value} for row in expected]
    lines = "\n".join(json.dumps(item) for item in items).replace("1.1,", "1.10,")
    assert [{k: v for k, v in row.items() if v} for _, row in rows(reader(lines))] == got


def test_json_rows_that_are_none() -> None:
    text = '["+1", true, {"name": "x"}, {"to": "+2", "variables": []}, {"to": "+3", "a": {}}, {"to": "+4"}]'
    chunk = only(reader(text))
    assert chunk.values[0] == ["+1", "+4"]
    assert [(row.line, row.column) for row in chunk.bad] == [(2, ""), (3, ""), (4, "variables"), (5, "a")]
    with pytest.raises(ColumnError, match="'name'"):
        list(reader('[{"name": "x"}]'))
    assert bad(reader('{"to": "+1"}\n{"to": \n'))[0][0] == 2


@settings(deadline=None)
@given(
    items=st.lists(st.dictionaries(st.text(max_size=4), st.text(max_size=20), max_size=3), max_size=20),
    step=st.integers(1, 40),
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
)
def test_json_arrays_come_back(
    items: list[dict[str, str]],
    step: int,
    indent: int | None,
    *,
    ascii_only: bool,
) -> None:
    numbered = [{"to": str(n), "variables": item} for n, item in enumerate(items)]
    text = json.dumps(numbered, indent=indent, ensure_ascii=ascii_only)
    got = rows(reader(text.encode("utf-8", "surrogatepass"), step))
    assert [row["to"] for _, row in got] == [str(n) for n in range(len(items))]
    for (_, row), item in zip(got, items, strict=True):
        for key, value in item.items():
            assert key in {"to", "reference"} or row[key] == value


@pytest.mark.parametrize("text", ['["+1"', '["+1",]', '["+1" "+2"]', '["+1"] x', '["+1', "[1"])
def test_broken_json_is_refused(text: str) -> None:
    with pytest.raises(UnreadableListError, match="not valid JSON"):
        list(reader(text))


def test_json_without_end_does_not_fill_the_memory() -> None:
    with pytest.raises(UnreadableListError, match="a quote may be missing"):
        list(reader('["' + "x" * 3_000_000))


def test_files_and_their_digest(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(b"\xef\xbb\xbfto\r\n+14155550100\r\n" * 1)
    list_reader = open_list(str(path))
    assert len(rows(list_reader)) == 1
    again = reader(path.read_bytes(), 1)
    list(again)
    assert list_reader.digest() == again.digest() != reader("to\n+14155550100\n").digest()
    list_reader.release()
    with pytest.raises(UnreadableListError, match="No such file"):
        open_list(str(tmp_path / "none.csv"))
    with pytest.raises(UnreadableListError, match="directory"):
        open_list(str(tmp_path))
    (tmp_path / "empty").touch()
    with pytest.raises(EmptyListError):
        open_list(str(tmp_path / "empty"))


def test_values_of_an_api_call() -> None:
    values = ["+1", {"to": "+2", "variables": {"a": "b"}}]
    list_reader = ValuesReader(values)
    assert [row["to"] for _, row in rows(list_reader)] == ["+1", "+2"]
    other = ValuesReader(values[:1])
    list(other)
    assert list_reader.digest() != other.digest()
