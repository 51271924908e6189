"""`broadcaster keys …`: who may use the HTTP API, and for what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from broadcaster.cli.connect import with_store
from broadcaster.cli.exits import InputError
from broadcaster.cli.options import env_file_option, json_option, parse_duration
from broadcaster.cli.output import print_json, print_table, say, when
from broadcaster.domain.api_keys import DEFAULT_RATE, Scope, parse_scopes
from broadcaster.domain.senders import parse_rate
from broadcaster.operations import keys as acts
from broadcaster.operations.actor import at_the_shell

if TYPE_CHECKING:
    from pathlib import Path

_LONGEST_NAME = 100


@click.group()
def keys() -> None:
    """Make, list and revoke the keys of the HTTP API."""


@keys.command()
@click.option("--name", required=True, help="What to call it: the service that will use it.")
@click.option(
    "--scopes",
    required=True,
    metavar="SCOPE,…",
    help=f"What it may do: {', '.join(scope.value for scope in Scope)}.",
)
@click.option("--expires", metavar="D", help="It opens nothing after 90d, 12h; without it, until revoked.")
@click.option(
    "--rate", metavar="R", help=f"Requests that it may make: 50, 100/min; {DEFAULT_RATE:g}/s without."
)
@json_option
@env_file_option
def create(
    name: str, scopes: str, expires: str | None, rate: str | None, *, as_json: bool, env_file: Path | None
) -> None:
    """Make a key. It is shown this once; only a digest of it is kept."""
    if not 0 < len(name.strip()) <= _LONGEST_NAME:
        raise InputError(f"--name takes 1 to {_LONGEST_NAME} characters")
    try:
        allowed = parse_scopes(scopes)
        pace = parse_rate(rate) if rate else DEFAULT_RATE
    except ValueError as error:
        raise InputError(str(error)) from None
    view, text = with_store(
        env_file,
        lambda store: acts.create(
            store,
            at_the_shell(),
            name=name.strip(),
            scopes=allowed,
            expires_in_seconds=parse_duration(expires) if expires else None,
            rate=pace,
        ),
    )
    if as_json:
        print_json({**view.summary(), "key": text})
        return
    click.echo(text)
    say(f"Key {view.key.id}, {name}: keep it now, it can't be shown again.")


@keys.command("list")
@json_option
@env_file_option
def list_(*, as_json: bool, env_file: Path | None) -> None:
    """List keys, the newest first: what each may do, and when it was last used."""
    rows = [view.summary() for view in with_store(env_file, acts.list_keys)]
    if as_json:
        print_json(rows)
        return
    print_table(
        ("id", "name", "state", "scopes", "made", "expires", "last used"),
        [
            (row["id"], row["name"], row["state"], ",".join(row["scopes"]), when(row["created_at"]),
             when(row["expires_at"]), when(row["last_used_at"]))
            for row in rows
        ],
    )  # fmt: skip


@keys.command()
@click.argument("key", metavar="ID")
@json_option
@env_file_option
def revoke(key: str, *, as_json: bool, env_file: Path | None) -> None:
    """Let a key open nothing any more, from the next request on."""
    view = with_store(env_file, lambda store: acts.revoke(store, at_the_shell(), key))
    if as_json:
        print_json(view.summary())
    else:
        click.echo(f"{view.key.id}  {view.key.name}: revoked")
