"""JSON values as rows: a string is a number; an object has the number, a reference and variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from broadcaster.intake.faults import ColumnError
from broadcaster.intake.table import (
    REFERENCE_COLUMN,
    BadRow,
    Chunk,
    find_reference_column,
    find_to_column,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

#: A decoded value; an `UndecodableError` stands for text that is no JSON.
Entry = Any
_VARIABLES: Final = "variables"
_TO: Final = "to"


class _BadValueError(ValueError):
    """A value that is no row; `column` is the key at fault."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column = column


class UndecodableError(ValueError):
    """Text that is no JSON: why, and the text itself."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(reason)
        self.text = text


class JsonRows:
    """Turns decoded JSON values into chunks.

    An object's keys are its columns, those inside `variables` too; an object has the columns `to` and
    `reference` whatever its keys for them are called. Columns are the union over a chunk, "" where a
    row lacks one. Numbers stay as written, true and false are words, null is "".
    """

    def __init__(self, name: str, to_column: str | None = None) -> None:
        self._name = name
        self._to_column = to_column
        self._keys: dict[tuple[str, ...], tuple[str, str | None]] = {}
        self._some_row = False

    def chunk(self, numbers: Sequence[int], entries: Sequence[Entry]) -> Chunk:
        """Return `entries`, which stand on the lines (or are the items) `numbers`, as a chunk.

        Raises `ColumnError` if none up to here says who to send to.
        """
        values = self._columns_alike(entries)
        if values is None:
            return self._chunk_of_all_kinds(numbers, entries)
        self._some_row = True
        return _chunk(values, numbers, [])

    def _columns_alike(self, entries: Sequence[Entry]) -> dict[str, Sequence[str]] | None:
        """Return the columns of rows that all have the same keys and good values; None if they aren't that.

        It comes to what `_row` makes of each, without a step of Python for each.
        """
        kinds = set(map(type, entries))
        if kinds == {str}:
            return {_TO: entries}
        outer = _columns_of(entries) if kinds == {dict} else None
        if outer is None:
            return None
        inner = _columns_of(outer.pop(_VARIABLES)) if _VARIABLES in outer else {}
        if inner is None:
            return None
        try:
            to, reference = self._columns(tuple(outer))
            table = {name: _texts(name, column) for name, column in {**inner, **outer}.items()}
        except (ColumnError, _BadValueError):
            return None
        table[_TO] = table[to]
        if reference is not None:
            table[REFERENCE_COLUMN] = table[reference]
        return table

    def _chunk_of_all_kinds(self, numbers: Sequence[int], entries: Sequence[Entry]) -> Chunk:
        rows: list[dict[str, str]] = []
        lines: list[int] = []
        bad: list[BadRow] = []
        no_column: ColumnError | None = None
        for line, value in zip(numbers, entries, strict=True):
            try:
                rows.append(self._row(value))
                lines.append(line)
            except _BadValueError as error:
                raw = _raw(value)
                bad.append(BadRow(line, error.column, raw, str(error), (raw,)))
            except ColumnError as error:
                no_column = no_column or error
                reason = f"no key {self._to_column or _TO!r} with the recipient's number"
                bad.append(BadRow(line, "", _raw(value), reason, (_raw(value),)))
        self._some_row = self._some_row or bool(rows)
        if no_column is not None and not self._some_row:
            raise no_column
        return _table(rows, lines, bad)

    def _row(self, value: Any) -> dict[str, str]:
        if isinstance(value, str):
            return {_TO: value}
        if isinstance(value, int) and not isinstance(value, bool):
            return {_TO: str(value)}
        if isinstance(value, UndecodableError):
            raise _BadValueError("", str(value))
        if not isinstance(value, dict):
            raise _BadValueError("", 'neither a number in quotes nor an object like {"to": …}')
        inner = value.get(_VARIABLES)
        if isinstance(inner, dict):
            outer = {key: entry for key, entry in value.items() if key != _VARIABLES}
            value = {**inner, **outer}
        elif inner is not None:
            raise _BadValueError(_VARIABLES, "variables must be an object of names and texts")
        else:
            outer = value
        to, reference = self._columns(tuple(outer))
        row = {key: entry if isinstance(entry, str) else _text(key, entry) for key, entry in value.items()}
        row[_TO] = row[to]
        if reference is not None:
            row[REFERENCE_COLUMN] = row[reference]
        return row

    def _columns(self, keys: tuple[str, ...]) -> tuple[str, str | None]:
        found = self._keys.get(keys)
        if found is None:
            reference = find_reference_column(keys)
            found = (
                keys[find_to_column(keys, self._to_column, self._name)],
                None if reference is None else keys[reference],
            )
            if len(self._keys) < 1000:  # noqa: PLR2004  (lists with as many shapes as rows stay bounded)
                self._keys[keys] = found
        return found


def _text(key: str, value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    raise _BadValueError(key, "must be text or a number, not a list or an object")


def _raw(value: Any) -> str:
    return value.text if isinstance(value, UndecodableError) else msgspec.json.encode(value).decode()


def _columns_of(objects: Sequence[Any]) -> dict[str, Sequence[Any]] | None:
    """Return the values by key if all are objects with the same keys in the same order, else None."""
    if set(map(type, objects)) != {dict}:
        return None
    shapes = set(map(tuple, objects))
    if len(shapes) > 1:
        return None
    columns = zip(*map(dict.values, objects), strict=True)
    return dict(zip(shapes.pop(), columns, strict=False))  # objects without any key have no columns


def _texts(name: str, values: Sequence[Any]) -> Sequence[str]:
    if set(map(type, values)) == {str}:
        return values
    return [value if isinstance(value, str) else _text(name, value) for value in values]


def _table(rows: list[dict[str, str]], lines: list[int], bad: list[BadRow]) -> Chunk:
    names = {name: None for keys in {tuple(row): None for row in rows} for name in keys}
    return _chunk({name: [row.get(name, "") for row in rows] for name in {_TO: None, **names}}, lines, bad)


def _chunk(table: dict[str, Sequence[str]], lines: Sequence[int], bad: list[BadRow]) -> Chunk:
    """Return columns by name as a chunk, the recipient's first and the reference next."""
    first = (_TO, REFERENCE_COLUMN) if REFERENCE_COLUMN in table else (_TO,)
    columns = tuple(dict.fromkeys((*first, *table)))
    values = [list(table[name]) for name in columns]
    return Chunk(columns, 0, 1 if len(first) > 1 else None, lines, values, bad)
