"""Open a list: look at its beginning, choose how to read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from broadcaster.intake.detect import Format, detect_delimiter, detect_format
from broadcaster.intake.faults import ColumnError
from broadcaster.intake.read_csv import CsvReader
from broadcaster.intake.read_json import JsonReader
from broadcaster.intake.read_lines import LinesReader, NdjsonReader
from broadcaster.intake.sources import ListSource, open_source

if TYPE_CHECKING:
    from broadcaster.intake.table import ListReader


class ListOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to read a list, where it should not be told from its content.

    `to_column` names the column (or JSON key) with the numbers. `encoding` is one as Python names it.
    """

    format: Format | None = None
    delimiter: str | None = None
    to_column: str | None = None
    encoding: str | None = None


def open_list(path: str, options: ListOptions | None = None) -> ListReader:
    """Open the list at `path` (`-`: standard input), which the caller releases: `reader.release()`.

    Raises a `ListError`: unreadable, empty, or without a column of recipients.
    """
    options = options or ListOptions()
    source = open_source(path, options.encoding)
    try:
        return read_list(source, options)
    except BaseException:
        source.release()
        raise


def read_list(source: ListSource, options: ListOptions) -> ListReader:
    """Return the reader that fits what `source` holds; raises like `open_list`."""
    sample = source.sample
    match options.format or detect_format(sample):
        case Format.JSON:
            return JsonReader(source, to_column=options.to_column)
        case Format.NDJSON:
            return NdjsonReader(source, to_column=options.to_column)
        case Format.LINES:
            return LinesReader(source)
        case Format.CSV:
            delimiter = options.delimiter or detect_delimiter(sample)
            if len(delimiter) != 1 or delimiter in '"\r\n':
                raise ColumnError(
                    f"{delimiter!r} can't separate columns: give one character, such as ; or a tab."
                )
            return CsvReader(source, delimiter=delimiter, to_column=options.to_column)
