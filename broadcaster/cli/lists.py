"""Opening a list for `send`, and looking at its beginning: which channels are in it decides the senders."""

from __future__ import annotations

import sys
import tempfile
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from broadcaster.domain.addresses import Channel
from broadcaster.intake.faults import FaultList
from broadcaster.intake.reader import ListOptions, open_list
from broadcaster.intake.senders import senders_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.status import Status

    from broadcaster.cli.send import SendOptions
    from broadcaster.domain.senders import Sender
    from broadcaster.intake.summary import Summary
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
        return {
            Channel.WHATSAPP if text.strip().lower().startswith("whatsapp:") else Channel.SMS
            for part in self.first
            for text in part.values[part.to]
        }


class Reading:
    """Says on a terminal how far a list is read."""

    def __init__(self, reader: Peeked) -> None:
        self._reader = reader
        self._status: Status | None = None

    def update(self, summary: Summary) -> None:
        """Show the rows read, and the share of the file that is."""
        if not sys.stderr.isatty():
            return
        if self._status is None:
            from rich.console import Console  # noqa: PLC0415 - only a terminal needs it

            self._status = Console(stderr=True).status("")
            self._status.start()
        read, size = self._reader.done
        share = f" ({read / size:.0%})" if size else ""
        self._status.update(f"reading {self._reader.name}: {summary.rows:,} rows{share}")

    def close(self) -> None:
        """Leave the screen to others."""
        if self._status is not None:
            self._status.stop()
            self._status = None


def open_peeked(options: SendOptions) -> Peeked:
    """Open the list. Raises a `ListError`."""
    reader = open_list(options.file, ListOptions(delimiter=options.delimiter, to_column=options.to_column))
    try:
        return Peeked(reader)
    except BaseException:
        reader.release()
        raise


def senders_of(options: SendOptions, reader: Peeked) -> tuple[Sender, ...]:
    """Return who sends to this list. Raises AddressError or NoSenderError."""
    return senders_for(options.settings, options.senders, options.service, reader.channels)


def fault_list(name: str) -> FaultList:
    """Return where all faults of a list go: a file in the temporary directory, made with the first fault."""
    with tempfile.NamedTemporaryFile(prefix=f"faults-{Path(name).stem}-", suffix=".csv", delete=True) as file:
        path = Path(file.name)
    return FaultList(path)
