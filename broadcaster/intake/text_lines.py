"""The lines of a list's text, numbered, in groups: what all line-wise readers stand on."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.intake.sources import ListSource

_GROUP_LINES: Final = 1024


class TextLines:
    r"""Lines end with \n, \r or \r\n, which they keep. Iterate once.

    Lines that were handed out can be looked at again until `forget` lets them go.
    """

    def __init__(self, source: ListSource) -> None:
        self._text = source.text(lines=True)
        self._count = 0
        self._kept: list[tuple[int, list[str]]] = []

    def groups(self) -> Iterator[tuple[int, list[str]]]:
        """Yield (number of the first line, lines). Raises what reading the source raises."""
        while lines := list(itertools.islice(self._text, _GROUP_LINES)):
            first = self._count + 1
            self._count += len(lines)
            yield first, lines

    def each(self) -> Iterator[str]:
        """Return all lines, one at a time, kept for `between`."""
        return itertools.chain.from_iterable(self._kept_groups())

    def _kept_groups(self) -> Iterator[list[str]]:
        for first, lines in self.groups():
            self._kept.append((first, lines))
            yield lines

    def between(self, first: int, last: int) -> list[str]:
        """Return the lines `first` to `last`, both included, as far as they are kept."""
        kept = itertools.chain.from_iterable(enumerate(lines, start) for start, lines in self._kept)
        return [line for number, line in kept if first <= number <= last]

    def forget(self, before: int) -> None:
        """Let go of the lines before `before`."""
        self._kept = [(first, lines) for first, lines in self._kept if first + len(lines) > before]
