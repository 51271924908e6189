"""Rows as the readers yield them: chunks of a table, column by column."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

from broadcaster.intake.detect import looks_like_an_address
from broadcaster.intake.faults import ColumnError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from broadcaster.intake.sources import ListSource

#: About so many rows are a chunk: enough that work per chunk does not count, few enough to stay in cache.
CHUNK_ROWS: Final = 2048
#: Names under which lists keep the recipient's number, best first; case, spaces and dashes don't matter.
TO_COLUMNS: Final = ("to", "phone", "number", "mobile", "phone_number", "tel", "msisdn", "recipient")
REFERENCE_COLUMN: Final = "reference"
_SHOWN_COLUMNS: Final = 30


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that could not be read into the table. `value` and `values` are as they came."""

    line: int
    column: str
    value: str
    reason: str
    values: Sequence[str] = ()


@dataclass(slots=True)
class Chunk:
    """Some rows. `values` has one list per column, all as long as `lines`.

    `lines` are the lines on which the rows begin, from 1, or the positions of a JSON array's items.
    `to` and `reference` are indexes into `columns`; there may be no `reference`.
    """

    columns: tuple[str, ...]
    to: int
    reference: int | None
    lines: Sequence[int]
    values: list[list[str]]
    bad: list[BadRow] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.lines)

    def row(self, index: int) -> list[str]:
        """Return row `index` as it came."""
        return [column[index] for column in self.values]


class ListReader(Protocol):
    """A list that can be read once, from its beginning to its end."""

    @property
    def name(self) -> str:
        """What to call the list in an error: its path."""

    @property
    def position(self) -> str:
        """What its `lines` count: "line" or "item"."""

    def __iter__(self) -> Iterator[Chunk]:
        """Yield the rows in chunks."""

    @property
    def encoding(self) -> str | None:
        """What its text is read as, once it is read; None where it came as values."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What whoever sent it should know of how it was read."""

    def digest(self) -> str:
        """Return the SHA-256 of the list in hex; to be asked after the last row."""

    def release(self) -> None:
        """Close what is open."""


class SourceReader:
    """What readers of bytes have in common; `source.bytes_read` of `source.size` is how far they are."""

    position = "line"

    def __init__(self, source: ListSource) -> None:
        self.source = source
        self.name = source.name

    @property
    def encoding(self) -> str | None:
        """What its text is read as, as far as it was read."""
        return self.source.encoding

    @property
    def notes(self) -> tuple[str, ...]:
        """Where its encoding was guessed, that it was."""
        return () if self.source.guess is None else (f"{self.name} is {self.source.guess}",)

    def digest(self) -> str:
        """Return the SHA-256 of all bytes as they came, in hex; to be asked after the last row."""
        return self.source.digest()

    def release(self) -> None:
        """Close the file, if it was opened for this reader."""
        self.source.release()


def plain_name(name: str) -> str:
    """Return a column's name as it is compared: lower case, underscores for spaces and dashes."""
    return re.sub(r"[\s\-]+", "_", name.strip()).lower()


def find_to_column(columns: Sequence[str], wanted: str | None, name: str) -> int:
    """Return the index of the recipient's column.

    `wanted` is the name asked for (exactly, or else regardless of case); None looks for the usual ones.
    Raises `ColumnError`, naming the columns of list `name`.
    """
    plain = [plain_name(column) for column in columns]
    if wanted is not None:
        if wanted in columns:
            return columns.index(wanted)
        if plain_name(wanted) in plain:
            return plain.index(plain_name(wanted))
        raise ColumnError(f"{name} has no column {wanted!r}. {listed(columns)}")
    for usual in TO_COLUMNS:
        if usual in plain:
            return plain.index(usual)
    if any(looks_like_an_address(column) for column in columns):
        raise ColumnError(
            f"{name} begins with a recipient instead of column names. "
            "Put a line of names above it, such as: to,name"
        )
    raise ColumnError(
        f"no column of {name} is called {', '.join(TO_COLUMNS[:-1])} or {TO_COLUMNS[-1]}. "
        f"Name the one with the numbers: --to-column COLUMN. {listed(columns)}"
    )


def find_reference_column(columns: Sequence[str]) -> int | None:
    """Return the index of the column with the caller's own ids, if there is one."""
    plain = [plain_name(column) for column in columns]
    return plain.index(REFERENCE_COLUMN) if REFERENCE_COLUMN in plain else None


def listed(columns: Sequence[str]) -> str:
    """Return a sentence that names `columns`, the first thirty of them."""
    if not columns:
        return "It has no columns."
    more = f" and {len(columns) - _SHOWN_COLUMNS} more" if len(columns) > _SHOWN_COLUMNS else ""
    return f"Its columns: {', '.join(map(repr, columns[:_SHOWN_COLUMNS]))}{more}."


def header_names(cells: Sequence[str], name: str) -> tuple[str, ...]:
    """Return a header's cells as column names, an empty cell as `column_3`.

    Raises `ColumnError` for a name that is there twice: which one a template means can't be told.
    """
    names: list[str] = []
    for number, cell in enumerate(cells, 1):
        column = cell.strip().strip("\ufeff").strip() or f"column_{number}"
        if column in names:
            first = names.index(column) + 1
            raise ColumnError(f"{name} has two columns called {column!r} ({first} and {number}); rename one.")
        names.append(column)
    return tuple(names)
