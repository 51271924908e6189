"""`broadcaster config`: every setting, secrets hidden; whose account the installation belongs to."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from broadcaster.cli.connect import with_store
from broadcaster.cli.exits import InputError
from broadcaster.cli.options import env_file_option, json_option, settings_from
from broadcaster.cli.output import print_json, print_table
from broadcaster.cli.settings_table import describe
from broadcaster.operations import owner
from broadcaster.operations.actor import at_the_shell
from broadcaster.runtime import owner_in
from broadcaster.store.owning import owner_of

if TYPE_CHECKING:
    from pathlib import Path

    from broadcaster.store.connection import Store


@click.group()
def config() -> None:
    """Show every setting, where it comes from, what it is for."""


@config.command()
@json_option
@env_file_option
def show(*, as_json: bool, env_file: Path | None) -> None:
    """Show the settings as they are now; secrets are hidden."""
    rows = describe(settings_from(env_file))
    if as_json:
        print_json([dataclasses.asdict(row) for row in rows])
        return
    print_table(
        ("variable", "value", "from", "what it is"),
        [(row.variable, row.value, row.origin, row.purpose) for row in rows],
    )


@config.command()
@click.option("--change", is_flag=True, help="Give the installation to the account that is set here.")
@json_option
@env_file_option
def account(*, change: bool, as_json: bool, env_file: Path | None) -> None:
    """Show which Twilio account the installation belongs to; workers of another one are refused.

    It is the first one's that worked on it. --change is refused while anything is queued, scheduled, paused,
    in retry or in doubt, or a worker runs; APIs that run have to be started again then.
    """
    to = owner_in(settings_from(env_file))
    if change and to is None:
        raise InputError("TWILIO_ACCOUNT_SID is not set: set the account that is to have the installation")

    async def work(store: Store) -> owner.Ownership:
        if change and to is not None:
            return await owner.change(store, at_the_shell(), to)
        now = await owner_of(store)
        return owner.Ownership(now, now)

    found = with_store(env_file, work)
    if as_json:
        print_json(found.summary())
    elif found.now is None:
        click.echo("It is nobody's yet: the first worker, API or send takes it for its account.")
    else:
        before = f", before: {found.before.told}" if found.changed and found.before else ""
        click.echo(f"It belongs to {found.now.told}{before}.")
        if found.changed:
            click.echo("Start workers and APIs now; those of before are refused everything.")
