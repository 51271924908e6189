"""Reading CSV: a header, then rows; quoted fields may span lines, and lines stay countable."""

from __future__ import annotations

import csv
import itertools
from typing import TYPE_CHECKING, Final

from broadcaster.intake.detect import not_utf8
from broadcaster.intake.faults import ColumnError, UnreadableListError
from broadcaster.intake.table import (
    CHUNK_ROWS,
    BadRow,
    Chunk,
    find_reference_column,
    find_to_column,
    header_names,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broadcaster.intake.sources import ListSource

_MAX_LISTED_VALUE: Final = 200


class CsvReader:
    """A CSV list with a header. Columns are known as soon as the reader is made.

    Raises `ColumnError` when the recipient's column is missing or a name is there twice, and
    `UnreadableListError` while iterating where bytes are not UTF-8. A row that breaks the quoting rules,
    or has more filled fields than the header, is a bad row; a shorter one is filled up with "".
    """

    position = "line"

    def __init__(self, source: ListSource, *, delimiter: str, to_column: str | None = None) -> None:
        self.source = source
        self.name = source.name
        # strict: a misplaced quote is a fault to show, not a guess at what the row might have meant.
        self._rows = csv.reader(source.text(), delimiter=delimiter, strict=True)
        header: list[str] = []
        try:
            header = next(filter(None, self._rows), [])
        except csv.Error as error:
            raise UnreadableListError(f"{self.name}, line {self._rows.line_num}: {error}") from None
        except UnicodeDecodeError as error:
            raise self._not_utf8(error) from None
        while len(header) > 1 and not header[-1].strip():
            header.pop()  # spreadsheets leave empty columns at the right
        self.columns = header_names(header, self.name)
        if not self.columns:
            raise ColumnError(f"{self.name} has no header line.")
        self._to = find_to_column(self.columns, to_column, self.name)
        self._reference = find_reference_column(self.columns)

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the rows below the header in chunks, blank lines left out."""
        ended = False
        while not ended:
            before = self._rows.line_num
            rows: list[list[str]] = []
            broken: BadRow | None = None
            try:
                rows.extend(itertools.islice(self._rows, CHUNK_ROWS))
                ended = not rows
            except csv.Error as error:
                # What was read before the broken row is in `rows`; reading goes on after it.
                broken = BadRow(0, "", "", f"not valid CSV: {error}")
            except UnicodeDecodeError as error:
                raise self._not_utf8(error) from None
            if rows or broken:
                yield self._chunk(rows, before, broken)

    def _chunk(self, rows: list[list[str]], before: int, broken: BadRow | None) -> Chunk:
        width = len(self.columns)
        lines: Sequence[int] = range(before + 1, before + 1 + len(rows))
        if self._rows.line_num - before != len(rows):
            lines = _first_lines(rows, before)
        bad: list[BadRow] = []
        if broken is not None:
            line = before + 1 + sum(map(_line_count, rows))
            bad.append(BadRow(line, "", "", broken.reason))
        if set(map(len, rows)) - {width}:
            lines, rows = _even(lines, rows, width, bad)
        values = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in self.columns]
        return Chunk(self.columns, self._to, self._reference, lines, values, bad)

    def _not_utf8(self, error: UnicodeDecodeError) -> UnreadableListError:
        # The decoder works on blocks: complete lines before this block were all handed out.
        line = self._rows.line_num + 1 + error.object.count(b"\n", 0, error.start)
        return not_utf8(self.name, line, error.object[error.start])


def _line_count(row: list[str]) -> int:
    """Count the lines a row takes, a line end being \\n, \\r or \\r\\n."""
    return 1 + sum(
        field.count("\n") + field.count("\r") - field.count("\r\n")
        for field in row
        if "\n" in field or "\r" in field
    )


def _first_lines(rows: list[list[str]], before: int) -> list[int]:
    """Return the line each row begins on, if the first begins on line `before` + 1."""
    lines: list[int] = []
    line = before + 1
    for row in rows:
        lines.append(line)
        line += _line_count(row)
    return lines


def _even(
    lines: Sequence[int], rows: list[list[str]], width: int, bad: list[BadRow]
) -> tuple[list[int], list[list[str]]]:
    """Drop blank lines, fill short rows with "", cut empty fields beyond the header, set aside the rest."""
    kept_lines: list[int] = []
    kept: list[list[str]] = []
    for line, row in zip(lines, rows, strict=True):
        if not row:
            continue
        if len(row) < width:
            if width > 1 and not any(field.strip() for field in row):
                continue
            row.extend([""] * (width - len(row)))
        elif any(field.strip() for field in row[width:]):
            reason = (
                f"{len(row)} fields, but the header names {width}; quote a field that holds the delimiter"
            )
            bad.append(BadRow(line, "", "", reason, tuple(row)))
            continue
        kept_lines.append(line)
        kept.append(row[:width])
    return kept_lines, kept
