"""`broadcaster doctor`: look at the account, the senders, Redis and the clocks, and say what to do."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import click

from broadcaster.cli import running
from broadcaster.cli.exits import CommandFailedError, InputError
from broadcaster.cli.options import env_file_option, json_option, settings_from
from broadcaster.cli.output import print_json, steerless
from broadcaster.operations.errors import NotFound
from broadcaster.reporting import health
from broadcaster.reporting.health import Check, Level, fail, ok, warn
from broadcaster.reporting.health_redis import check_redis
from broadcaster.reporting.health_twilio import check_twilio
from broadcaster.reporting.health_verify import check_verify
from broadcaster.reporting.health_webhooks import check_inbound, check_public_url
from broadcaster.runtime import owner_in, prefix_of, twilio_rest
from broadcaster.settings import SettingsError, variable_of
from broadcaster.store.embedded import redis_for
from broadcaster.store.server_binary import EmbeddedServerError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from broadcaster.settings import Settings

_SENDERS: Final = ("twilio_messaging_service_sid", "twilio_phone_number", "twilio_whatsapp_from")
_MARKS: Final = {Level.OK: ("✓", "green"), Level.WARN: ("!", "yellow"), Level.FAIL: ("✗", "red")}


@click.command()
@json_option
@env_file_option
def doctor(*, as_json: bool, env_file: Path | None) -> int:
    """Check account, senders, Redis and clock; say what to do about each. Exit code 1 if something fails.

    Nothing is sent. Without REDIS_URL the embedded server is started for as long as it takes. Where only
    BROADCASTER_API_URL is set, the API is looked at instead.
    """
    settings = settings_from(env_file)
    if settings.api_url and not settings.redis_address:
        checks = [*_api(settings)]
    else:
        checks = [*running.run(_twilio(settings)), *_redis(settings)]
    if as_json:
        print_json(health.as_json(checks))
    else:
        _print(checks)
    return 0 if health.healthy(checks) else 1


async def _twilio(settings: Settings) -> list[Check]:
    try:
        rest = twilio_rest(settings)
    except SettingsError as error:
        advice = "Put the SID and the auth token of your account into .env (Twilio's console shows both)."
        return [fail("twilio credentials", str(error), advice)]
    senders = {variable_of(name): getattr(settings, name) for name in _SENDERS if getattr(settings, name)}
    public_url = settings.public_url
    async with rest:
        checks = await check_twilio(rest, senders, base_url=settings.twilio_api_base_url)
        if checks[-1].name != "twilio credentials":  # else nothing can be asked
            checks += await check_verify(rest, settings.twilio_verify_service_sid)
        checks += check_public_url(public_url, has_token=settings.twilio_auth_token is not None)
        if public_url is not None and checks[0].level is not Level.FAIL:
            checks += await check_inbound(rest, senders, public_url)
    return checks


def _api(settings: Settings) -> Iterator[Check]:
    """Check that the API answers and takes the key; the rest can be looked at only where it runs."""
    from broadcaster.cli.over_api import api  # noqa: PLC0415 - most look at Redis and Twilio
    from broadcaster.client import ApiError  # noqa: PLC0415

    elsewhere = "Run `broadcaster doctor` where REDIS_URL and TWILIO_… are set, too."
    try:
        with api(settings) as client:
            try:
                client.sender("12345")
            except ApiError as error:
                if error.status != HTTPStatus.FORBIDDEN and "no sender" not in error.detail:
                    raise  # else the key is known: what it may do is another question
    except (InputError, CommandFailedError, SettingsError, NotFound) as error:
        yield fail("api", str(error), "Put it right: every command goes over this API.")
    else:
        yield ok("api", f"{settings.api_url} answers and takes the key")
    yield warn("redis and twilio", "not looked at: only BROADCASTER_API_URL is set here", elsewhere)


def _redis(settings: Settings) -> list[Check]:
    """Check REDIS_URL's server, else the embedded one."""
    try:
        with redis_for(settings.redis_address, settings.data_dir) as url:
            embedded, asks = not settings.redis_address, owner_in(settings)
            found = running.run(check_redis(url, prefix_of(settings), embedded=embedded, asks=asks))
    except EmbeddedServerError as error:
        return [fail("redis", str(error), "Set REDIS_URL to a Redis of yours, or put right what it says.")]
    if settings.redis_address:
        return found
    return [ok("redis address", f"none is set: the built-in server, in {settings.data_dir}"), *found]


def _print(checks: list[Check]) -> None:
    width = max(len(check.name) for check in checks)
    for check in checks:
        mark, colour = _MARKS[check.level]
        click.echo(f"{click.style(mark, fg=colour)} {check.name:<{width}}  {steerless(check.found)}")
        if check.advice:
            click.echo(f"  {'':<{width}}  → {steerless(check.advice)}")
    failed = sum(check.level is Level.FAIL for check in checks)
    warned = sum(check.level is Level.WARN for check in checks)
    click.echo()
    if failed:
        click.echo(f"{failed} of {len(checks)} checks failed: put those right before sending.")
    else:
        click.echo("Ready to send." if not warned else f"Ready to send; {warned} marked ! to know about.")
