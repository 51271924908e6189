"""Reading lists with a recipient per line: bare numbers, or one JSON value each (NDJSON)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from broadcaster.intake.json_rows import JsonRows, UndecodableError
from broadcaster.intake.table import Chunk, SourceReader
from broadcaster.intake.text_lines import TextLines

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.intake.json_rows import Entry
    from broadcaster.intake.sources import ListSource


def _numbered(source: ListSource) -> Iterator[list[tuple[int, str]]]:
    """Yield groups of (line number, line) without the blank ones."""
    for first, lines in TextLines(source).groups():
        yield [(number, text) for number, line in enumerate(lines, first) if (text := line.strip())]


class LinesReader(SourceReader):
    """One number per line, in quotes or not; blank lines are left out.

    Raises `UnreadableListError` while iterating.
    """

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the numbers in chunks of the one column `to`."""
        for some in filter(None, _numbered(self.source)):
            numbers, texts = zip(*some, strict=True)
            yield Chunk(("to",), 0, None, numbers, [[text.strip('"') for text in texts]])


class NdjsonReader(SourceReader):
    """One JSON object (or string) per line, blank lines left out; see `json_rows` for its keys."""

    def __init__(self, source: ListSource, *, to_column: str | None = None) -> None:
        super().__init__(source)
        self._rows = JsonRows(source.name, to_column)

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the rows in chunks; a line that is no JSON is a bad row."""
        # Numbers with a fraction stay as written: 1.10 is not 1.1 in a message.
        decode = msgspec.json.Decoder(float_hook=str).decode
        for some in filter(None, _numbered(self.source)):
            entries: list[Entry] = []
            for number, line in some:
                try:
                    entries.append((number, decode(line)))
                except msgspec.DecodeError as error:
                    entries.append((number, UndecodableError(f"not valid JSON: {error}", line)))
            yield self._rows.chunk(entries)
