"""`broadcaster events endpoints …`: who is told what happens, and how deliveries to them went."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

import click

from broadcaster.cli.connect import at_hand, told
from broadcaster.cli.exits import CommandFailedError, InputError
from broadcaster.cli.options import env_file_option, json_option, settings_from
from broadcaster.cli.output import print_json, print_table, say, when
from broadcaster.events.endpoints import KINDS
from broadcaster.operations import event_endpoints as acts
from broadcaster.operations.actor import at_the_shell
from broadcaster.runtime import postman

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from broadcaster.client import Client
    from broadcaster.store.connection import Store


@click.group()
def events() -> None:
    """Tell your services what happens, by the Standard Webhooks specification."""


@events.group()
def endpoints() -> None:
    """List, make, test, rotate and delete endpoints; list and replay deliveries to them."""


@endpoints.command("list")
@json_option
@env_file_option
def list_(*, as_json: bool, env_file: Path | None) -> None:
    """List endpoints: of what each is told, and how it does."""

    async def here(store: Store) -> list[dict[str, Any]]:
        return [view.summary() for view in await acts.list_(store)]

    rows = at_hand(env_file, here, lambda client: list(client.event_endpoints()))
    if as_json:
        print_json(rows)
        return
    print_table(
        ("endpoint", "url", "types", "state", "waiting", "parked", "behind", "last answer"),
        [
            (r["id"], r["url"], ",".join(r["types"]), _state(r), r["waiting"], r["parked"], r["behind"],
             r["last_answer"])
            for r in rows
        ],
        right=(4, 5, 6),
    )  # fmt: skip


@endpoints.command()
@click.argument("url")
@click.option(
    "--type", "types", multiple=True, metavar="TYPE", help=f"What to tell; repeatable: {', '.join(KINDS)}."
)
@click.option("--all-types", is_flag=True, help="Tell everything.")
@click.option("--description", default="", help="What to call it: the service that is told.")
@json_option
@env_file_option
def create(
    url: str,
    types: Sequence[str],
    description: str,
    *,
    all_types: bool,
    as_json: bool,
    env_file: Path | None,
) -> None:
    """Make an endpoint; it is told of what happens from now on. Its secret is shown this once."""
    if bool(types) == all_types:
        raise InputError("say what to tell: --type message.failed, repeated as needed, or --all-types")

    async def here(store: Store) -> dict[str, Any]:
        settings = settings_from(env_file)
        rules = acts.Rules(settings.events_allow_http, settings.events_allow_private)
        view, secret = await acts.create(
            store, at_the_shell(), rules, url=url, types=types or KINDS, description=description
        )
        return {**view.summary(), "secret": secret}

    def there(client: Client) -> dict[str, Any]:
        return client.create_event_endpoint(url, types or KINDS, description=description)

    _show_secret(at_hand(env_file, here, there), as_json=as_json)


@endpoints.command()
@click.argument("endpoint", metavar="ID")
@json_option
@env_file_option
def show(endpoint: str, *, as_json: bool, env_file: Path | None) -> None:
    """Show an endpoint, how far it is, and what it last answered."""
    row = at_hand(
        env_file,
        lambda store: told(acts.show(store, endpoint)),
        lambda client: client.event_endpoint(endpoint),
    )
    if as_json:
        print_json(row)
        return
    for name, value in row.items():
        text = ", ".join(value) if isinstance(value, list) else value
        text = when(value) if name.endswith(("_at", "_since", "_until")) else text
        if text not in ("", None):
            click.echo(f"{name.replace('_', ' ') + ':':18}{text}")


@endpoints.command()
@click.argument("endpoint", metavar="ID")
@json_option
@env_file_option
def test(endpoint: str, *, as_json: bool, env_file: Path | None) -> None:
    """Send an event of type endpoint.test now, and say how that went; exit code 1 if it was not taken."""
    settings = settings_from(env_file)

    async def work(store: Store) -> dict[str, Any]:
        async with postman(settings) as post:
            return await acts.test(store, post, endpoint)

    tried = at_hand(env_file, work, lambda client: client.test_event_endpoint(endpoint))
    if as_json:
        print_json(tried)
    else:
        click.echo(f"{tried['answer']}, {tried['seconds']:.2f} s")
    if not tried["ok"]:
        raise CommandFailedError(f"the endpoint {endpoint} did not take it")


@endpoints.command()
@click.argument("endpoint", metavar="ID")
@json_option
@env_file_option
def rotate(endpoint: str, *, as_json: bool, env_file: Path | None) -> None:
    """Give an endpoint a new secret. For a day requests are signed by the old one, too."""

    async def here(store: Store) -> dict[str, Any]:
        view, secret = await acts.rotate(store, at_the_shell(), endpoint)
        return {**view.summary(), "secret": secret}

    row = at_hand(env_file, here, lambda client: client.rotate_event_secret(endpoint))
    _show_secret(row, as_json=as_json)


@endpoints.command()
@click.argument("endpoint", metavar="ID")
@json_option
@env_file_option
def enable(endpoint: str, *, as_json: bool, env_file: Path | None) -> None:
    """Let a disabled endpoint (it answered 410) be told again, of what happens from now on."""
    row = at_hand(
        env_file,
        lambda store: told(acts.enable(store, at_the_shell(), endpoint)),
        lambda client: client.enable_event_endpoint(endpoint),
    )
    if as_json:
        print_json(row)
    else:
        click.echo(f"{row['id']}: enabled")


@endpoints.command()
@click.argument("endpoint", metavar="ID")
@json_option
@env_file_option
def delete(endpoint: str, *, as_json: bool, env_file: Path | None) -> None:
    """Remove an endpoint with all its deliveries."""
    at_hand(
        env_file,
        lambda store: acts.delete(store, at_the_shell(), endpoint),
        lambda client: client.delete_event_endpoint(endpoint),
    )
    if as_json:
        print_json({"deleted": endpoint})
    else:
        click.echo(f"{endpoint}: deleted")


@endpoints.command()
@click.argument("endpoint", metavar="ID")
@click.option("--waiting", is_flag=True, help="Those that are due or go again; without it, parked ones.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 10_000))
@json_option
@env_file_option
def deliveries(endpoint: str, limit: int, *, waiting: bool, as_json: bool, env_file: Path | None) -> None:
    """List deliveries that were given up, the oldest first; or those that wait, the soonest first."""

    def there(client: Client) -> list[dict[str, Any]]:
        return list(
            islice(client.event_deliveries(endpoint, state="waiting" if waiting else "parked"), limit)
        )

    rows = at_hand(
        env_file, lambda store: acts.deliveries(store, endpoint, parked=not waiting, limit=limit), there
    )
    if as_json:
        print_json(rows)
        return
    print_table(
        ("event", "type", "happened", "tries", "last answer", "due" if waiting else "parked"),
        [
            (r["id"], r["type"], when(r["happened_at"]), r["tries"], r["last_answer"],
             when(r["due_at"] or r["parked_at"]))
            for r in rows
        ],
        right=(3,),
    )  # fmt: skip


@endpoints.command()
@click.argument("endpoint", metavar="ID")
@click.argument("ids", nargs=-1, metavar="[EVENT]…")
@click.option("--all", "everything", is_flag=True, help="All that are parked.")
@json_option
@env_file_option
def replay(
    endpoint: str, ids: Sequence[str], *, everything: bool, as_json: bool, env_file: Path | None
) -> None:
    """Let parked deliveries go again, from their first try on."""
    if bool(ids) == everything:
        raise InputError("say which: ids of parked events (deliveries lists them), or --all")
    again = at_hand(
        env_file,
        lambda store: acts.replay(store, at_the_shell(), endpoint, ids),
        lambda client: client.replay_event_deliveries(endpoint, ids),
    )
    if as_json:
        print_json({"replayed": again})
    else:
        click.echo(f"{again:,} deliveries go again")


def _state(row: dict[str, Any]) -> str:
    if row["state"] == "disabled":
        return f"disabled: {row['state_reason']}"
    return f"failing since {when(row['failing_since'])}" if row["failing_since"] else "enabled"


def _show_secret(row: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(row)
        return
    click.echo(row["secret"])
    say(f"Endpoint {row['id']}, {row['url']}: keep its secret now, it can't be shown again.")
