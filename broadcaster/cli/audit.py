"""`broadcaster audit …`: who changed what. Nothing changes an entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from broadcaster.cli.connect import with_store
from broadcaster.cli.exporting import export_rows, output_options
from broadcaster.cli.options import env_file_option, json_option
from broadcaster.cli.output import print_json, print_table, when
from broadcaster.operations import audit as entries
from broadcaster.operations.actor import at_the_shell

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from broadcaster.store.connection import Store


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
@output_options
@json_option
@env_file_option
def export(how: str | None, output: Path | None, *, as_json: bool, env_file: Path | None) -> None:
    """Write every entry, the newest first, as CSV or NDJSON."""

    async def work(store: Store) -> None:
        await entries.record(store, at_the_shell(), "audit.export", "all")
        rows = (entry.summary() async for entry in entries.newest_first(store))
        await export_rows(rows, entries.COLUMNS, "entry", how=how, output=output, as_json=as_json)

    with_store(env_file, work)


def _short(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
