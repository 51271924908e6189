"""Looking at a list's beginning before it is read: which channels are in it decides the senders."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING

from broadcaster.domain.addresses import channel_written

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.domain.addresses import Channel
    from broadcaster.intake.table import Chunk, ListReader


class Peeked:
    """A reader whose first chunks were looked at. `whole`: they are all there is."""

    def __init__(self, reader: ListReader) -> None:
        self._reader = reader
        self._chunks = iter(reader)
        self.first = list(islice(self._chunks, 2))
        self.whole = len(self.first) < 2  # noqa: PLR2004 - two were asked for
        self.name = reader.name
        self.position = reader.position

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the rows in chunks."""
        return chain(self.first, self._chunks)

    @property
    def encoding(self) -> str | None:
        """What the list is read as; None where it came as values."""
        return self._reader.encoding

    @property
    def notes(self) -> tuple[str, ...]:
        """What whoever sent the list should know of how it was read."""
        return self._reader.notes

    def digest(self) -> str:
        """Return the list's digest, reading what is left."""
        return self._reader.digest()

    def release(self) -> None:
        """Close what is open."""
        self._reader.release()

    @property
    def done(self) -> tuple[int, int | None]:
        """Bytes read so far, and how many there are; None for a pipe."""
        source = getattr(self._reader, "source", None)
        return (0, None) if source is None else (source.bytes_read, source.size)

    @property
    def channels(self) -> set[Channel]:
        """The channels of a list that was looked at whole; none if there is more."""
        if not self.whole:
            return set()
        return {channel_written(text) for part in self.first for text in part.values[part.to]}
