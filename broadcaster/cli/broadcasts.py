"""`broadcaster broadcasts …`: look at broadcasts and steer them."""

from __future__ import annotations

from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import click

from broadcaster.cli.archiving import archive
from broadcaster.cli.connect import at_hand, told, with_home
from broadcaster.cli.exporting import export, output_options, save
from broadcaster.cli.home import live_workers
from broadcaster.cli.options import env_file_option, json_option, settings_from
from broadcaster.cli.output import PAGE, harmless, print_json, print_table, say, when
from broadcaster.cli.replays import (
    ask,
    asks,
    even_unknown_option,
    plural,
    replay_over_api,
    send_again,
    tell,
    yes_option,
)
from broadcaster.cli.showing import show_broadcast
from broadcaster.cli.templates import start_checked
from broadcaster.cli.waiting import unsent, waits_for_worker, why_here
from broadcaster.operations import audit
from broadcaster.operations import broadcasts as acts
from broadcaster.operations.actor import at_the_shell
from broadcaster.operations.dead_letters import failures_of
from broadcaster.operations.removals import kept
from broadcaster.reporting.broadcasts import list_broadcasts
from broadcaster.reporting.everything import everything_stopped
from broadcaster.reporting.exports import whole

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    from broadcaster.cli.home import Home
    from broadcaster.client import Client
    from broadcaster.reporting.broadcasts import BroadcastView
    from broadcaster.store.connection import Store

_ACTS: Final[Mapping[str, Callable[..., Awaitable[BroadcastView]]]] = {
    "pause": acts.pause,
    "resume": acts.resume,
    "cancel": acts.cancel,
}


@click.group()
def broadcasts() -> None:
    """List, show, watch, start, pause, resume, cancel, retry, export, archive, delete broadcasts."""


@broadcasts.command("list")
@click.option("--limit", default=50, show_default=True, type=click.IntRange(1, 1000))
@json_option
@env_file_option
def list_(limit: int, *, as_json: bool, env_file: Path | None) -> None:
    """List the newest broadcasts, newest first, and why one waits; above them what stops everything."""

    async def here(store: Store) -> tuple[str, list[dict[str, Any]]]:
        stopped = await everything_stopped(store)
        return stopped, [view.summary() for view in await list_broadcasts(store, limit=limit)]

    def there(client: Client) -> tuple[str, list[dict[str, Any]]]:
        found = islice(client.broadcasts(limit=min(limit, PAGE)), limit)
        return client.everything_stopped() or "", [one.raw for one in found]

    stopped, found = at_hand(env_file, here, there)
    if as_json:
        print_json([now | {"everything_stopped": stopped or None} for now in found])
        return
    if stopped:
        click.echo(harmless(stopped[0].upper() + stopped[1:]))
    print_table(
        ("id", "name", "state", "total", "unsent", "made", "why"),
        [
            (now["id"], now["name"], now["state"], now["total"], unsent(now), when(now["created_at"]),
             why_here(now, stopped))
            for now in found
        ],
        right=(3, 4),
    )  # fmt: skip


@broadcasts.command()
@click.argument("broadcast", metavar="ID")
@json_option
@env_file_option
def show(broadcast: str, *, as_json: bool, env_file: Path | None) -> None:
    """Show one broadcast: its states, codes, and what it waits for."""
    now = at_hand(
        env_file,
        lambda store: told(acts.existing(store, broadcast)),
        lambda client: client.broadcast(broadcast).raw,
    )
    show_broadcast(now, as_json=as_json)


