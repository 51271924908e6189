"""What kind of list this is, told from its first 64 kB."""

from __future__ import annotations

import csv
import enum
import io
import itertools
import re
from typing import Final

DELIMITERS: Final = (",", ";", "\t", "|")
_ROWS_LOOKED_AT: Final = 50
_LIKE_AN_ADDRESS: Final = re.compile(
    r"(?:whatsapp:|tel:)?(?:[^a-z]*[0-9][^a-z]*|[0-9]([.,][0-9]+)?e\+?[0-9]+)", re.IGNORECASE
)
#: The line that Excel wants before a CSV's header to know its delimiter.
_SEPARATOR_LINE: Final = re.compile(r'\ufeff?"?sep=(.)"?[\s,;|]*', re.IGNORECASE)


class Format(enum.StrEnum):
    """How recipients are written down."""

    CSV = "csv"
    NDJSON = "ndjson"
    JSON = "json"
    LINES = "lines"


def detect_format(sample: str) -> Format:
    """Tell the format from a sample that begins with something other than white space.

    `[` begins a JSON array, `{` an object per line. A first line with a delimiter is a CSV header; so
    is a single word that is no number. What is left is one number per line.
    """
    head = sample.lstrip()
    if head.startswith("["):
        return Format.JSON
    if head.startswith("{"):
        return Format.NDJSON
    first = head.splitlines()[0]
    if is_separator_line(first):
        return Format.CSV
    if any(delimiter in first for delimiter in DELIMITERS):
        return Format.CSV
    return Format.LINES if looks_like_an_address(first) else Format.CSV


def header_of(sample: str) -> str:
    """Return the first line that a table's header may be in."""
    first, _, rest = sample.lstrip().partition("\n")
    return rest.partition("\n")[0] if is_separator_line(first) else first


def is_separator_line(line: str) -> bool:
    """Whether a line is Excel's `sep=;`, which is no header."""
    return _SEPARATOR_LINE.fullmatch(line) is not None


def looks_like_an_address(text: str) -> bool:
    """Whether `text` is more likely somebody's number than the name of a column."""
    return _LIKE_AN_ADDRESS.fullmatch(text.strip().strip('"')) is not None


def detect_delimiter(sample: str) -> str:
    """Return the delimiter under which most of the first rows have as many fields as the header.

    Excel's line `sep=;` says it itself. Ties go to the one with more columns, then to `,` before `;`, tab
    and `|`. A single column is `,`.
    """
    if told := _SEPARATOR_LINE.fullmatch(sample.lstrip().partition("\n")[0]):
        return told[1]
    best, best_score = ",", (0, 0)
    for delimiter in DELIMITERS:
        rows = _rows(sample, delimiter)
        if not rows or len(rows[0]) < 2:  # noqa: PLR2004  (one field: this is not the delimiter)
            continue
        score = (sum(len(row) == len(rows[0]) for row in rows), len(rows[0]))
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _rows(sample: str, delimiter: str) -> list[list[str]]:
    rows: list[list[str]] = []
    try:
        reader = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter)
        rows.extend(itertools.islice(filter(None, reader), _ROWS_LOOKED_AT))
    except csv.Error:
        pass  # the rows before the unreadable one still tell
    return rows[:-1] if 1 < len(rows) < _ROWS_LOOKED_AT else rows  # the sample may end inside the last
