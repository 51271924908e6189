"""`broadcaster workers …`: which processes send, and how they are asked to end in good order."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import click

from broadcaster.cli.connect import at_hand
from broadcaster.cli.exits import CommandFailedError, InputError
from broadcaster.cli.options import env_file_option, json_option
from broadcaster.cli.output import print_json, print_table, say, span, when
from broadcaster.client.errors import ApiError
from broadcaster.operations import workers as acts
from broadcaster.operations.actor import at_the_shell
from broadcaster.operations.errors import NotFound
from broadcaster.reporting.workers import list_workers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from broadcaster.client import Client
    from broadcaster.store.connection import Store

_LOOK_SECONDS: Final = 0.5
_CONFLICT: Final = 409
_GONE: Final = 404


@click.group()
def workers() -> None:
    """List the workers; ask them to end."""


@workers.command("list")
@json_option
@env_file_option
def list_(*, as_json: bool, env_file: Path | None) -> None:
    """List the workers that live, and those that were lost within the last day."""
    found = at_hand(env_file, _read, lambda client: [worker.raw for worker in client.workers()])
    _show(found, as_json=as_json)


@workers.command()
@click.argument("name", metavar="ID|HOST", required=False)
@click.option("--all", "everybody", is_flag=True, help="All that there are now.")
@click.option("--wait", is_flag=True, help="Return when they have ended.")
@json_option
@env_file_option
def drain(name: str | None, *, everybody: bool, wait: bool, as_json: bool, env_file: Path | None) -> None:
    """Ask workers to finish what is in flight, give back the rest and exit with 0.

    Nothing takes it back. Who restarts processes (systemd, compose) may start them again: stop them there.
    """
    if (name is None) == (not everybody):
        raise InputError("name a worker or a host (`broadcaster workers list`), or say --all")
    which = name or acts.ALL

    async def here(store: Store) -> tuple[list[str], list[str]]:
        chosen = await acts.chosen(store, which)
        kept = await acts.drain_each(store, at_the_shell(), chosen)
        names = [view.id for view in chosen]
        while wait and (left := _left(await _read(store), names)):
            if all(view["state"] != "draining" for view in left):
                break
            await asyncio.sleep(_LOOK_SECONDS)
        return names, kept

    names, kept = at_hand(env_file, here, lambda client: _over_api(client, which, wait=wait))
    views = at_hand(env_file, _read, lambda client: [worker.raw for worker in client.workers()])
    left = _left(views, names)
    _show(left if as_json or left else [], as_json=as_json)
    for reason in kept:
        say(f"Error: {reason}")
    lost = [view["id"] for view in left if view["state"] == "lost"]
    if wait and lost:
        say(f"Lost before they had ended: {', '.join(lost)}. Others take back what they held.")
    if not as_json and not left:
        say("No such worker is there any more." if names else "There is no worker.")
    if kept or (wait and left):
        raise CommandFailedError("not every worker could be drained")


async def _read(store: Store) -> list[dict[str, Any]]:
    return [view.summary() for view in await list_workers(store)]


def _left(views: Sequence[dict[str, Any]], names: Sequence[str]) -> list[dict[str, Any]]:
    return [view for view in views if view["id"] in names]


def _over_api(client: Client, which: str, *, wait: bool) -> tuple[list[str], list[str]]:
    """Do over the API what `here` does with the store."""
    names = [
        one.id
        for one in client.workers()
        if which == one.id or (one.state != "lost" and which in (acts.ALL, one.host))
    ]
    if not names and which != acts.ALL:
        raise NotFound("worker or host", which)
    kept = []
    for name in names:
        try:
            client.drain_worker(name)
        except ApiError as error:
            if error.status not in (_CONFLICT, _GONE):
                raise
            kept.append(str(error))
    while wait and (left := _left([one.raw for one in client.workers()], names)):
        if all(view["state"] != "draining" for view in left):
            break
        time.sleep(_LOOK_SECONDS)
    return names, kept


def _show(views: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(views)
        return
    if not views:
        return
    print_table(
        ("worker", "host", "pid", "version", "format", "state", "since", "seen", "in flight", "claims",
         "share"),
        [
            (v["id"], v["host"], str(v["pid"]), v["version"] or "older", v["format"], v["state"],
             when(v["since"]), f"{span(max(0.0, time.time() - v['seen_at']))} ago", v["in_flight"],
             v["claims"], f"{v['share']} of {v['concurrency']}")
            for v in views
        ],
        right=(4, 8, 9),
        whole=(0,),
    )  # fmt: skip
