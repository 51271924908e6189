"""Reading lists with a recipient per line: bare numbers, or one JSON value each (NDJSON)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from broadcaster.intake.json_rows import JsonRows, UndecodableError
from broadcaster.intake.table import Chunk, SourceReader
from broadcaster.intake.text_lines import TextLines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broadcaster.intake.json_rows import Entry
    from broadcaster.intake.sources import ListSource
    from broadcaster.intake.text_lines import Block


def _numbered(block: Block) -> tuple[Sequence[int], list[str]]:
    """Return the lines of a block, stripped, and their numbers, without the blank ones."""
    texts = list(map(str.strip, block.lines()))
    if all(texts):
        return range(block.first, block.first + len(texts)), texts
    numbers = [number for number, text in enumerate(texts, block.first) if text]
    return numbers, list(filter(None, texts))


class LinesReader(SourceReader):
    """One number per line, in quotes or not; blank lines are left out.

    Raises `UnreadableListError` while iterating.
    """

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the numbers in chunks of the one column `to`."""
        for block in TextLines(self.source).blocks():
            numbers, texts = _numbered(block)
            if '"' in block.text:
                texts = [text.strip('"') for text in texts]
            if texts:
                yield Chunk(("to",), 0, None, numbers, [texts])


class NdjsonReader(SourceReader):
    """One JSON object (or string) per line, blank lines left out; see `json_rows` for its keys."""

    def __init__(self, source: ListSource, *, to_column: str | None = None) -> None:
        super().__init__(source)
        self._rows = JsonRows(source.name, to_column)
        # Numbers with a fraction stay as written: 1.10 is not 1.1 in a message.
        self._decoder = msgspec.json.Decoder(float_hook=str)

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the rows in chunks; a line that is no JSON is a bad row."""
        for block in TextLines(self.source).blocks():
            numbers, texts = _numbered(block)
            if texts:
                yield self._rows.chunk(numbers, self._decoded(texts))

    def _decoded(self, texts: list[str]) -> list[Entry]:
        decode = self._decoder.decode
        try:
            return list(map(decode, texts))
        except msgspec.DecodeError:
            return list(map(self._decoded_or_not, texts))

    def _decoded_or_not(self, text: str) -> Entry:
        try:
            return self._decoder.decode(text)
        except msgspec.DecodeError as error:
            return UndecodableError(f"not valid JSON: {error}", text)
