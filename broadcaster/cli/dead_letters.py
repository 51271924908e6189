"""`broadcaster dead-letters …`: what will not be sent, and why."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import click

from broadcaster.cli.connect import at_hand
from broadcaster.cli.exporting import export, output_options, save
from broadcaster.cli.options import env_file_option, json_option
from broadcaster.cli.output import PAGE, print_json, print_table, say
from broadcaster.cli.replays import (
    ask,
    asks,
    count_first,
    even_unknown_option,
    plural,
    replay_over_api,
    send_again,
    tell,
    yes_option,
)
from broadcaster.operations import audit
from broadcaster.operations import dead_letters as acts
from broadcaster.operations.actor import at_the_shell
from broadcaster.operations.broadcasts import existing
from broadcaster.operations.dead_letters import Wanted
from broadcaster.reporting.dead_letters import (
    CodeTotal,
    broadcasts_with_dead_letters,
    dead_letter_codes,
    list_dead_letters,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from broadcaster.client import Client
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

    async def here(store: Store) -> list[dict[str, Any]]:
        ids = (
            [(await existing(store, broadcast)).id]
            if broadcast
            else await broadcasts_with_dead_letters(store)
        )
        if by_code:
            totals = await dead_letter_codes(store, ids)
            return [total.summary() for total in totals if not codes or total.code in codes]
        found: list[dict[str, Any]] = []
        async for view in list_dead_letters(store, ids, codes):
            found.append(view.summary())
            if len(found) > limit:
                break
        return found

    def there(client: Client) -> list[dict[str, Any]]:
        if by_code:
            return [total.summary() for total in _totals(client, broadcast, codes)]
        letters = client.dead_letters(broadcast=broadcast, codes=codes, limit=min(limit + 1, PAGE))
        return [letter.raw for letter in islice(letters, limit + 1)]

    found = at_hand(env_file, here, there)
    if by_code:
        _show_totals(found, as_json=as_json)
        return
    more, found = len(found) > limit, found[:limit]
    if as_json:
        print_json(found)
    else:
        print_table(
            ("message", "to", "sender", "code", "meaning"),
            [(v["id"], v["to"], v["sender"], str(v["code"] or 0), v["meaning"] or "") for v in found],
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
    count, done = at_hand(
        env_file,
        lambda store: send_again(store, wanted, "replayed", even_unknown=even_unknown, yes=yes),
        lambda client: replay_over_api(client, wanted, "replayed", even_unknown=even_unknown, yes=yes),
    )
    tell(count, done, "replayed", as_json=as_json)


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
    wanted = Wanted(messages, broadcast, codes, everything)

    async def here(store: Store) -> tuple[int, dict[str, Any]]:
        found = await acts.find(store, wanted)
        if found.count:
            ask(f"Discard {plural(found.count)} for good?", yes=yes)
        done = await acts.discard(store, at_the_shell(), found)
        return found.count, acts.summary(found, done, "discarded")

    def there(client: Client) -> tuple[int, dict[str, Any]]:
        wanted.check()
        if asks(yes=yes) and (counted := count_first(client, wanted)):
            ask(f"Discard {plural(sum(counted.values()))} for good?", yes=yes)
        done = client.discard(**wanted.form())
        nothing_else = {"already_sent": 0, "sms_instead": 0, "may_have_been_sent": 0, "refused": {}}
        return done["discarded"] + done["unchanged"], done | nothing_else

    count, done = at_hand(env_file, here, there)
    tell(count, done, "discarded", as_json=as_json)


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

    def there(client: Client) -> None:
        def download(form: str) -> Iterator[bytes]:
            return client.export_dead_letters(form, broadcast=broadcast, codes=codes)

        save(download, "message", how=how, output=output, as_json=as_json)

    at_hand(env_file, work, there)


def _totals(client: Client, broadcast: str | None, codes: Sequence[int]) -> list[CodeTotal]:
    """Count by broadcast and code, as `dead_letter_codes` does: the newest broadcast first."""
    counted: dict[str, Counter[int]] = {}
    for letter in client.dead_letters(broadcast=broadcast, codes=codes, limit=PAGE):
        counted.setdefault(letter.raw["broadcast"], Counter())[letter.code or 0] += 1
    return [CodeTotal(one, code, n) for one, found in counted.items() for code, n in found.most_common()]


def _show_totals(totals: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(totals)
        return
    print_table(
        ("broadcast", "code", "messages", "meaning"),
        [(total["broadcast"], str(total["code"]), total["count"], total["meaning"]) for total in totals],
        right=(2,),
    )
