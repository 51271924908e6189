"""What is wrong with a list: one fault per bad row, and the errors that refuse a list as a whole.

::

    ListError
    ├── UnreadableListError   not a file we can read: missing, binary, in no one encoding, broken JSON
    ├── TooLongListError      more of it than is taken here
    ├── ColumnError           no such column; names the ones there are
    ├── EmptyListError        a list without a recipient
    └── ListRefusedError      rows with faults, and nobody asked to go on without them
"""

from __future__ import annotations

import contextlib
import csv
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, Self, TextIO

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

#: How many faults are kept in memory and shown; every one is in the file, if a file was asked for.
SHOWN_FAULTS: Final = 100
_SHOWN_CHARACTERS: Final = 40
_GO_ON: Final = {"queued": "send", "added": "add"}
_LOOKS_LIKE_A_NUMBER: Final = re.compile(r"(?:[0-9][^0-9A-Za-z,;|\n]{0,3}){7,}")


class ListError(ValueError):
    """A recipient list that cannot be taken as it is."""


class UnreadableListError(ListError):
    """The bytes are not a list: no such file, no text, not JSON where JSON was promised."""


class TooLongListError(ListError):
    """There is more in the list than whoever reads it takes."""


class ColumnError(ListError):
    """A column that is needed is not there, or is there twice."""


class EmptyListError(ListError):
    """There is no recipient in the list."""


class ListRefusedError(ListError):
    """Rows are faulty and no rejects file takes them; `shown` holds the first hundred of `total` faults."""

    def __init__(
        self,
        *,
        name: str,
        total: int,
        rows: int,
        shown: tuple[Fault, ...],
        path: Path | None,
        verb: str = "queued",
    ) -> None:
        self.name = name
        self.total = total
        self.rows = rows
        self.shown = shown
        self.path = path
        where = f"; every fault is in {path}" if path is not None else ""
        super().__init__(
            f"{name}: {total:,} of {rows:,} rows have a fault, so nothing was {verb}{where}. "
            f"Correct them, or {_GO_ON.get(verb, verb)} the good rows with --rejects FILE."
        )


class Fault(msgspec.Struct, frozen=True):
    """One bad row. `line` counts from 1 (items of a JSON array likewise); `column` is "" for the whole row.

    `value` is fit for a screen and a log: numbers masked, long text cut.
    """

    line: int
    column: str
    value: str
    reason: str


def shown_value(text: str) -> str:
    """Return `text` as a fault may show it: at most 40 characters, numbers masked however written."""
    text = _LOOKS_LIKE_A_NUMBER.sub(_masked, text)
    return text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"


def _masked(match: re.Match[str]) -> str:
    """Hide all digits of a number but the first three and the last two."""
    text = match[0]
    digits = [place for place, character in enumerate(text) if character.isdigit()]
    hidden = set(digits[3:-2])
    return "".join("•" if place in hidden else character for place, character in enumerate(text))


class FaultList:
    """All faults of a list in bounded memory: the first hundred here, every one in `path` if given.

    The file is a CSV with the columns line, column, value, reason; it is created with the first fault.
    Raises `UnreadableListError` if it cannot be written.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.total = 0
        self.shown: list[Fault] = []
        self._file: TextIO | None = None
        self._files = contextlib.ExitStack()

    def add(self, fault: Fault) -> None:
        """Count a fault, keep it if it is among the first hundred, write it if there is a file."""
        self.total += 1
        if len(self.shown) < SHOWN_FAULTS:
            self.shown.append(fault)
        if self.path is None:
            return
        if self._file is None:
            self._file = self._files.enter_context(open_for_writing(self.path))
            csv.writer(self._file).writerow(("line", "column", "value", "reason"))
        csv.writer(self._file).writerow((fault.line, fault.column, fault.value, fault.reason))

    def close(self) -> None:
        """Finish the file."""
        self._files.close()
        self._file = None

    def refusal(self, name: str, rows: int, *, verb: str = "queued") -> ListRefusedError:
        """Return the error that refuses list `name` of `rows` rows for these faults: none was `verb`."""
        path = self.path if self.total else None
        return ListRefusedError(
            name=name, total=self.total, rows=rows, shown=tuple(self.shown), path=path, verb=verb
        )


class Rejects(Protocol):
    """Where bad rows go when the good ones are taken without them."""

    def add(self, line: int, reason: str, columns: tuple[str, ...], values: Sequence[str]) -> None:
        """Take one bad row as it came."""


class RejectOrder:
    """Puts bad rows under one header: the first row's columns; what others have beyond them comes last."""

    def __init__(self, header: tuple[str, ...] | None = None) -> None:
        self.header = header

    def arranged(self, columns: tuple[str, ...], values: Sequence[str]) -> Sequence[str]:
        """Return a row's values in the header's order; the first row decides on the header."""
        if columns[:2] == ("line", "reason"):  # corrected rejects, sent again: only the new ones count
            columns, values = columns[2:], values[2:]
        if self.header is None:
            self.header = columns
        if columns != self.header:
            by_name = dict(zip(columns, values, strict=False))
            values = [*(by_name.pop(name, "") for name in self.header), *by_name.values()]
        return values


class RejectsFile:
    """The CSV that takes bad rows as they came: line, reason, then the list's own columns.

    Corrected, it can be sent as a list itself. It is created at once, so that an older one never
    passes for this list's. Raises `UnreadableListError` if it cannot be written, or is the list
    itself: `list_path`, which writing would empty while it is being read.
    """

    def __init__(self, path: Path, *, list_path: str = "-") -> None:
        if list_path != "-" and path.exists() and path.samefile(list_path):
            raise UnreadableListError(f"the rejects would overwrite the list {path}; name another file.")
        self.path = path
        self.count = 0
        self._files = contextlib.ExitStack()
        self._writer = csv.writer(self._files.enter_context(open_for_writing(path)))
        self._order = RejectOrder()

    def add(self, line: int, reason: str, columns: tuple[str, ...], values: Sequence[str]) -> None:
        """Write one bad row; lists whose rows differ in columns keep the first row's order, new ones last."""
        first = self._order.header is None
        values = self._order.arranged(columns, values)
        if first:
            self._writer.writerow(("line", "reason", *(self._order.header or ())))
        self._writer.writerow((line, reason, *values))
        self.count += 1

    def close(self) -> None:
        """Finish the file."""
        self._files.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def open_for_writing(path: Path) -> TextIO:
    """Open `path` as a new UTF-8 CSV; raises `UnreadableListError` in words a person can use."""
    try:
        return Path(path).open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise UnreadableListError(f"cannot write {path}: {error.strerror or error}") from None
