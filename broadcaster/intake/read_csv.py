"""Reading CSV: a header, then rows; quoted fields may span lines, and lines stay countable."""

from __future__ import annotations

import csv
import itertools
from typing import TYPE_CHECKING

from broadcaster.intake.detect import is_separator_line
from broadcaster.intake.faults import ColumnError, UnreadableListError
from broadcaster.intake.table import (
    CHUNK_ROWS,
    BadRow,
    Chunk,
    SourceReader,
    find_reference_column,
    find_to_column,
    header_names,
)
from broadcaster.intake.text_lines import TextLines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broadcaster.intake.sources import ListSource


class CsvReader(SourceReader):
    """A CSV list with a header; its columns are known as soon as the reader is made.

    Raises `ColumnError` when the recipient's column is missing or a name is there twice, and
    `UnreadableListError` while iterating where bytes are not UTF-8. A row that breaks the quoting rules,
    or has more filled fields than the header, is a bad row; a shorter one is filled up with "".
    """

    def __init__(self, source: ListSource, *, delimiter: str, to_column: str | None = None) -> None:
        super().__init__(source)
        self._delimiter = delimiter
        self._lines = TextLines(source)
        # strict: a misplaced quote is a fault to show, not a guess at what the row might have meant.
        self._rows = csv.reader(self._lines.each(), delimiter=delimiter, strict=True)
        try:
            header = next(filter(None, self._rows), [])
            if is_separator_line(delimiter.join(header)):
                header = next(filter(None, self._rows), [])
        except csv.Error as error:
            raise UnreadableListError(f"{self.name}, line {self._rows.line_num}: {error}") from None
        while len(header) > 1 and not header[-1].strip():
            header.pop()  # spreadsheets leave empty columns at the right
        if not header:
            raise ColumnError(f"{self.name} has no header line; put one above the rows, such as: to,name")
        self.columns = header_names(header, self.name)
        self._to = find_to_column(self.columns, to_column, self.name)
        self._reference = find_reference_column(self.columns)

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the rows below the header in chunks, blank lines left out."""
        while True:
            before = self._rows.line_num
            self._lines.forget(before + 1)
            rows: list[list[str]] = []
            broken: csv.Error | None = None
            try:
                rows.extend(itertools.islice(self._rows, CHUNK_ROWS))
            except csv.Error as error:
                broken = error  # the rows before it are in `rows`; the next chunk begins after it
            if not rows and broken is None:
                return
            yield self._chunk(rows, before, broken)

    def _chunk(self, rows: list[list[str]], before: int, broken: csv.Error | None) -> Chunk:
        width = len(self.columns)
        lines: Sequence[int] = range(before + 1, before + 1 + len(rows))
        if self._rows.line_num - before != len(rows):
            lines = _first_lines(rows, before)
        bad: list[BadRow] = []
        if broken is not None:
            bad += self._broken_rows(before + 1 + sum(map(_line_count, rows)), str(broken))
        if set(map(len, rows)) - {width}:
            lines, rows = _even(lines, rows, width, bad)
        values = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in self.columns]
        return Chunk(self.columns, self._to, self._reference, lines, values, bad)

    def _broken_rows(self, first: int, what: str) -> Iterator[BadRow]:
        """Yield a bad row for each line that the broken one took: a missing quote swallows good rows."""
        last = self._rows.line_num
        reason = f"not valid CSV: {what}"
        if last > first:
            reason += f"; a quote opened here seems to be closed only in line {last}, or never"
        for number, line in enumerate(self._lines.between(first, last), first):
            text = line.rstrip("\r\n")
            if text.strip():
                yield BadRow(number, "", text, reason, text.split(self._delimiter))
            reason = f"swallowed by a quote opened in line {first}"


def _line_count(row: list[str]) -> int:
    r"""Count the lines a row takes, a line end being \n, \r or \r\n."""
    return 1 + sum(
        field.count("\n") + field.count("\r") - field.count("\r\n")
        for field in row
        if "\n" in field or "\r" in field
    )


def _first_lines(rows: list[list[str]], before: int) -> list[int]:
    """Return the line each row begins on, if the first begins on line `before` + 1."""
    return list(itertools.accumulate(map(_line_count, rows), initial=before + 1))[:-1]


def _even(
    lines: Sequence[int], rows: list[list[str]], width: int, bad: list[BadRow]
) -> tuple[list[int], list[list[str]]]:
    """Drop blank lines, fill short rows with "", cut empty fields beyond the header, set aside the rest."""
    kept_lines: list[int] = []
    kept: list[list[str]] = []
    for line, row in zip(lines, rows, strict=True):
        if not any(map(str.strip, row)):
            continue
        if any(map(str.strip, row[width:])):
            reason = f"{len(row)} fields under {width} column names; quote a field that holds the delimiter"
            bad.append(BadRow(line, "", "", reason, tuple(row)))
            continue
        row.extend([""] * (width - len(row)))
        kept_lines.append(line)
        kept.append(row[:width])
    return kept_lines, kept
