"""`broadcaster messages …`: what became of one number, or of one broadcast's recipients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import click

from broadcaster.cli.connect import with_store
from broadcaster.cli.exits import InputError
from broadcaster.cli.options import env_file_option, json_option, settings_from
from broadcaster.cli.output import print_json, print_table, say, when
from broadcaster.domain.addresses import parse_address, with_plus
from broadcaster.domain.record import State
from broadcaster.reporting.messages import MessageView, find_number, list_messages, read_message
from broadcaster.twilio.codes import meaning

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from broadcaster.store.connection import Store


_WORDS: Final = {
    "answer": "Twilio's answer",
    "callback": "a status callback",
    "list": "found in Twilio's list",
    "absent": "not in Twilio's list",
    "policy": "no evidence was found; not sent again",
    "lease": "its worker was lost",
    "late": "known only after a newer attempt had left: a duplicate",
    "replay": "sent again by request",
    "discard": "laid down by request",
}


@click.group()
def messages() -> None:
    """Find what became of single messages."""


@messages.command("list")
@click.option("--broadcast", metavar="ID", help="Of this broadcast.")
@click.option("--to", metavar="NUMBER", help="To this number, in --broadcast or wherever.")
@click.option("--state", type=click.Choice([state.label for state in State]), help="Only in this state.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1))
@json_option
@env_file_option
def list_(
    broadcast: str | None,
    to: str | None,
    state: str | None,
    limit: int,
    *,
    as_json: bool,
    env_file: Path | None,
) -> None:
    """List messages, of a broadcast or to a number."""
    if broadcast is None and to is None:
        raise InputError("name what to look for: --broadcast ID, --to NUMBER, or both")
    address = parse_address(with_plus(to), settings_from(env_file).region) if to else None
    states = [s for s in State if s.label == state]

    async def work(store: Store) -> tuple[list[MessageView], bool]:
        if broadcast and not await store.redis.exists(store.keys.broadcast(broadcast)):
            raise InputError(f"there is no broadcast {broadcast}")
        found: list[MessageView] = []
        async for view in _matching(store, broadcast, address, states):
            if len(found) >= limit:
                return found, True
            found.append(view)
        return found, False

    found, more = with_store(env_file, work)
    if as_json:
        print_json([view.summary() for view in found])
    else:
        print_table(
            ("message", "to", "state", "code", "meaning", "sid", "changed"),
            [
                (v.id, v.to, v.record.state.label, str(v.record.code or ""), meaning(v.record.code),
                 v.record.sid, when(v.record.changed))
                for v in found
            ],
        )  # fmt: skip
    if more:
        say(f"There are more than {limit:,}; --limit shows more.")


@messages.command()
@click.argument("message", metavar="ID")
@json_option
@env_file_option
def show(message: str, *, as_json: bool, env_file: Path | None) -> None:
    """Show one message and its attempts."""
    found = with_store(env_file, lambda store: read_message(store, message))
    if found is None:
        raise InputError(f"there is no message {message}: `broadcaster messages list --to NUMBER` finds ids")
    view, attempts = found
    summary: dict[str, Any] = view.summary() | {"history": [attempt.summary() for attempt in attempts]}
    if as_json:
        print_json(summary)
        return
    for name, value in view.summary().items():
        if value is not None:
            click.echo(f"{name}: {when(value) if name.endswith('_at') else value}")
    for attempt in attempts:
        code = f" {attempt.code}: {meaning(attempt.code)}" if attempt.code else ""
        seen = f" ({_WORDS.get(attempt.evidence, attempt.evidence)})" if attempt.evidence else ""
        took = attempt.ended - attempt.began
        later = f", {took:,} s later" if attempt.began and took > 0 else ""
        click.echo(
            f"attempt {attempt.attempt}, {when(attempt.began)}{later}: {attempt.state.label}{code}{seen}"
        )


async def _matching(
    store: Store, broadcast: str | None, address: str | None, states: list[State]
) -> AsyncIterator[MessageView]:
    if address is None:
        async for view in list_messages(store, broadcast or "", states):
            yield view
        return
    async for view in find_number(store, broadcast, address):
        if not states or view.record.state in states:
            yield view
