"""`broadcaster config show`: every setting, where it comes from, what it is for. Secrets are hidden."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import click

from broadcaster.cli.options import env_file_option, json_option, settings_from
from broadcaster.cli.output import print_json, print_table
from broadcaster.cli.settings_table import describe

if TYPE_CHECKING:
    from pathlib import Path


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
