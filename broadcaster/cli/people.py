"""`broadcaster forget` and `broadcaster recipients …`: one person."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from broadcaster.cli.connect import at_hand
from broadcaster.cli.options import env_file_option, json_option, settings_from
from broadcaster.cli.output import harmless, print_json, print_table, when
from broadcaster.cli.replays import ask, yes_option
from broadcaster.domain.addresses import with_plus
from broadcaster.domain.forgotten import addresses_of
from broadcaster.operations import people, person
from broadcaster.operations.actor import at_the_shell
from broadcaster.runtime import twilio_rest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from broadcaster.store.connection import Store


@click.command()
@click.argument("number", metavar="NUMBER")
@click.option(
    "--at-twilio", is_flag=True, help="Also at Twilio: empty all their messages, cancel those that wait."
)
@yes_option
@json_option
@env_file_option
def forget(number: str, *, at_twilio: bool, yes: bool, as_json: bool, env_file: Path | None) -> int:
    """Forget a person everywhere: a tombstone takes their place, and nothing that waits for them is sent.

    Counts stay, and so does a keyed hash of their opt-outs: only who opted out is never written to again.
    Says what is out of reach. Run twice it changes nothing; exit code 1 says that it should be run again.
    """
    settings = settings_from(env_file)
    addresses = addresses_of(with_plus(number), settings.region)
    ask(f"Forget {addresses[0]} for good?", yes=yes)

    async def here(store: Store) -> dict[str, Any]:
        if not at_twilio:
            return (await people.forget(store, at_the_shell(), addresses)).summary()
        async with twilio_rest(settings) as twilio:
            return (await people.forget(store, at_the_shell(), addresses, twilio=twilio)).summary()

    done = at_hand(env_file, here, lambda client: client.forget(addresses[0], at_twilio=at_twilio))
    if as_json:
        print_json(done)
    else:
        _tell(done)
    return 1 if done["again"] else 0


def _tell(done: Mapping[str, Any]) -> None:
    click.echo(
        f"Forgotten in {done['messages']:,} messages ({done['skipped']:,} of them unsent), "
        f"{done['replies']:,} replies, {done['lists']:,} lists, {done['answers']:,} kept answers, "
        f"{done['events']:,} events; {done['opt_outs']:,} opt-outs are kept as a hash."
    )
    if done["files"]:
        click.echo(f"Written anew: {', '.join(done['files'])}.")
    if theirs := done["at_twilio"]:
        click.echo(f"At Twilio {theirs['redacted']:,} of {theirs['found']:,} messages were emptied.")
        for failure in theirs["failures"]:
            click.echo(f"  {failure['sid'] or 'a list'}: {failure['meaning']}")
    for why in done["again"]:
        click.echo(f"Not done: {why}.")
    click.echo("May still hold the person:")
    for what in done["remains"]:
        click.echo(f"  {what}")


@click.group()
def recipients() -> None:
    """Show all that is known of one person."""


@recipients.command()
@click.argument("number", metavar="NUMBER")
@json_option
@env_file_option
def show(number: str, *, as_json: bool, env_file: Path | None) -> None:
    """Show all that is known of a person: messages with their texts, replies, opt-outs, rejected rows."""
    addresses = addresses_of(with_plus(number), settings_from(env_file).region)
    known = at_hand(
        env_file,
        lambda store: person.show(store, at_the_shell(), addresses),
        lambda client: client.recipient(addresses[0]),
    )
    if as_json:
        print_json(known)
        return
    click.echo(f"{known['number']}: {len(known['messages']):,} messages, {len(known['replies']):,} replies")
    for message in known["messages"]:
        code = f" ({message['code']}: {message['meaning'] or ''})" if message["code"] else ""
        changed = when(message["changed_at"])
        click.echo(f"{changed}  {message['id']}, from {message['sender']}: {message['state']}{code}")
        click.echo(harmless(f"  {message['body'] or message['content_variables'] or ''}"))
        told = {"reference": message["reference"], "consent": message["consent"], **message["variables"]}
        if said := ", ".join(f"{name}: {value}" for name, value in told.items() if value):
            click.echo(harmless(f"  {said}"))
    for reply in known["replies"]:
        text = f"{when(reply['received_at'])}  {reply['id']}, to {reply['to']}: {reply['body']}"
        click.echo(harmless(text))
    if known["opt_outs"]:
        print_table(
            ("opted out of", "purpose", "since", "source"),
            [
                (one["sender"], one["purpose"] or "all", when(one["since"]), one["source"])
                for one in known["opt_outs"]
            ],
        )
    for row in known["rejected"]:
        click.echo(f"{row['broadcast']}, line {row['line']} was not taken: {row['reason']}")
    if any(known["waiting"].values()):
        waiting = known["waiting"]
        click.echo(
            f"On their way: {waiting['callbacks']:,} callbacks from Twilio, {waiting['events']:,} events."
        )
