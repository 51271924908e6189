"""A list's text in blocks of whole lines, numbered: what all line-wise readers stand on."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broadcaster.intake.sources import ListSource

#: Enough that work per block does not count, few enough to stay in cache: some two thousand rows.
BLOCK_CHARACTERS: Final = 96 * 1024


class Block(NamedTuple):
    r"""Some whole lines, `first` the number of the first. They end with \n, \r or \r\n; the last may not."""

    first: int
    text: str

    def lines(self) -> list[str]:
        """Return the lines with their ends."""
        return list(io.StringIO(self.text, newline=""))


class TextLines:
    """The lines of a source, to be read once, in whatever portions."""

    def __init__(self, source: ListSource) -> None:
        self._text = source.text(lines=True)
        self._count = 0
        self._back = ""

    def blocks(self) -> Iterator[Block]:
        """Yield what is left in blocks. Raises what reading the source raises."""
        while text := self._read():
            first = self._count + 1
            self._count += _line_count(text)
            yield Block(first, text)

    def one_by_one(self, taken: list[str] | None = None) -> Iterator[str]:
        """Yield what is left line by line; each is put into `taken`, too."""
        while line := self._text.readline():
            self._count += 1
            if taken is not None:
                taken.append(line)
            yield line

    def give_back(self, lines: Sequence[str]) -> None:
        """Have the last lines of the last block read again, as a block of their own."""
        self._back = "".join(lines)
        self._count -= len(lines)

    def _read(self) -> str:
        if self._back:
            text, self._back = self._back, ""
            return text
        return self._text.read(BLOCK_CHARACTERS) + self._text.readline()


def _line_count(text: str) -> int:
    ends = text.count("\n")
    if "\r" in text:
        ends += text.count("\r") - text.count("\r\n")
    return ends if text[-1] in "\r\n" else ends + 1
