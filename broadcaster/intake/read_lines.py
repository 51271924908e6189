"""Reading lists with a recipient per line: bare numbers, or one JSON value each (NDJSON)."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import msgspec

from broadcaster.intake.detect import not_utf8
from broadcaster.intake.json_rows import JsonRows
from broadcaster.intake.table import CHUNK_ROWS, Chunk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.intake.json_rows import Entry
    from broadcaster.intake.sources import ListSource


def _numbered_lines(source: ListSource) -> Iterator[tuple[int, str]]:
    """Yield the lines that are not blank, with their numbers."""
    number = 0
    try:
        for number, line in enumerate(source.text(), 1):  # noqa: B007  (also needed in the error)
            if line := line.strip():  # noqa: PLW2901
                yield number, line
    except UnicodeDecodeError as error:
        line_number = number + 1 + error.object.count(b"\n", 0, error.start)
        raise not_utf8(source.name, line_number, error.object[error.start]) from None


class LinesReader:
    """One number per line; blank lines are left out. Raises `UnreadableListError` while iterating."""

    position = "line"

    def __init__(self, source: ListSource) -> None:
        self.source = source
        self.name = source.name

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the numbers in chunks of the one column `to`."""
        lines = _numbered_lines(self.source)
        while some := list(itertools.islice(lines, CHUNK_ROWS)):
            numbers, values = zip(*some, strict=True)
            yield Chunk(("to",), 0, None, numbers, [list(values)])


class NdjsonReader:
    """One JSON object (or string) per line, blank lines left out; see `json_rows` for its keys."""

    position = "line"

    def __init__(self, source: ListSource, *, to_column: str | None = None) -> None:
        self.source = source
        self.name = source.name
        self._rows = JsonRows(source.name, to_column)

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the rows in chunks; a line that is no JSON is a bad row."""
        lines = _numbered_lines(self.source)
        decode = msgspec.json.Decoder(float_hook=str).decode
        while some := list(itertools.islice(lines, CHUNK_ROWS)):
            entries: list[Entry] = []
            for number, line in some:
                try:
                    entries.append((number, decode(line)))
                except msgspec.DecodeError as error:
                    entries.append((number, msgspec.DecodeError(f"not valid JSON: {error}")))
            yield self._rows.chunk(entries)
