"""`broadcaster pause` and `broadcaster resume`: the whole installation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from broadcaster.cli.connect import with_store
from broadcaster.cli.options import env_file_option, json_option
from broadcaster.cli.output import print_json
from broadcaster.lanes import control

if TYPE_CHECKING:
    from pathlib import Path

    from broadcaster.store.connection import Store


@click.command()
@click.option("--reason", default="by request", show_default=True, help="Shown to whoever asks why it waits.")
@json_option
@env_file_option
def pause(reason: str, *, as_json: bool, env_file: Path | None) -> None:
    """Stop everything, within a second. What Twilio has already taken is not called back."""
    _stop(env_file, reason or "by request", as_json=as_json)


@click.command()
@json_option
@env_file_option
def resume(*, as_json: bool, env_file: Path | None) -> None:
    """Let everything go on; senders and broadcasts that were paused by themselves stay so."""
    _stop(env_file, "", as_json=as_json)


def _stop(env_file: Path | None, reason: str, *, as_json: bool) -> None:
    async def work(store: Store) -> tuple[int, str]:
        changed = await store.run(control.pause_account(reason) if reason else control.resume_account())
        paused = await store.redis.hget(store.keys.plain("account"), "paused")
        return changed, (paused or b"").decode()

    changed, paused = with_store(env_file, work)
    if as_json:
        print_json({"paused": bool(paused), "reason": paused or None, "changed": bool(changed)})
    elif paused:
        click.echo(f"Everything is stopped: {paused}" + ("" if changed else " (it was already)"))
    else:
        click.echo("Everything goes on." if changed else "Nothing was stopped.")
