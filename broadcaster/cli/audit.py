"""`broadcaster audit …`: who changed what. Nothing changes an entry."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from broadcaster.cli.connect import with_store
from broadcaster.cli.exits import InputError
from broadcaster.cli.options import env_file_option, json_option
from broadcaster.cli.output import print_json, print_table, say, when
from broadcaster.operations import audit as entries
from broadcaster.reporting.exports import safe_cell

if TYPE_CHECKING:
    from typing import Any, TextIO

    from broadcaster.store.connection import Store

_COLUMNS = ("id", "at", "who", "where", "what", "target", "old", "new")


@click.group()
def audit() -> None:
    """Read who changed what, when and from where."""


@audit.command("list")
@click.option("--what", help="Only these: broadcast, broadcast.cancel, lane, key …")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1))
@json_option
@env_file_option
def list_(what: str | None, limit: int, *, as_json: bool, env_file: Path | None) -> None:
    """List changes, the newest first."""
    found = with_store(env_file, lambda store: entries.page(store, limit=limit, what=what or ""))
    if as_json:
        print_json([entry.summary() for entry in found])
        return
    print_table(
        ("when", "who", "where", "what", "target", "old", "new"),
        [
            (
                when(entry.at),
                entry.who,
                entry.where,
                entry.what,
                entry.target,
                _short(entry.old),
                _short(entry.new),
            )
            for entry in found
        ],
    )


@audit.command()
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="Write to this file.")
@click.option("--format", "how", type=click.Choice(["csv", "ndjson"]), default="csv", show_default=True)
@env_file_option
def export(output: Path | None, how: str, env_file: Path | None) -> None:
    """Write every entry, the newest first, as CSV or NDJSON."""

    async def work(store: Store) -> int:
        if output is None:
            return await _write(store, sys.stdout, how)
        try:
            file = output.open("w", encoding="utf-8", newline="")
        except OSError as error:
            raise InputError(f"cannot write {output}: {error.strerror}") from None
        with file:
            return await _write(store, file, how)

    count = with_store(env_file, work)
    if output is not None:
        say(f"{count:,} entries in {output}")


async def _write(store: Store, file: TextIO, how: str) -> int:
    count = 0
    writer = csv.writer(file)
    if how == "csv":
        writer.writerow(_COLUMNS)
    async for entry in entries.newest_first(store):
        summary = entry.summary()
        if how == "csv":
            writer.writerow([safe_cell(_short(summary[name])) for name in _COLUMNS])
        else:
            file.write(msgspec.json.encode(summary).decode() + "\n")
        count += 1
    return count


def _short(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
