"""How results are printed: JSON for programs, tables on a terminal, plain lines elsewhere."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

#: The most that a page of the API holds.
PAGE: Final = 500
#: What steers a terminal, or turns the order of what is read: anybody may write it in a reply.
_STEERING: Final = re.compile("[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u2028-\\u202e\\u2066-\\u2069]")


def print_json(value: Any) -> None:
    """Print one JSON document, indented on a terminal, else on one line."""
    raw = msgspec.json.encode(value)
    click.echo((msgspec.json.format(raw, indent=2) if sys.stdout.isatty() else raw).decode())


def print_table(
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Sequence[int] = (),
    whole: Sequence[int] = (),
) -> None:
    """Print a table, or tab-separated lines where there is no terminal.

    `right`: columns of numbers; `whole`: columns that are never cut, as the next command wants them.
    """
    if not sys.stdout.isatty():
        click.echo("\t".join(header))
        for row in rows:
            click.echo("\t".join("" if value is None else harmless(str(value)) for value in row))
        return
    from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for index, name in enumerate(header):
        table.add_column(name, justify="right" if index in right else "left")
    for row in rows:
        cells = [harmless(_cell(value)) for value in row]
        for index in whole:
            table.columns[index].min_width = max(table.columns[index].min_width or 0, len(cells[index]))
        table.add_row(*map(Text, cells))
    Console().print(table)


def harmless(text: str) -> str:
    """Return what people wrote as it may be shown: it steers no terminal, its lines pass for no others."""
    return _STEERING.sub("\ufffd", text).replace("\n", "\n  ")


def steerless(text: str) -> str:
    """Return a text of several lines, our own among them, that steers no terminal."""
    return _STEERING.sub("\ufffd", text)


def say(text: str) -> None:
    """Tell a person something that is not the result, on standard error; what others wrote steers nothing."""
    click.echo(steerless(text), err=True)


def when(unix_seconds: float | None) -> str:
    """Return a time as people read it, in UTC; "" for none."""
    if not unix_seconds:
        return ""
    return datetime.fromtimestamp(unix_seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def span(seconds: float) -> str:
    """Return a duration as people say it: `40 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    if seconds < 90:  # noqa: PLR2004
        return f"{seconds:.0f} s" if seconds >= 1 or not seconds else "less than a second"
    minutes = round(seconds / 60)
    if minutes < 60:  # noqa: PLR2004
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:  # noqa: PLR2004
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
