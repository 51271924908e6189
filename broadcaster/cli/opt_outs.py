"""`broadcaster opt-outs …`: who must not be written to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from broadcaster.cli.connect import at_hand
from broadcaster.cli.exits import InputError
from broadcaster.cli.exporting import export_rows, output_options, save
from broadcaster.cli.options import env_file_option, json_option, settings_from
from broadcaster.cli.output import print_json, print_table, when
from broadcaster.domain.addresses import AddressError, parse_address
from broadcaster.domain.senders import parse_sender
from broadcaster.ledger.optouts import EVERYWHERE, OptOuts
from broadcaster.operations import audit
from broadcaster.operations import opt_outs as acts
from broadcaster.operations.actor import at_the_shell
from broadcaster.reporting.opt_outs import COLUMNS, read_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.client import Client
    from broadcaster.store.connection import Store


@click.group("opt-outs")
def opt_outs() -> None:
    """List, add, remove, import and export who must not be written to."""


@opt_outs.command("list")
@json_option
@env_file_option
def list_(*, as_json: bool, env_file: Path | None) -> None:
    """List opt-outs: who, from which sender (* is all), since when, and how we know."""
    rows = at_hand(env_file, _read, lambda client: [entry.raw for entry in client.opt_outs()])
    if as_json:
        print_json(rows)
        return
    print_table(
        ("address", "sender", "since", "source"),
        [(row["address"], row["sender"], when(row["since"]), row["source"]) for row in rows],
    )


@opt_outs.command()
@click.argument("addresses", nargs=-1, required=True, metavar="NUMBER…")
@click.option("--sender", help="Only from this sender; without it from all.")
@json_option
@env_file_option
def add(addresses: Sequence[str], sender: str | None, *, as_json: bool, env_file: Path | None) -> None:
    """Write to these numbers no more; messages already waiting for them are skipped."""
    _change(env_file, addresses, sender, "opt_out.add", as_json=as_json)


@opt_outs.command()
@click.argument("addresses", nargs=-1, required=True, metavar="NUMBER…")
@click.option("--sender", help="The sender they were opted out from; without it all.")
@json_option
@env_file_option
def remove(addresses: Sequence[str], sender: str | None, *, as_json: bool, env_file: Path | None) -> None:
    """Forget opt-outs. Twilio keeps its own list, which START changes."""
    _change(env_file, addresses, sender, "opt_out.remove", as_json=as_json)


@opt_outs.command("import")
@click.argument("file", metavar="FILE|-")
@click.option("--sender", help="Only from this sender; without it from all.")
@json_option
@env_file_option
def import_(file: str, sender: str | None, *, as_json: bool, env_file: Path | None) -> None:
    """Add a file of numbers, one a line."""
    try:
        text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"cannot read {file}: {why}") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    _change(env_file, lines, sender, "opt_out.import", as_json=as_json)


@opt_outs.command()
@output_options
@json_option
@env_file_option
def export(how: str | None, output: Path | None, *, as_json: bool, env_file: Path | None) -> None:
    """Write every opt-out as CSV or NDJSON."""

    async def work(store: Store) -> None:
        await audit.record(store, at_the_shell(), "opt_out.export", "all")
        rows = (view.summary() async for view in read_all(store, OptOuts()))
        await export_rows(rows, COLUMNS, "opt-out", how=how, output=output, as_json=as_json)

    def there(client: Client) -> None:
        save(client.export_opt_outs, "opt-out", how=how, output=output, as_json=as_json)

    at_hand(env_file, work, there)


def _change(
    env_file: Path | None, texts: Sequence[str], sender: str | None, what: str, *, as_json: bool
) -> None:
    region = settings_from(env_file).region
    scope = parse_sender(sender).name if sender else EVERYWHERE
    addresses = [_parse(text, number, region) for number, text in enumerate(texts, 1)]

    async def work(store: Store) -> int:
        if what == "opt_out.remove":
            return await acts.remove(store, at_the_shell(), addresses, scope=scope)
        return await acts.add(store, at_the_shell(), addresses, scope=scope, what=what)

    def there(client: Client) -> int:
        if what == "opt_out.remove":
            return sum(client.opt_in(address, sender=sender and scope) for address in addresses)
        parts = (addresses[start : start + acts.AT_ONCE] for start in range(0, len(addresses), acts.AT_ONCE))
        return sum(client.opt_out(part, sender=sender and scope)["changed"] for part in parts)

    changed = at_hand(env_file, work, there)
    add = what != "opt_out.remove"
    if as_json:
        print_json({"changed": changed, "given": len(addresses)})
    else:
        click.echo(f"{changed:,} {'added' if add else 'removed'}, {len(addresses) - changed:,} unchanged")


def _parse(text: str, number: int, region: str | None) -> str:
    try:
        return parse_address(text, region)
    except AddressError as error:
        raise InputError(f"number {number}, {text!r}: {error}") from None


async def _read(store: Store) -> list[dict[str, Any]]:
    return [view.summary() async for view in read_all(store, OptOuts())]