@broadcasts.command()
@click.argument("broadcast", metavar="ID")
@json_option
@env_file_option
def watch(broadcast: str, *, as_json: bool, env_file: Path | None) -> int:
    """Watch a broadcast until it has ended; exit codes as of `send --wait`.

    Without REDIS_URL a worker is started if none runs, as `send` does; not so over an API.
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
    if settings.redis_address or settings.api_url:
        _steer(env_file, "start", broadcast, as_json=as_json)
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
    _steer(env_file, "pause", broadcast, reason, as_json=as_json)


@broadcasts.command()
@click.argument("broadcast", metavar="ID")
@json_option
@env_file_option
def resume(broadcast: str, *, as_json: bool, env_file: Path | None) -> None:
    """Let a paused broadcast go on."""
    _steer(env_file, "resume", broadcast, as_json=as_json)


@broadcasts.command()
@click.argument("broadcast", metavar="ID")
@click.option("--reason", default="by request", show_default=True, help="Shown to whoever asks.")
@json_option
@env_file_option
def cancel(broadcast: str, reason: str, *, as_json: bool, env_file: Path | None) -> None:
    """End a broadcast: what has not left is skipped."""
    _steer(env_file, "cancel", broadcast, reason, as_json=as_json)


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
    count, done = at_hand(
        env_file,
        lambda store: send_again(store, wanted, "retried", even_unknown=even_unknown, yes=yes),
        lambda client: replay_over_api(client, wanted, "retried", even_unknown=even_unknown, yes=yes),
    )
    tell(count, done, "retried", as_json=as_json)


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
        await kept(store, broadcast)
        await audit.record(store, at_the_shell(), "broadcast.export", broadcast)
        await export(store, whole(store, broadcast), [broadcast], how=how, output=output, as_json=as_json)

    def there(client: Client) -> None:
        download = partial(client.export_broadcast, broadcast)
        save(download, "message", how=how, output=output, as_json=as_json)

    at_hand(env_file, work, there)


broadcasts.add_command(archive)


@broadcasts.command()
@click.argument("broadcast", metavar="ID")
@yes_option
@json_option
@env_file_option
def delete(broadcast: str, *, yes: bool, as_json: bool, env_file: Path | None) -> None:
    """Remove a draft, or a broadcast that has ended, with all its messages and the replies to them."""

    async def work(store: Store) -> None:
        view = await acts.existing(store, broadcast)
        ask(f"Delete {view.name!r} with all of {plural(view.total)} for good?", yes=yes)
        await acts.delete(store, at_the_shell(), broadcast)

    def there(client: Client) -> None:
        if asks(yes=yes):
            found = client.broadcast(broadcast)
            ask(f"Delete {found.name!r} with all of {plural(found.total)} for good?", yes=yes)
        client.delete_broadcast(broadcast)

    at_hand(env_file, work, there)
    if as_json:
        print_json({"deleted": broadcast})
    else:
        click.echo(f"{broadcast}: deleted")


def _attend(env_file: Path | None, broadcast: str, *, start_it: bool = False, as_json: bool) -> int:
    """Start it, if that is asked, and stay to the end. Raises as `acts.start` and `attend`."""
    from broadcaster.cli.attending import attend  # noqa: PLC0415 - most commands wait for nothing

    settings = settings_from(env_file)
    if settings.api_url:
        from broadcaster.cli.over_api import api  # noqa: PLC0415
        from broadcaster.cli.waiting import wait_over_api  # noqa: PLC0415

        with api(settings) as client:
            code, now = wait_over_api(client, broadcast)
        show_broadcast(now, as_json=as_json)
        return code

    async def work(store: Store, home: Home | None) -> tuple[int, BroadcastView]:
        if start_it:
            await start_checked(store, settings, broadcast)
        return await attend(store, broadcast, home)

    code, view = with_home(env_file, work)
    show_broadcast(view.summary(), as_json=as_json)
    return code


def _steer(
    env_file: Path | None, verb: str, broadcast: str, reason: str | None = None, *, as_json: bool
) -> None:
    """Carry out one act and show the broadcast. Raises as the act does."""

    async def here(store: Store) -> tuple[dict[str, Any], int]:
        if verb == "start":
            view = await start_checked(store, settings_from(env_file), broadcast)
        else:
            why = () if reason is None else (reason,)
            view = await _ACTS[verb](store, at_the_shell(), broadcast, *why)
        return view.summary(), await live_workers(store)

    def there(client: Client) -> tuple[dict[str, Any], int]:
        now = client.steer(broadcast, verb, reason).raw
        return now, not waits_for_worker(now)

    now, workers = at_hand(env_file, here, there)
    if as_json:
        print_json(now)
    else:
        click.echo(f"{now['id']}  {now['name']}: {now['state']}")
    if now["state"] == "running" and not workers:
        settings = settings_from(env_file)
        elsewhere = settings.redis_address or settings.api_url
        go_on = "broadcaster worker" if elsewhere else f"broadcaster broadcasts watch {now['id']}"
        say(f"No worker is running. Start one with: {go_on}")
