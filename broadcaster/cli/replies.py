"""`broadcaster replies …`: what people wrote back, and what is still to be done about it."""

from __future__ import annotations

from itertools import islice
from time import time
from typing import TYPE_CHECKING, Any

import click

from broadcaster.cli.connect import at_hand, told
from broadcaster.cli.exits import InputError
from broadcaster.cli.options import env_file_option, json_option, settings_from
from broadcaster.cli.output import PAGE, harmless, print_json, print_table, say, when
from broadcaster.domain.times import TimeError, parse_duration, parse_moment
from broadcaster.operations import replies as acts
from broadcaster.operations.actor import at_the_shell
from broadcaster.reporting.replies import page

if TYPE_CHECKING:
    from pathlib import Path

    from broadcaster.client import Client
    from broadcaster.store.connection import Store

_SHOWN = 60


@click.group()
def replies() -> None:
    """Read what people wrote back; make opt-outs of what is flagged.

    A reply that asks to be left alone without being one of the words for it is flagged: `replies opt-out ID`
    does what it asks, `replies done ID` leaves it at that.
    """


@replies.command("list")
@click.option("--flagged", is_flag=True, help="Only those that wait for a person.")
@click.option(
    "--from", "from_", metavar="NUMBER", help="Only from this number; whatsapp:NUMBER for only that way."
)
@click.option("--since", metavar="TIME", help="Only from then on: 2026-11-21T18:30+01:00, or 2h, 3d ago.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1))
@json_option
@env_file_option
def list_(
    from_: str | None,
    since: str | None,
    limit: int,
    *,
    flagged: bool,
    as_json: bool,
    env_file: Path | None,
) -> None:
    """List replies, the newest first."""
    begin = _moment(since) if since else None

    async def here(store: Store) -> list[dict[str, Any]]:
        people = acts.people_of(from_, settings_from(env_file).region) if from_ else ()
        found: list[dict[str, Any]] = []
        after = None
        while len(found) <= limit:
            views, after = await page(
                store, limit=PAGE, after=after, people=people, flagged=flagged, since=begin
            )
            found += [view.summary() for view in views]
            if after is None:
                break
        return found[: limit + 1]

    def there(client: Client) -> list[dict[str, Any]]:
        found = client.replies(from_=from_, flagged=flagged, since=begin, limit=min(limit + 1, PAGE))
        return [reply.raw for reply in islice(found, limit + 1)]

    found = at_hand(env_file, here, there)
    more, found = len(found) > limit, found[:limit]
    if as_json:
        print_json(found)
    else:
        print_table(
            ("reply", "when", "from", "to", "meaning", "text", "media"),
            [
                (
                    *(one["id"], when(one["received_at"]), one["from"], one["to"]),
                    *(_meaning(one), _short(one["body"]), str(len(one["media"]) or "")),
                )
                for one in found
            ],
            whole=(0, 2),
        )
    if more:
        say(f"There are more than {limit:,}; --limit shows more.")


@replies.command()
@click.argument("reply", metavar="ID")
@json_option
@env_file_option
def show(reply: str, *, as_json: bool, env_file: Path | None) -> None:
    """Show one reply. Its media are at Twilio, which asks for the account's SID and token there."""

    async def here(store: Store) -> dict[str, Any]:
        return await told(acts.read(store, reply))

    _print(at_hand(env_file, here, lambda client: client.reply(reply).raw), as_json=as_json)


@replies.command("opt-out")
@click.argument("reply", metavar="ID")
@json_option
@env_file_option
def opt_out(reply: str, *, as_json: bool, env_file: Path | None) -> None:
    """Make an opt-out of a reply, as if it had been STOP: from its sender, and its service."""

    async def here(store: Store) -> dict[str, Any]:
        return await told(acts.opt_out_of(store, at_the_shell(), reply))

    summary = at_hand(env_file, here, lambda client: client.opt_out_by_reply(reply).raw)
    if as_json:
        print_json(summary)
    else:
        service = f" and of {summary['messaging_service_sid']}" if summary["messaging_service_sid"] else ""
        click.echo(harmless(f"{summary['from']} is opted out of {summary['to']}{service}"))


@replies.command()
@click.argument("reply", metavar="ID")
@json_option
@env_file_option
def done(reply: str, *, as_json: bool, env_file: Path | None) -> None:
    """Note that a reply was dealt with: it is flagged no more."""

    async def here(store: Store) -> dict[str, Any]:
        return await told(acts.mark_done(store, at_the_shell(), reply))

    summary = at_hand(env_file, here, lambda client: client.finish_reply(reply).raw)
    if as_json:
        print_json(summary)
    else:
        click.echo(f"{summary['id']} is done")


def _moment(text: str) -> float:
    """Return the unix second of a time, or of a duration ago. Raises InputError."""
    try:
        return time() - parse_duration(text)
    except TimeError:
        pass
    try:
        return parse_moment(text, None).timestamp()
    except TimeError as error:
        raise InputError(f"--since: {error}, or a span of time like 2h") from None


def _meaning(reply: dict[str, Any]) -> str:
    if reply["flagged"]:
        return "flagged"
    return str(reply["meaning"]).replace("_", "-")


def _short(body: str) -> str:
    line = " ".join(body.split())
    return line if len(line) <= _SHOWN else line[: _SHOWN - 1] + "…"


def _print(summary: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(summary)
        return
    for name, value in summary.items():
        if value in (None, False, "", [], 0):
            continue
        if name == "media":
            for one in value:
                click.echo(harmless(f"media: {one['url']} ({one['type'] or 'of no type'})"))
        elif isinstance(value, dict):
            click.echo(harmless(f"{name}: " + ", ".join(f"{k} {v}" for k, v in value.items() if v)))
        else:
            click.echo(harmless(f"{name}: {when(value) if name.endswith('_at') else value}"))
