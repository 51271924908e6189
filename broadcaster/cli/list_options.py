"""How a list is read, where somebody says so by hand."""

from __future__ import annotations

import click

from broadcaster.cli.exits import InputError
from broadcaster.intake.encodings import EncodingError, encoding_named


def _encoding(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    try:
        return None if value is None else encoding_named(value)
    except EncodingError as error:
        raise InputError(f"--encoding: {error}") from None


encoding_option = click.option(
    "--encoding",
    metavar="NAME",
    callback=_encoding,
    help="What the list's text is in, if it is not found out: windows-1252.",
)
