"""`broadcaster broadcasts …`: look at broadcasts and steer them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import click

from broadcaster.cli.connect import with_home, with_store
from broadcaster.cli.exporting import export, output_options
from broadcaster.cli.home import live_workers
from broadcaster.cli.options import env_file_option, json_option, settings_from
from broadcaster.cli.output import print_json, print_table, say, when
from broadcaster.cli.replays import ask, even_unknown_option, plural, send_again, tell, yes_option
from broadcaster.cli.showing import show_broadcast
from broadcaster.operations import audit
from broadcaster.operations import broadcasts as acts
from broadcaster.operations.actor import at_the_shell
from broadcaster.operations.dead_letters import failures_of
from broadcaster.reporting.broadcasts import list_broadcasts
from broadcaster.reporting.exports import whole

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from broadcaster.cli.home import Home
    from broadcaster.reporting.broadcasts import BroadcastView
    from broadcaster.store.connection import Store


@click.group()
def broadcasts() -> None:
    """List, show, watch, start, pause, resume, cancel, retry, export, delete broadcasts."""


@broadcasts.command("list")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1000))
@json_option
@env_file_option
def list_(limit: int, *, as_json: bool, env_file: Path | None) -> None:
    """List the newest broadcasts, newest first."""
    views = with_store(env_file, lambda store: list_broadcasts(store, limit=limit))
    if as_json:
        print_json([view.summary() for view in views])
        return
    print_table(
        ("id", "name", "state", "total", "unsent", "made"),
        [(v.id, v.name, v.state, v.total, v.unsent, when(v.created_at)) for v in views],
        right=(3, 4),
    )


@broadcasts.command()
@click.argument("broadcast", metavar="ID")
@json_option
@env_file_option
def show(broadcast: str, *, as_json: bool, env_file: Path | None) -> None:
    """Show one broadcast: its states, codes, and what it waits for."""
    show_broadcast(with_store(env_file, lambda store: acts.existing(store, broadcast)), as_json=as_json)


@broadcasts.command()
@click.argument("broadcast", metavar="ID")
@json_option
@env_file_option
def watch(broadcast: str, *, as_json: bool, env_file: Path | None) -> int:
    """Watch a broadcast until it has ended; exit codes as of `send --wait`.

    Without REDIS_URL a worker is started if none runs, as `send` does.
    """
    return _attend(env_file, broadcast, as_json=as_json)


@broadcasts.command()
@click.argument("broadcast", metavar="ID")
@json_option
@env_file_option
def start(broadcast: str, *, as_json: bool, env_file: Path | None) -> int:
    """Start a draft, or a scheduled broadcast before its time.

    Without REDIS_URL a worker is started if none runs, and the command waits, as `send` does.
    """
    settings = settings_from(env_file)
    if settings.redis_address:
        _steer(env_file, partial(acts.start, broadcast=broadcast), as_json=as_json)
        return 0
    settings.credentials()
    return _attend(env_file, broadcast, start_it=True, as_json=as_json)


@broadcasts.command()
@click.argument("broadcast", metavar="ID")
@click.option("--reason", default="by request", show_default=True, help="Shown to whoever asks why it waits.")
@json_option
@env_file_option
def pause(broadcast: str, reason: str, *, as_json: bool, env_file: Path | None) -> None:
    """Stop a running broadcast, within a second."""
    _steer(env_file, partial(acts.pause, broadcast=broadcast, reason=reason), as_json=as_json)


@broadcasts.command()
@click.argument("broadcast", metavar="ID")
@json_option
@env_file_option
def resume(broadcast: str, *, as_json: bool, env_file: Path | None) -> None:
    """Let a paused broadcast go on."""
    _steer(env_file, partial(acts.resume, broadcast=broadcast), as_json=as_json)


@broadcasts.command()
@click.argument("broadcast", metavar="ID")
@click.option("--reason", default="by request", show_default=True, help="Shown to whoever asks.")
@json_option
@env_file_option
def cancel(broadcast: str, reason: str, *, as_json: bool, env_file: Path | None) -> None:
    """End a broadcast: what has not left is skipped."""
    _steer(env_file, partial(acts.cancel, broadcast=broadcast, reason=reason), as_json=as_json)


@broadcasts.command()
@click.argument("broadcast", metavar="ID")
@click.option("--code", "codes", type=int, multiple=True, help="Only those with this code; repeatable.")
@even_unknown_option
@yes_option
@json_option
@env_file_option
def retry(
    broadcast: str,
    codes: Sequence[int],
    *,
    even_unknown: bool,
    yes: bool,
    as_json: bool,
    env_file: Path | None,
) -> None:
    """Send again to those who failed: dead letters, undelivered and failed messages."""
    wanted = failures_of(broadcast, codes)
    found, done = with_store(
        env_file, lambda store: send_again(store, wanted, even_unknown=even_unknown, yes=yes)
    )
    tell(found, done, "retried", as_json=as_json)


@broadcasts.command("export")
@click.argument("broadcast", metavar="ID")
@output_options
@json_option
@env_file_option
def export_(
    broadcast: str, how: str | None, output: Path | None, *, as_json: bool, env_file: Path | None
) -> None:
    """Write every message of a broadcast as CSV or NDJSON: a valid list for `send`."""

    async def work(store: Store) -> None:
        await acts.existing(store, broadcast)
        await audit.record(store, at_the_shell(), "broadcast.export", broadcast)
        await export(store, whole(store, broadcast), [broadcast], how=how, output=output, as_json=as_json)

    with_store(env_file, work)


@broadcasts.command()
@click.argument("broadcast", metavar="ID")
@yes_option
@json_option
@env_file_option
def delete(broadcast: str, *, yes: bool, as_json: bool, env_file: Path | None) -> None:
    """Remove a draft, or a broadcast that has ended, with all its messages."""

    async def work(store: Store) -> None:
        view = await acts.existing(store, broadcast)
        ask(f"Delete {view.name!r} with all of {plural(view.total)} for good?", yes=yes)
        await acts.delete(store, at_the_shell(), broadcast)

    with_store(env_file, work)
    if as_json:
        print_json({"deleted": broadcast})
    else:
        click.echo(f"{broadcast}: deleted")


def _attend(env_file: Path | None, broadcast: str, *, start_it: bool = False, as_json: bool) -> int:
    """Start it, if that is asked, and stay to the end. Raises as `acts.start` and `attend`."""
    from broadcaster.cli.attending import attend  # noqa: PLC0415 - most commands wait for nothing

    async def work(store: Store, home: Home | None) -> tuple[int, BroadcastView]:
        if start_it:
            await acts.start(store, at_the_shell(), broadcast)
        return await attend(store, broadcast, home)

    code, view = with_home(env_file, work)
    show_broadcast(view, as_json=as_json)
    return code


def _steer(env_file: Path | None, act: Callable[..., Awaitable[BroadcastView]], *, as_json: bool) -> None:
    """Carry out one act and show the broadcast. Raises as the act does."""

    async def work(store: Store) -> tuple[BroadcastView, int]:
        return await act(store, at_the_shell()), await live_workers(store)

    view, workers = with_store(env_file, work)
    if as_json:
        print_json(view.summary())
    else:
        click.echo(f"{view.id}  {view.name}: {view.state}")
    if view.state == "running" and not workers:
        with_redis = settings_from(env_file).redis_address
        go_on = "broadcaster worker" if with_redis else f"broadcaster broadcasts watch {view.id}"
        say(f"No worker is running. Start one with: {go_on}")
