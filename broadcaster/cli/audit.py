"""`broadcaster audit …`: who changed what. Nothing changes an entry."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import click
import msgspec

from broadcaster.cli.connect import at_hand
from broadcaster.cli.exporting import export_rows, output_options, save
from broadcaster.cli.options import env_file_option, json_option
from broadcaster.cli.output import PAGE, print_json, print_table, when
from broadcaster.operations import audit as entries
from broadcaster.operations.actor import at_the_shell

if TYPE_CHECKING:
    from pathlib import Path

    from broadcaster.client import Client
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

    async def here(store: Store) -> list[dict[str, Any]]:
        return [entry.summary() for entry in await entries.page(store, limit=limit, what=what or "")]

    def there(client: Client) -> list[dict[str, Any]]:
        found = client.audit(what=what, limit=min(limit, PAGE))
        return [entry.raw for entry in islice(found, limit)]

    found = at_hand(env_file, here, there)
    if as_json:
        print_json(found)
        return
    print_table(
        ("when", "who", "where", "what", "target", "old", "new"),
        [
            (
                when(entry["at"]),
                *(entry[name] for name in ("who", "where", "what", "target")),
                _short(entry["old"]),
                _short(entry["new"]),
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

    def there(client: Client) -> None:
        save(client.export_audit, "entry", how=how, output=output, as_json=as_json)

    at_hand(env_file, work, there)


def _short(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
