"""`broadcaster pause` and `broadcaster resume`: the whole installation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from broadcaster.cli.connect import at_hand, told
from broadcaster.cli.options import env_file_option, json_option
from broadcaster.cli.output import print_json
from broadcaster.operations import everything as acts
from broadcaster.operations.actor import at_the_shell

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@click.command()
@click.option("--reason", default="by request", show_default=True, help="Shown to whoever asks why it waits.")
@json_option
@env_file_option
def pause(reason: str, *, as_json: bool, env_file: Path | None) -> None:
    """Stop everything, within a second. What Twilio has already taken is not called back."""
    now = at_hand(
        env_file,
        lambda store: told(acts.pause(store, at_the_shell(), reason)),
        lambda client: client.pause_everything(reason),
    )
    _tell(now, as_json=as_json)


@click.command()
@json_option
@env_file_option
def resume(*, as_json: bool, env_file: Path | None) -> None:
    """Let everything go on; senders and broadcasts that were paused by themselves stay so."""
    now = at_hand(
        env_file,
        lambda store: told(acts.resume(store, at_the_shell())),
        lambda client: client.resume_everything(),
    )
    _tell(now, as_json=as_json)


def _tell(now: Mapping[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(now)
    elif now["reason"]:
        click.echo(
            f"Everything is stopped: {now['reason']}" + ("" if now["changed"] else " (it was already)")
        )
    else:
        click.echo("Everything goes on." if now["changed"] else "Nothing was stopped.")
