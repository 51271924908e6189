"""`broadcaster templates …`: the templates that the account has at Twilio."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final

import click

from broadcaster.cli.connect import at_twilio
from broadcaster.cli.options import env_file_option, json_option
from broadcaster.cli.output import harmless, print_json, print_table
from broadcaster.domain.message_templates import CATEGORIES, STATUSES
from broadcaster.intake.windows import Windows, minding_lanes
from broadcaster.operations import broadcasts as broadcast_acts
from broadcaster.operations import templates as acts
from broadcaster.operations.actor import at_the_shell
from broadcaster.operations.template_starts import to_be_asked
from broadcaster.runtime import twilio_rest
from broadcaster.settings import SettingsError

if TYPE_CHECKING:
    from pathlib import Path

    from broadcaster.client import Client
    from broadcaster.reporting.broadcasts import BroadcastView
    from broadcaster.settings import Settings
    from broadcaster.store.connection import Store
    from broadcaster.twilio.rest import TwilioRest

_SHOWN: Final = (
    *("sid", "name", "language", "status", "category", "rejection_reason", "types", "body"),
    *("variables", "required"),
)


@click.group()
def templates() -> None:
    """List and show Twilio's content templates, and what WhatsApp says of them."""


@templates.command("list")
@click.option("--status", type=click.Choice(STATUSES), help="Only those that WhatsApp has decided so about.")
@click.option("--language", metavar="CODE", help="Only in this language: de, pt_BR; pt is also pt_BR.")
@click.option("--category", type=click.Choice(CATEGORIES), help="Only of this category.")
@json_option
@env_file_option
def list_(
    status: str | None,
    language: str | None,
    category: str | None,
    *,
    as_json: bool,
    env_file: Path | None,
) -> None:
    """List the account's templates, by name."""

    async def here(twilio: TwilioRest) -> list[dict[str, Any]]:
        wanted = acts.Wanted(status, category, language)
        return [one.summary() for one in await acts.listed(twilio.templates, wanted)]

    def there(client: Client) -> list[dict[str, Any]]:
        return list(client.templates(status=status, language=language, category=category))

    rows = at_twilio(env_file, here, there)
    if as_json:
        print_json(rows)
        return
    print_table(
        ("sid", "name", "language", "status", "category", "variables"),
        [
            (
                *(row[key] or "" for key in ("sid", "name", "language", "status", "category")),
                ", ".join(row["variables"]),
            )
            for row in rows
        ],
        whole=(0,),
    )


@templates.command()
@click.argument("sid", metavar="HX…")
@json_option
@env_file_option
def show(sid: str, *, as_json: bool, env_file: Path | None) -> None:
    """Show one template: its text, its variables and their defaults, WhatsApp's approval."""

    async def here(twilio: TwilioRest) -> dict[str, Any]:
        return (await acts.existing(twilio.templates, sid)).summary()

    now = at_twilio(env_file, here, lambda client: client.template(sid))
    if as_json:
        print_json(now)
        return
    for name in _SHOWN:
        told = _told(now[name])
        if told:
            click.echo(f"{name.replace('_', ' ')}: {harmless(told)}")


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(key if default is None else f"{key} ({default})" for key, default in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value or "")


async def start_checked(store: Store, settings: Settings, broadcast: str) -> BroadcastView:
    """Start a broadcast whose templates may still be used, knowing who wrote meanwhile.

    Raises NotFound or Conflict.

    Without credentials nobody can be asked: whoever sends it finds out.
    """
    async with contextlib.AsyncExitStack() as stack:
        found = windows = None
        if await to_be_asked(store, broadcast) is not None or await minding_lanes(store, broadcast):
            with contextlib.suppress(SettingsError):
                twilio = await stack.enter_async_context(twilio_rest(settings))
                found, windows = twilio.templates, Windows(store, twilio)
        return await broadcast_acts.start(store, at_the_shell(), broadcast, found, windows)
