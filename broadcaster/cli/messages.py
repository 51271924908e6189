"""`broadcaster messages …`: what became of one number, or of one broadcast's recipients."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import click

from broadcaster.cli.connect import at_hand
from broadcaster.cli.exits import InputError
from broadcaster.cli.messages_at_twilio import cancel, delete, fetch, list_at_twilio, redact
from broadcaster.cli.options import env_file_option, json_option, settings_from
from broadcaster.cli.output import PAGE, print_json, print_table, say, when
from broadcaster.domain.addresses import parse_address, with_plus
from broadcaster.domain.record import State
from broadcaster.ledger.removing import removed_at
from broadcaster.operations.errors import NotFound
from broadcaster.operations.removals import check_kept
from broadcaster.reporting.messages import find_number, list_messages, read_message

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from pathlib import Path

    from broadcaster.client import Client
    from broadcaster.reporting.messages import MessageView
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
    "resend": "goes again by itself",
    "discard": "laid down by request",
}


@click.group()
def messages() -> None:
    """Find what became of single messages; those at Twilio by hand."""


for _command in (fetch, redact, cancel, delete):
    messages.add_command(_command)


@messages.command("list")
@click.option("--broadcast", metavar="ID", help="Of this broadcast.")
@click.option("--to", metavar="NUMBER", help="To this number, in --broadcast or wherever.")
@click.option("--state", type=click.Choice([state.label for state in State]), help="Only in this state.")
@click.option("--at-twilio", is_flag=True, help="Twilio's own list: whoever sent them, and received ones.")
@click.option("--from", "sender", metavar="SENDER", help="From this one, at Twilio.")
@click.option("--sent-on", metavar="DAY", help="On this day (GMT), at Twilio: 2026-11-21.")
@click.option("--sent-after", metavar="TIME", help="On or after this day or time, at Twilio.")
@click.option("--sent-before", metavar="TIME", help="On or before this day or time, at Twilio.")
@click.option("--page-size", type=click.IntRange(1, 1000), help="So many at once, at Twilio.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1))
@json_option
@env_file_option
def list_(
    broadcast: str | None,
    to: str | None,
    state: str | None,
    limit: int,
    *,
    at_twilio: bool,
    sender: str | None,
    sent_on: str | None,
    sent_after: str | None,
    sent_before: str | None,
    page_size: int | None,
    as_json: bool,
    env_file: Path | None,
) -> int:
    """List messages, of a broadcast or to a number; or those that Twilio has.

    --from, --sent-on, --sent-after, --sent-before and --page-size are about Twilio's.
    """
    filters = {
        "from_": sender, "sent_on": sent_on, "sent_after": sent_after, "sent_before": sent_before
    }  # fmt: skip
    if at_twilio or page_size or any(filters.values()):
        if broadcast or state:
            raise InputError(
                "Twilio knows neither our broadcasts nor our states: leave --broadcast and --state out"
            )
        return list_at_twilio(env_file, {"to": to, **filters}, page_size, limit, as_json=as_json)
    _list_ours(broadcast, to, state, limit, as_json=as_json, env_file=env_file)
    return 0


def _list_ours(
    broadcast: str | None,
    to: str | None,
    state: str | None,
    limit: int,
    *,
    as_json: bool,
    env_file: Path | None,
) -> None:
    if broadcast is None and to is None:
        raise InputError(
            "name what to look for: --broadcast ID, --to NUMBER, or both; --at-twilio lists what Twilio has"
        )
    states = [s for s in State if s.label == state]

    async def here(store: Store) -> tuple[list[dict[str, Any]], int | None]:
        address = parse_address(with_plus(to), settings_from(env_file).region) if to else None
        if broadcast and not await store.redis.exists(store.keys.broadcast(broadcast)):
            raise NotFound("broadcast", broadcast)
        found: list[dict[str, Any]] = []
        async for view in _matching(store, broadcast, address, states):
            found.append(view.summary())
            if len(found) > limit:
                break
        return found, None if found or not broadcast else await removed_at(store, broadcast)

    def there(client: Client) -> tuple[list[dict[str, Any]], int | None]:
        page = min(limit + 1, PAGE)
        if broadcast:
            found = client.broadcast_messages(broadcast, to=to, state=state, limit=page)
        else:
            everywhere = client.messages(to or "", limit=page)
            found = (message for message in everywhere if state in (None, message.state))
        listed = [message.raw for message in islice(found, limit + 1)]
        return listed, None if listed or not broadcast else client.broadcast(broadcast).removed_at

    found, removed = at_hand(env_file, here, there)
    if removed:
        say(f"The messages of {broadcast} are removed since {when(removed)}: only its counts are left.")
    _show(found[:limit], as_json=as_json)
    if len(found) > limit:
        say(f"There are more than {limit:,}; --limit shows more.")


def _show(found: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    print_table(
        ("message", "to", "state", "code", "meaning", "sid", "changed"),
        [
            (v["id"], v["to"], v["state"], str(v["code"] or ""), v["meaning"], v["sid"],
             when(v["changed_at"]))
            for v in found
        ],
    )  # fmt: skip


@messages.command()
@click.argument("message", metavar="ID")
@json_option
@env_file_option
def show(message: str, *, as_json: bool, env_file: Path | None) -> None:
    """Show one message and its attempts."""

    async def here(store: Store) -> dict[str, Any]:
        found = await read_message(store, message)
        if found is None:
            await check_kept(store, message)
            raise NotFound("message", message)
        view, attempts = found
        return view.summary() | {"history": [attempt.summary() for attempt in attempts]}

    summary = at_hand(env_file, here, lambda client: client.message(message).raw)
    if as_json:
        print_json(summary)
        return
    for name, value in summary.items():
        if value is not None and name != "history":
            click.echo(f"{name}: {when(value) if name.endswith('_at') else value}")
    for attempt in summary["history"]:
        began, ended, evidence = attempt["began_at"], attempt["ended_at"], attempt["evidence"]
        about = f" [{attempt['class']}]" if attempt.get("class") else ""
        code = f" {attempt['code']}: {attempt['meaning'] or ''}{about}" if attempt["code"] else ""
        seen = f" ({_WORDS.get(evidence, evidence)})" if evidence else ""
        later = f", {ended - began:,} s later" if began and ended > began else ""
        click.echo(f"attempt {attempt['attempt']}, {when(began)}{later}: {attempt['state']}{code}{seen}")


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
