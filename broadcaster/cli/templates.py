"""`broadcaster templates …`: the templates that the account has at Twilio."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from broadcaster.cli import running
from broadcaster.cli.options import env_file_option, json_option, settings_from
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
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from broadcaster.client import Client
    from broadcaster.reporting.broadcasts import BroadcastView
    from broadcaster.settings import Settings
    from broadcaster.store.connection import Store
    from broadcaster.twilio.content import Templates

_T = TypeVar("_T")
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

    async def here(found: Templates) -> list[dict[str, Any]]:
        wanted = acts.Wanted(status, category, language)
        return [one.summary() for one in await acts.listed(found, wanted)]

    def there(client: Client) -> list[dict[str, Any]]:
        return list(client.templates(status=status, language=language, category=category))

    rows = _at_twilio(env_file, here, there)
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

    async def here(found: Templates) -> dict[str, Any]:
        return (await acts.existing(found, sid)).summary()

    now = _at_twilio(env_file, here, lambda client: client.template(sid))
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


def _at_twilio(
    env_file: Path | None, here: Callable[[Templates], Awaitable[_T]], there: Callable[[Client], _T]
) -> _T:
    """Ask the API that is named, if one is, else Twilio; needs no Redis.

    Raises SettingsError, `TwilioError`, `TwilioUnreachable`, NotFound, or as `over_api.api`.
    """
    settings = settings_from(env_file)
    if settings.api_url is not None:
        from broadcaster.cli.over_api import api  # noqa: PLC0415 - most need no HTTP client

        with api(settings) as client:
            return there(client)

    async def run() -> _T:
        async with twilio_rest(settings) as twilio:
            return await here(twilio.templates)

    return running.run(run())


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
