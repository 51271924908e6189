"""Reading opt-outs from a file: bare numbers, or a table as `opt-outs export` writes it.

Columns: `address` (or another name for a number's column), and where they are wanted `sender` (or `scope`,
`service`), `purpose`, `source`, `since` (a time, or unix seconds). Every fault names its line and column.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Final

from broadcaster.domain.addresses import AddressError, parse_address
from broadcaster.domain.opt_out_scopes import EVERYWHERE, parts_of_scope, scope_for, sender_of_scope
from broadcaster.domain.purpose import Purpose
from broadcaster.domain.times import TimeError, parse_moment
from broadcaster.intake.detect import header_of
from broadcaster.intake.faults import EmptyListError, Fault, FaultList, shown_value
from broadcaster.intake.reader import ListOptions, read_list
from broadcaster.intake.sources import open_source
from broadcaster.intake.table import BadRow, plain_name
from broadcaster.ledger.optouts import OptOut
from broadcaster.ledger.people_key import is_hashed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from broadcaster.intake.faults import Rejects
    from broadcaster.intake.table import Chunk, ListReader

LONGEST_SOURCE: Final = 100
_ADDRESS: Final = "address"
_SENDER: Final = ("sender", "scope", "service")
_PURPOSES: Final = tuple(purpose.value for purpose in Purpose)
_UNIX: Final = re.compile(r"[0-9]{1,10}")
#: An apostrophe that an export put before what a spreadsheet would take for a formula (reporting/exports.py).
_QUOTED: Final = re.compile("'[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


class _CellError(ValueError):
    """What is wrong with one cell."""

    def __init__(self, column: str, value: str, reason: str) -> None:
        self.column = column
        self.value = value
        self.reason = reason
        super().__init__(reason)


def read_opt_outs(
    path: str,
    *,
    scope: str = EVERYWHERE,
    source: str = "import",
    region: str | None = None,
    rejects: Rejects | None = None,
    encoding: str | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> list[OptOut]:
    """Return the opt-outs in the file at `path` (`-`: standard input).

    `scope` and `source` are what a row has that says nothing itself. Rows with faults go to `rejects` if
    given; `note` is told what to know of how the file was read. Raises a `ListError`: else the faults',
    unreadable, or nothing in it.
    """
    opened = open_source(path, encoding)
    try:
        named = re.search(rf"\b{_ADDRESS}\b", header_of(opened.sample), re.IGNORECASE)
        reader = read_list(opened, ListOptions(to_column=_ADDRESS if named else None))
        entries = _read(reader, _Rows(scope, source, region), rejects)
        for text in reader.notes:
            note(text)
        return entries
    finally:
        opened.release()


def _read(reader: ListReader, rows: _Rows, rejects: Rejects | None) -> list[OptOut]:
    entries: list[OptOut] = []
    faults, seen = FaultList(), 0
    for chunk in reader:
        seen += len(chunk) + len(chunk.bad)
        bad = list(chunk.bad)
        for one in rows.entries(chunk):
            (bad if isinstance(one, BadRow) else entries).append(one)  # type: ignore[arg-type]
        for row in sorted(bad, key=lambda row: row.line):
            faults.add(Fault(row.line, row.column, shown_value(row.value), row.reason))
            if rejects is not None:
                rejects.add(row.line, row.reason, chunk.columns, row.values)
    if not seen:
        raise EmptyListError(f"{reader.name} has no opt-outs in it")
    if faults.total and rejects is None:
        raise faults.refusal(reader.name, seen, verb="added")
    return entries


class _Rows:
    """Makes opt-outs of rows. `scope` and `source` are those of a row that has none."""

    def __init__(self, scope: str, source: str, region: str | None) -> None:
        self._sender, self._purpose = parts_of_scope(scope)
        self._source = source
        self._region = region
        self._now = time.time()

    def entries(self, chunk: Chunk) -> Iterator[OptOut | BadRow]:
        """Yield each row of a chunk as an opt-out, or what is wrong with it."""
        names = {plain_name(column): place for place, column in reversed(list(enumerate(chunk.columns)))}
        at = next((names[name] for name in _SENDER if name in names), None)
        columns = [at, *(names.get(name) for name in ("purpose", "source", "since"))]
        for index, line in enumerate(chunk.lines):
            row = chunk.row(index)
            cells = ["" if place is None else _plain(row[place]) for place in columns]
            try:
                address = self._address(row[chunk.to], chunk.columns[chunk.to])
                yield OptOut(address, self._scope(cells[0], cells[1]), *self._known(cells[2], cells[3]))
            except _CellError as error:
                yield BadRow(line, error.column, error.value, error.reason, row)

    def _address(self, text: str, column: str) -> str:
        if is_hashed(text.strip()):
            return text.strip()
        try:
            return parse_address(text, self._region)
        except AddressError as error:
            raise _CellError(column, text, str(error)) from None

    def _scope(self, sender: str, purpose: str) -> str:
        name, of_scope = parts_of_scope(sender)
        try:
            found = sender_of_scope(name) if name not in ("", EVERYWHERE) else name
        except AddressError as error:
            raise _CellError("sender", sender, str(error)) from None
        wanted = purpose or of_scope or ("" if sender else self._purpose or "")
        if wanted and wanted not in _PURPOSES:
            known = ", ".join(_PURPOSES)
            raise _CellError("purpose", wanted, f"{wanted!r} is no purpose: {known}, or nothing for all")
        return scope_for(found or self._sender, wanted)

    def _known(self, source: str, since: str) -> tuple[str, int]:
        """Return how we know, and since when."""
        if len(source) > LONGEST_SOURCE:
            raise _CellError("source", source, f"longer than {LONGEST_SOURCE} characters")
        return source or self._source, self._since(since) if since else 0

    def _since(self, text: str) -> int:
        try:
            at = float(text) if _UNIX.fullmatch(text) else parse_moment(text, "UTC").timestamp()
        except TimeError as error:
            raise _CellError("since", text, str(error)) from None
        if not 0 <= at <= self._now:
            raise _CellError("since", text, f"{text!r} is yet to come")
        return int(at)


def _plain(cell: str) -> str:
    text = cell.strip()
    return text[1:] if _QUOTED.match(text) else text
