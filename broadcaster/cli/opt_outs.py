"""`broadcaster opt-outs …`: who must not be written to."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from broadcaster.cli.connect import at_hand
from broadcaster.cli.exits import InputError
from broadcaster.cli.exporting import export_rows, output_options, save
from broadcaster.cli.list_options import encoding_option
from broadcaster.cli.options import env_file_option, json_option, settings_from
from broadcaster.cli.output import print_json, print_table, say, when
from broadcaster.domain.addresses import AddressError, parse_address
from broadcaster.domain.opt_out_scopes import parts_of_scope
from broadcaster.domain.purpose import Purpose
from broadcaster.intake.faults import RejectsFile
from broadcaster.intake.opt_out_list import LONGEST_SOURCE, read_opt_outs
from broadcaster.ledger.optouts import OptOut, OptOuts
from broadcaster.operations import audit
from broadcaster.operations import opt_outs as acts
from broadcaster.operations.actor import at_the_shell
from broadcaster.operations.opt_outs import scope_named
from broadcaster.reporting.opt_outs import COLUMNS, Wanted, read_all

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broadcaster.client import Client
    from broadcaster.store.connection import Store

_PURPOSES: Final = [purpose.value for purpose in Purpose]
_F = TypeVar("_F", bound="Callable[..., Any]")


@click.group("opt-outs")
def opt_outs() -> None:
    """List, add, remove, import and export who must not be written to."""


def _about(function: _F) -> _F:
    """Add what an opt-out is about: `--sender`, `--service`, `--purpose`."""
    for option in (
        click.option("--purpose", type=click.Choice(_PURPOSES), help="Only for this purpose; else for all."),
        click.option("--service", metavar="MG…", help="Only from this Messaging Service."),
        click.option("--sender", help="Only from this sender; without it from all."),
    ):
        function = option(function)
    return function


def _source(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """Take what an export of it can be imported with. Raises InputError."""
    if value is not None and len(value) > LONGEST_SOURCE:
        raise InputError(f"--source has {len(value)} characters: at most {LONGEST_SOURCE}")
    return value


@opt_outs.command("list")
@click.option("--sender", help="Only those from this sender or service; * are those from all.")
@click.option("--purpose", type=click.Choice(_PURPOSES), help="Only those for this purpose alone.")
@json_option
@env_file_option
def list_(*, sender: str | None, purpose: str | None, as_json: bool, env_file: Path | None) -> None:
    """List opt-outs: who, from which sender (* is all), for which purpose, since when, and how we know."""
    name = scope_named(sender) if sender else None

    async def work(store: Store) -> list[dict[str, Any]]:
        return [view.summary() async for view in read_all(store, OptOuts(), Wanted(name, purpose))]

    rows = at_hand(
        env_file,
        work,
        lambda client: [entry.raw for entry in client.opt_outs(sender=name, purpose=purpose)],
    )
    if as_json:
        print_json(rows)
        return
    print_table(
        ("address", "sender", "purpose", "since", "source"),
        [
            (row["address"], row["sender"], row["purpose"] or "all", when(row["since"]), row["source"])
            for row in rows
        ],
    )


@opt_outs.command()
@click.argument("addresses", nargs=-1, required=True, metavar="NUMBER…")
@_about
@click.option("--source", callback=_source, help="How you know; kept with it.")
@json_option
@env_file_option
def add(
    addresses: Sequence[str], source: str | None, *, as_json: bool, env_file: Path | None, **about: str | None
) -> None:
    """Write to these numbers no more, not even where messages wait for them already."""
    scope, whom = scope_named(**about), _parsed(addresses, env_file)
    told = source or at_the_shell().where
    entries = [OptOut(one, scope, told) for one in whom]

    async def work(store: Store) -> int:
        return await acts.add_each(store, at_the_shell(), entries, what="opt_out.add")

    def there(client: Client) -> int:
        parts = (whom[start : start + acts.AT_ONCE] for start in range(0, len(whom), acts.AT_ONCE))
        return sum(client.opt_out(part, source=source, **about)["changed"] for part in parts)

    _tell(at_hand(env_file, work, there), len(whom), "added", as_json=as_json)


@opt_outs.command()
@click.argument("addresses", nargs=-1, required=True, metavar="NUMBER…")
@_about
@json_option
@env_file_option
def remove(addresses: Sequence[str], *, as_json: bool, env_file: Path | None, **about: str | None) -> None:
    """Forget opt-outs. Twilio keeps its own list, which START changes."""
    scope, whom = scope_named(**about), _parsed(addresses, env_file)
    sender, purpose = parts_of_scope(scope)

    async def work(store: Store) -> int:
        return await acts.remove(store, at_the_shell(), whom, scope=scope)

    def there(client: Client) -> int:
        return sum(client.opt_in(one, sender=sender, purpose=purpose) for one in whom)

    _tell(at_hand(env_file, work, there), len(whom), "removed", as_json=as_json)


@opt_outs.command("import")
@click.argument("file", metavar="FILE|-")
@_about
@click.option(
    "--source",
    default="import",
    show_default=True,
    callback=_source,
    help="How you know, where a row has no source.",
)
@click.option(
    "--rejects", type=click.Path(dir_okay=False, path_type=Path), help="Write bad rows here, add the rest."
)
@encoding_option
@json_option
@env_file_option
def import_(
    file: str,
    source: str,
    rejects: Path | None,
    encoding: str | None,
    *,
    as_json: bool,
    env_file: Path | None,
    **about: str | None,
) -> None:
    """Add a file of numbers, one a line, or a table as `opt-outs export` writes it.

    Its columns: address, and sender (or scope), purpose, source, since where they are wanted.
    """
    scope, region = scope_named(**about), settings_from(env_file).region
    with contextlib.ExitStack() as stack:
        bad = stack.enter_context(RejectsFile(rejects, list_path=file)) if rejects else None
        entries = read_opt_outs(
            file,
            scope=scope,
            source=source,
            region=region,
            rejects=bad,
            encoding=encoding,
            note=lambda text: say(f"Warning: {text}"),
        )

    async def work(store: Store) -> int:
        return await acts.add_each(store, at_the_shell(), entries)

    def there(client: Client) -> int:
        parts = (entries[start : start + acts.AT_ONCE] for start in range(0, len(entries), acts.AT_ONCE))
        return sum(client.import_opt_outs([_fields(one) for one in part])["changed"] for part in parts)

    rejected = bad.count if bad is not None else None
    _tell(at_hand(env_file, work, there), len(entries), "added", as_json=as_json, rejected=rejected)


@opt_outs.command()
@output_options
@json_option
@env_file_option
def export(how: str | None, output: Path | None, *, as_json: bool, env_file: Path | None) -> None:
    """Write every opt-out as CSV or NDJSON, which `import` takes back."""

    async def work(store: Store) -> None:
        await audit.record(store, at_the_shell(), "opt_out.export", "all")
        rows = (view.summary() async for view in read_all(store, OptOuts()))
        await export_rows(rows, COLUMNS, "opt-out", how=how, output=output, as_json=as_json)

    def there(client: Client) -> None:
        save(client.export_opt_outs, "opt-out", how=how, output=output, as_json=as_json)

    at_hand(env_file, work, there)


def _tell(changed: int, given: int, done: str, *, as_json: bool, rejected: int | None = None) -> None:
    if as_json:
        print_json(
            {"changed": changed, "given": given} | ({} if rejected is None else {"rejected": rejected})
        )
        return
    left = "" if rejected is None else f", {rejected:,} rejected"
    click.echo(f"{changed:,} {done}, {given - changed:,} unchanged{left}")


def _fields(entry: OptOut) -> dict[str, Any]:
    """Return an opt-out as the API takes it."""
    sender, purpose = parts_of_scope(entry.scope)
    named: dict[str, Any] = {"address": entry.address, "sender": sender, "source": entry.source}
    return named | ({"purpose": purpose} if purpose else {}) | ({"since": entry.since} if entry.since else {})


def _parsed(texts: Sequence[str], env_file: Path | None) -> list[str]:
    region = settings_from(env_file).region
    return [_parse(text, number, region) for number, text in enumerate(texts, 1)]


def _parse(text: str, number: int, region: str | None) -> str:
    try:
        return parse_address(text, region)
    except AddressError as error:
        raise InputError(f"number {number}, {text!r}: {error}") from None
