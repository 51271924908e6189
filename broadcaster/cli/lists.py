"""Opening a list for `send`, and saying how far it is read."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from broadcaster.intake.faults import FaultList
from broadcaster.intake.peek import Peeked
from broadcaster.intake.reader import ListOptions, open_list

if TYPE_CHECKING:
    from rich.status import Status

    from broadcaster.cli.send import SendOptions
    from broadcaster.intake.summary import Summary


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
    how = ListOptions(delimiter=options.delimiter, to_column=options.to_column, encoding=options.encoding)
    reader = open_list(options.file, how)
    try:
        return Peeked(reader)
    except BaseException:
        reader.release()
        raise


def fault_list(name: str) -> FaultList:
    """Return where all faults of a list go: a file in the temporary directory, made with the first fault."""
    with tempfile.NamedTemporaryFile(prefix=f"faults-{Path(name).stem}-", suffix=".csv", delete=True) as file:
        path = Path(file.name)
    return FaultList(path)
