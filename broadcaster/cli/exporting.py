"""Writing messages to a file or to standard output as they are read."""

from __future__ import annotations

import codecs
import sys
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from broadcaster.cli.exits import InputError
from broadcaster.cli.output import print_json, say
from broadcaster.client.errors import ClientError
from broadcaster.reporting.exports import Format, as_text, list_columns, write_messages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
    from typing import TextIO

    from broadcaster.reporting.messages import MessageView
    from broadcaster.store.connection import Store

_F = TypeVar("_F", bound="Callable[..., Any]")


def output_options(function: _F) -> _F:
    """Add `--output` and `--format`."""
    function = click.option(
        "--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file."
    )(function)
    return click.option(
        "--format",
        "how",
        type=click.Choice([how.value for how in Format]),
        help="csv (the default), or ndjson: one JSON object a line.",
    )(function)


async def export(
    store: Store,
    views: AsyncIterator[MessageView],
    broadcasts: Sequence[str],
    *,
    how: str | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Write `views`, with their lists' own columns. Raises InputError where the file can't be written.

    `as_json` asks for NDJSON where the messages go to standard output; with a file for a JSON summary.
    """
    chosen = Format(how) if how else Format.NDJSON if as_json and output is None else Format.CSV
    columns = await list_columns(store, broadcasts) if chosen is Format.CSV else []
    with _opened(output) as file:
        count = await write_messages(views, file, how=chosen, columns=columns)
    _tell(count, "message", chosen, output, as_json=as_json)


async def export_rows(
    rows: AsyncIterator[Mapping[str, Any]],
    columns: Sequence[str],
    noun: str,
    *,
    how: str | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Write rows that are no messages; `noun` is what one is called. Raises as `export`."""
    chosen = Format(how) if how else Format.NDJSON if as_json and output is None else Format.CSV
    count = 0

    async def counted() -> AsyncIterator[Mapping[str, Any]]:
        nonlocal count
        async for row in rows:
            count += 1
            yield row

    with _opened(output) as file:
        async for piece in as_text(counted(), columns, chosen):
            file.write(piece)
    _tell(count, noun, chosen, output, as_json=as_json)


def save(
    download: Callable[[str], Iterator[bytes]],
    noun: str,
    *,
    how: str | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Write what `download` yields in the format it is asked for. Raises as `export`, and what it raises."""
    chosen = Format(how) if how else Format.NDJSON if as_json and output is None else Format.CSV
    pieces = download(chosen.value)
    first = next(pieces, b"")  # what is refused leaves no file
    decoder, lines = codecs.getincrementaldecoder("utf-8")(), Lines()
    with _opened(output) as file:
        try:
            for piece in chain((first,), pieces):
                lines.add(piece)
                file.write(decoder.decode(piece))
        except ClientError as error:
            error.add_note(f"({output or 'the output'} has only what came before that)")
            raise
    _tell(lines.rows(chosen), noun, chosen, output, as_json=as_json)


class Lines:
    """Counts the rows of a CSV or NDJSON as it comes: line ends inside quotes are none."""

    def __init__(self) -> None:
        self._ends = self._all = 0
        self._quoted = False

    def add(self, piece: bytes) -> None:
        """Count a piece."""
        self._all += piece.count(b"\n")
        for number, part in enumerate(piece.split(b'"')):
            self._quoted ^= number > 0
            if not self._quoted:
                self._ends += part.count(b"\n")

    def rows(self, how: Format) -> int:
        """Return how many there are; a CSV's header is none."""
        return self._all if how is Format.NDJSON else max(0, self._ends - 1)


def _tell(count: int, noun: str, how: Format, output: Path | None, *, as_json: bool) -> None:
    if output is None:
        return
    if as_json:
        print_json({"exported": count, "file": str(output), "format": how.value})
    else:
        many = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
        say(f"{count:,} {noun if count == 1 else many} in {output}")


@contextmanager
def _opened(output: Path | None) -> Iterator[TextIO]:
    if output is None:
        yield sys.stdout
        return
    try:
        file = output.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise InputError(f"cannot write {output}: {error.strerror}") from None
    with file:
        yield file
