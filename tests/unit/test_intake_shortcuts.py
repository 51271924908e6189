"""What intake does for many rows at once comes to what it does for each: any text, any table, any JSON."""

from __future__ import annotations

import csv
import functools
import io
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broadcaster.domain.content import Content, RenderError, compile_content
from broadcaster.domain.segments import is_gsm, segments, segments_of
from broadcaster.intake.faults import ColumnError
from broadcaster.intake.json_rows import JsonRows
from broadcaster.intake.read_csv import _plain_columns
from broadcaster.intake.reader import ListOptions, read_list
from broadcaster.intake.sources import ListSource

if TYPE_CHECKING:
    from broadcaster.domain.content import Renderer

_text = st.text(st.sampled_from("ab ,;\t'\n\ré😀€ \u2028\x0b{%"), max_size=6)


@given(
    st.text(st.sampled_from('a,;\n\r \u2028\x0b"é'), min_size=1, max_size=40),
    st.sampled_from(",;"),
    st.integers(1, 4),
)
def test_plain_columns_are_what_the_csv_module_reads(text: str, delimiter: str, width: int) -> None:
    columns = _plain_columns(text, delimiter, width)
    rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    if columns is not None:
        assert list(map(list, zip(*columns, strict=True))) == rows
    elif '"' not in text and not text.replace("\r\n", "").count("\r"):
        assert {len(row) for row in rows} != {width}


_value = st.one_of(_text, st.integers(), st.booleans(), st.none(), st.just([1]))
_row = st.one_of(
    _text,
    st.integers(),
    st.dictionaries(st.sampled_from(["to", "phone", "a", "reference"]), _value, max_size=3),
    st.builds(
        lambda to, inner, more: {"to": to, "variables": inner, **more},
        _value,
        st.one_of(_value, st.dictionaries(st.sampled_from(["a", "to", "b"]), _value, max_size=2)),
        st.dictionaries(st.sampled_from(["a", "reference"]), _text, max_size=1),
    ),
)


@given(st.one_of(st.lists(_row, max_size=6), _row.map(lambda row: [row, row]), st.lists(_text, min_size=1)))
def test_json_rows_of_one_shape_become_what_each_would(rows: list[Any]) -> None:
    numbers = range(1, len(rows) + 1)

    def told(read: Any) -> Any:
        try:
            return read(numbers, rows)
        except ColumnError as error:
            return str(error)

    one, other = told(JsonRows("list").chunk), told(JsonRows("list")._chunk_of_all_kinds)
    if not isinstance(one, str):
        one.lines = list(one.lines)
    assert one == other


@given(
    st.lists(st.fixed_dictionaries({"variables": st.just({"x": '"}},'}), "to": _text}) | _row, max_size=12),
    st.sampled_from([None, 2]),
    st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", ":")]),
)
def test_items_of_an_array_are_found_wherever_they_end(
    rows: list[Any], indent: int | None, separators: tuple[str, str]
) -> None:
    rows = [{"to": "+14155550100", "variables": {"x": "y"}}, *rows]
    text = json.dumps(rows, indent=indent, separators=separators)
    reader = read_list(ListSource(io.BytesIO(text.encode()), "list"), ListOptions())
    chunks = list(reader)
    whole = JsonRows("list").chunk(range(1, len(rows) + 1), json.loads(text, parse_float=str))
    assert [chunk.columns for chunk in chunks] == [whole.columns]
    assert [chunk.values for chunk in chunks] == [whole.values]
    assert [(b.line, b.column, b.reason) for b in chunks[0].bad] == [
        (b.line, b.column, b.reason) for b in whole.bad
    ]


@given(st.lists(_text, min_size=1, max_size=8), st.integers(1, 200))
def test_segments_of_many_texts(texts: list[str], length: int) -> None:
    long = [text * length for text in texts]
    costs, others = segments_of(long)
    assert costs == list(map(segments, long))
    assert others == [place for place, text in enumerate(long) if not is_gsm(text)]


@functools.cache
def _compiled(body: str) -> Renderer:
    return compile_content(Content(body=body))


@pytest.mark.parametrize(
    "body", ["Hi {{ a }}", "{{ a }} 100 % {{ b }}{{ a }}", "{{ b }}" * 270, "{{ a or b }}"]
)
@given(rows=st.lists(st.tuples(_text, _text), min_size=1, max_size=6))
def test_texts_from_columns_are_texts_from_rows(body: str, rows: list[tuple[str, str]]) -> None:
    renderer = _compiled(body)
    at_once, each = renderer.over_columns(("a", "b")), renderer.over_rows(("a", "b"))
    assert (at_once is None) == (" or " in body)
    if at_once is None:
        return
    try:
        expected = [each(row).body for row in rows]
    except RenderError:
        assert at_once(list(zip(*rows, strict=True))) is None
    else:
        assert at_once(list(zip(*rows, strict=True))) == expected
