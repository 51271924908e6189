"""`broadcaster senders …`: each sender's pace and what stops it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from broadcaster.cli.connect import at_hand, told
from broadcaster.cli.exits import InputError
from broadcaster.cli.options import env_file_option, json_option
from broadcaster.cli.output import print_json, print_table, say
from broadcaster.domain.senders import format_rate, parse_rate
from broadcaster.operations import lanes as acts
from broadcaster.operations.actor import at_the_shell
from broadcaster.reporting.lanes import list_lanes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from broadcaster.store.connection import Store


@click.group()
def senders() -> None:
    """List senders; set their pace; pause and resume them."""


@senders.command("list")
@json_option
@env_file_option
def list_(*, as_json: bool, env_file: Path | None) -> None:
    """List the senders that have been used or set."""

    async def here(store: Store) -> list[dict[str, Any]]:
        return [view.summary() for view in await list_lanes(store)]

    found = at_hand(env_file, here, lambda client: [sender.raw for sender in client.senders()])
    _show(found, as_json=as_json, alone=False)


@senders.command("set")
@click.argument("sender")
@click.option("--rate", required=True, metavar="R", help="Segments a second: 50, 1/3s, 100/min.")
@json_option
@env_file_option
def set_(sender: str, rate: str, *, as_json: bool, env_file: Path | None) -> None:
    """Set a sender's pace, also while it is sending."""
    try:
        pace = parse_rate(rate)
    except ValueError as error:
        raise InputError(f"--rate: {error}") from None
    view = at_hand(
        env_file,
        lambda store: told(acts.set_rate(store, at_the_shell(), sender, pace)),
        lambda client: client.set_rate(sender, pace).raw,
    )
    _tell(view, as_json=as_json)


@senders.command()
@click.argument("sender")
@click.option("--reason", default="by request", show_default=True, help="Shown to whoever asks why it waits.")
@json_option
@env_file_option
def pause(sender: str, reason: str, *, as_json: bool, env_file: Path | None) -> None:
    """Stop one sender, within a second."""
    view = at_hand(
        env_file,
        lambda store: told(acts.pause(store, at_the_shell(), sender, reason)),
        lambda client: client.pause_sender(sender, reason).raw,
    )
    _tell(view, as_json=as_json)


@senders.command()
@click.argument("sender")
@json_option
@env_file_option
def resume(sender: str, *, as_json: bool, env_file: Path | None) -> None:
    """Let a stopped or held sender go on."""
    view = at_hand(
        env_file,
        lambda store: told(acts.resume(store, at_the_shell(), sender)),
        lambda client: client.resume_sender(sender).raw,
    )
    _tell(view, as_json=as_json)


def _tell(view: Mapping[str, Any], *, as_json: bool) -> None:
    _show([view], as_json=as_json, alone=True)
    if view.get("warning"):
        say(f"Warning: {view['warning']}")
    if view["state"] == "paused" and not view["broadcasts"]:
        # a number mistyped looks like one nobody has used yet
        say(f"No broadcast is using {view['name']} now.")


def _show(views: Sequence[Mapping[str, Any]], *, as_json: bool, alone: bool) -> None:
    if as_json:
        print_json(views[0] if alone and views else views)
        return
    print_table(
        ("sender", "kind", "rate", "state", "reason", "broadcasts"),
        [
            (v["name"], v["kind"], format_rate(v["rate"]) if v["rate"] else "", v["state"], _reason(v),
             v["broadcasts"])
            for v in views
        ],
        right=(5,),
    )  # fmt: skip


def _reason(view: Mapping[str, Any]) -> str:
    shared = f"shares the permits of {view['shares_permits_of']}" if view["shares_permits_of"] else ""
    held = f"for {view['held_seconds']:.0f} s: " if view["held_seconds"] else ""
    return "; ".join(filter(None, (f"{held}{view['state_reason'] or ''}", shared)))
