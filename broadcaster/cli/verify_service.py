"""`broadcaster verify service …`: what all verifications of a Verify service have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import click

from broadcaster.cli.options import env_file_option, json_option
from broadcaster.cli.output import harmless, print_json, print_table, say, when
from broadcaster.cli.verifying import at_verify
from broadcaster.domain.verify_services import ONLY_BY_SUPPORT, ServiceChange
from broadcaster.operations import verify_services as acts

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from broadcaster.operations.verifications import Verifying

_F = TypeVar("_F", bound="Callable[..., Any]")
_named = click.argument("sid", metavar="[VA…]", required=False)


def _switch(name: str, words: str) -> Any:
    return click.option(f"--{name}/--no-{name}", default=None, help=words)


_OPTIONS = (
    click.option("--friendly-name", metavar="NAME", help="How messages call you: at most 32 characters."),
    click.option("--code-length", type=int, metavar="N", help="4 to 10."),
    _switch("custom-code-enabled", "Verifications may bring a code of their own."),
    _switch("lookup-enabled", "Look each number up; costs extra."),
    _switch("skip-sms-to-landlines", "Needs --lookup-enabled."),
    _switch("dtmf-input-required", "Whoever is called presses a key before hearing the code."),
    _switch("do-not-share-warning-enabled", "The SMS ends with a warning to share the code with nobody."),
    _switch("psd2-enabled", "Starts may bring --amount and --payee."),
    click.option("--tts-name", metavar="NAME", help="What reads codes out in calls."),
    click.option("--default-template-sid", metavar="HJ…", help="The template of SMS."),
    click.option("--whatsapp-messaging-service-sid", metavar="MG…", help="Where the WhatsApp sender is."),
    click.option("--whatsapp-from", metavar="whatsapp:+…", help="The WhatsApp sender."),
    _switch("verify-event-subscription-enabled", "Tell Twilio's event streams."),
)


def _settings(function: _F) -> _F:
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@click.group(epilog=ONLY_BY_SUPPORT)
def service() -> None:
    """Make, show and change Verify services. Without VA… the settings' own, TWILIO_VERIFY_SERVICE_SID."""


@service.command(epilog=ONLY_BY_SUPPORT)
@_settings
@json_option
@env_file_option
def create(*, as_json: bool, env_file: Path | None, **settings: Any) -> None:
    """Make a Verify service: set its SID as TWILIO_VERIFY_SERVICE_SID. Run twice it makes two."""

    async def here(work: Verifying) -> dict[str, Any]:
        return (await acts.create(work, ServiceChange(**settings))).summary()

    _print(
        at_verify(env_file, here, lambda client: client.create_verify_service(**settings)), as_json=as_json
    )


@service.command("list")
@json_option
@env_file_option
def list_(*, as_json: bool, env_file: Path | None) -> None:
    """List the account's Verify services."""

    async def here(work: Verifying) -> list[dict[str, Any]]:
        return [one.summary() for one in await acts.every(work)]

    found = at_verify(env_file, here, lambda client: client.verify_services())
    if as_json:
        print_json(found)
        return
    print_table(
        ("service", "name", "code length", "custom codes", "made"),
        [
            (one["sid"], one["friendly_name"], one["code_length"], _shown(one["custom_code_enabled"]),
             when(one["created_at"]))
            for one in found
        ],
        right=(2,),
        whole=(0,),
    )  # fmt: skip


@service.command(epilog=ONLY_BY_SUPPORT)
@_named
@json_option
@env_file_option
def show(sid: str | None, *, as_json: bool, env_file: Path | None) -> None:
    """Show a Verify service."""

    async def here(work: Verifying) -> dict[str, Any]:
        return (await acts.show(work, sid)).summary()

    _print(at_verify(env_file, here, lambda client: client.verify_service(sid or "default")), as_json=as_json)


@service.command(epilog=ONLY_BY_SUPPORT)
@_named
@_settings
@json_option
@env_file_option
def update(sid: str | None, *, as_json: bool, env_file: Path | None, **settings: Any) -> None:
    """Change a Verify service, for verifications from now on."""

    async def here(work: Verifying) -> dict[str, Any]:
        return (await acts.update(work, sid, ServiceChange(**settings))).summary()

    found = at_verify(
        env_file, here, lambda client: client.update_verify_service(sid or "default", **settings)
    )
    _print(found, as_json=as_json)


def _print(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    for name, value in found.items():
        if value is None or name == "only_by_support":
            continue
        click.echo(harmless(f"{name}: {when(value) if name.endswith('_at') else _shown(value)}"))
    say(ONLY_BY_SUPPORT)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)
