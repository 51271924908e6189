"""`broadcaster dead-letters …`: what will not be sent, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from broadcaster.cli.connect import with_store
from broadcaster.cli.exporting import export, output_options
from broadcaster.cli.options import env_file_option, json_option
from broadcaster.cli.output import print_json, print_table, say
from broadcaster.cli.replays import ask, even_unknown_option, plural, send_again, tell, yes_option
from broadcaster.operations import audit
from broadcaster.operations import dead_letters as acts
from broadcaster.operations.actor import at_the_shell
from broadcaster.operations.broadcasts import existing
from broadcaster.operations.dead_letters import Found, Wanted
from broadcaster.reporting.dead_letters import (
    CodeTotal,
    broadcasts_with_dead_letters,
    dead_letter_codes,
    list_dead_letters,
)
from broadcaster.twilio.codes import meaning

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from broadcaster.ledger.replaying import Done
    from broadcaster.reporting.messages import MessageView
    from broadcaster.store.connection import Store


_F = TypeVar("_F", bound="Callable[..., Any]")


def _chosen(function: _F) -> _F:
    """Add what says which letters are meant."""
    function = click.option("--all", "everything", is_flag=True, help="All there are.")(function)
    function = click.option("--broadcast", metavar="ID", help="All of this broadcast.")(function)
    function = click.option(
        "--code", "codes", type=int, multiple=True, help="All with this code; repeatable."
    )(function)
    return click.argument("messages", nargs=-1, metavar="[MESSAGE[@ATTEMPT]]…")(function)


@click.group("dead-letters")
def dead_letters() -> None:
    """List messages that will not be sent and why; send them again, discard or export them."""


@dead_letters.command("list")
@click.option("--broadcast", metavar="ID", help="Only of this broadcast.")
@click.option("--code", "codes", type=int, multiple=True, help="Only with this code; repeatable.")
@click.option("--by-code", is_flag=True, help="Count them by code.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1))
@json_option
@env_file_option
def list_(
    broadcast: str | None,
    codes: Sequence[int],
    limit: int,
    *,
    by_code: bool,
    as_json: bool,
    env_file: Path | None,
) -> None:
    """List dead letters, newest broadcast first, each with its code and what that means."""

    async def work(store: Store) -> tuple[list[CodeTotal], list[MessageView], bool]:
        ids = (
            [(await existing(store, broadcast)).id]
            if broadcast
            else await broadcasts_with_dead_letters(store)
        )
        if by_code:
            totals = await dead_letter_codes(store, ids)
            return [total for total in totals if not codes or total.code in codes], [], False
        found: list[MessageView] = []
        async for view in list_dead_letters(store, ids, codes):
            if len(found) >= limit:
                return [], found, True
            found.append(view)
        return [], found, False

    totals, found, more = with_store(env_file, work)
    if by_code:
        _show_totals(totals, as_json=as_json)
        return
    if as_json:
        print_json([view.summary() for view in found])
    else:
        print_table(
            ("message", "to", "sender", "code", "meaning"),
            [(v.id, v.to, v.sender, str(v.record.code), meaning(v.record.code)) for v in found],
        )
    if more:
        say(f"There are more than {limit:,}; --limit shows more.")


@dead_letters.command()
@_chosen
@even_unknown_option
@yes_option
@json_option
@env_file_option
def replay(
    messages: Sequence[str],
    broadcast: str | None,
    codes: Sequence[int],
    *,
    everything: bool,
    even_unknown: bool,
    yes: bool,
    as_json: bool,
    env_file: Path | None,
) -> None:
    """Send dead letters again, at the pace of their senders; each once, however often this is asked."""
    wanted = Wanted(messages, broadcast, codes, everything)
    found, done = with_store(
        env_file, lambda store: send_again(store, wanted, even_unknown=even_unknown, yes=yes)
    )
    tell(found, done, "replayed", as_json=as_json)


@dead_letters.command()
@_chosen
@yes_option
@json_option
@env_file_option
def discard(
    messages: Sequence[str],
    broadcast: str | None,
    codes: Sequence[int],
    *,
    everything: bool,
    yes: bool,
    as_json: bool,
    env_file: Path | None,
) -> None:
    """Lay dead letters down: they count as skipped from then on, and can't be sent again."""

    async def work(store: Store) -> tuple[Found, Done]:
        found = await acts.find(store, Wanted(messages, broadcast, codes, everything))
        if found.count:
            ask(f"Discard {plural(found.count)} for good?", yes=yes)
        return found, await acts.discard(store, at_the_shell(), found)

    found, done = with_store(env_file, work)
    tell(found, done, "discarded", as_json=as_json)


@dead_letters.command("export")
@click.option("--broadcast", metavar="ID", help="Only of this broadcast.")
@click.option("--code", "codes", type=int, multiple=True, help="Only with this code; repeatable.")
@output_options
@json_option
@env_file_option
def export_(
    broadcast: str | None,
    codes: Sequence[int],
    how: str | None,
    output: Path | None,
    *,
    as_json: bool,
    env_file: Path | None,
) -> None:
    """Write dead letters as CSV or NDJSON: a valid list for `send`."""

    async def work(store: Store) -> None:
        ids = [broadcast] if broadcast else await broadcasts_with_dead_letters(store, limit=None)
        if broadcast:
            await existing(store, broadcast)
        wanted = Wanted(broadcast=broadcast, codes=codes).summary()
        await audit.record(store, at_the_shell(), "dead_letter.export", broadcast or "all", new=wanted)
        letters = list_dead_letters(store, ids, codes)
        await export(store, letters, ids, how=how, output=output, as_json=as_json)

    with_store(env_file, work)


def _show_totals(totals: list[CodeTotal], *, as_json: bool) -> None:
    if as_json:
        print_json([total.summary() for total in totals])
        return
    print_table(
        ("broadcast", "code", "messages", "meaning"),
        [(total.broadcast, str(total.code), total.count, meaning(total.code)) for total in totals],
        right=(2,),
    )
