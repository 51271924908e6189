"""How a command reaches what it is about: the API if one is named, else Redis.

That is REDIS_URL's, or the embedded server of the data directory. Over the API the same command carries out
the same act, which answers with the same object.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from broadcaster.cli import running
from broadcaster.cli.exits import InputError
from broadcaster.cli.home import Home
from broadcaster.cli.options import settings_from
from broadcaster.runtime import opened_store, twilio_rest
from broadcaster.store.embedded import redis_for
from broadcaster.telemetry.logs import masked_beside_output

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractContextManager
    from pathlib import Path

    from broadcaster.client import Client
    from broadcaster.settings import Settings
    from broadcaster.store.connection import Store
    from broadcaster.twilio.rest import TwilioRest

_T = TypeVar("_T")


class Summed(Protocol):
    """What says in JSON's types what there is to say of it."""

    def summary(self) -> dict[str, Any]:
        """Return it."""


async def told(view: Awaitable[Summed]) -> dict[str, Any]:
    """Return an act's outcome in JSON's types, as the API answers it."""
    return (await view).summary()


def at_hand(
    env_file: Path | None, here: Callable[[Store], Awaitable[_T]], there: Callable[[Client], _T]
) -> _T:
    """Carry out `there` over the API that is named, if one is, else `here` with the store.

    Both return the same objects. Raises as `with_store`, and what `over_api.explained` makes of the API's
    problems.
    """
    settings = settings_from(env_file)
    if settings.api_url is None:
        return _beside_redis(settings, here)
    from broadcaster.cli.over_api import api  # noqa: PLC0415 - most need no HTTP client

    with api(settings) as client:
        return there(client)


def at_twilio(
    env_file: Path | None, here: Callable[[TwilioRest], Awaitable[_T]], there: Callable[[Client], _T]
) -> _T:
    """Ask Twilio, which needs no Redis, or the API that is named, if one is.

    Raises SettingsError, `TwilioError`, `TwilioUnreachable`, NotFound, or as `over_api.api`.
    """
    settings = settings_from(env_file)
    if settings.api_url is not None:
        from broadcaster.cli.over_api import api  # noqa: PLC0415 - most need no HTTP client

        with api(settings) as client:
            return there(client)

    async def run() -> _T:
        async with twilio_rest(settings) as twilio:
            return await here(twilio)

    return running.run(run())


def log_beside_output(settings: Settings) -> None:
    """Let warnings go to standard error; where somebody has set BROADCASTER_LOG_LEVEL, all from there on."""
    if "log_level" not in settings.model_fields_set:
        masked_beside_output()
    else:
        masked_beside_output(settings.log_level, as_json=settings.log_format == "json")


def redis_is_here(settings: Settings, what: str = "this") -> None:
    """Raise InputError where an API is all that is named, for what needs Redis itself."""
    if settings.api_url and not settings.redis_address:
        raise InputError(
            f"{what} needs Redis itself, and only BROADCASTER_API_URL is set: run it where REDIS_URL is set"
        )


def with_store(env_file: Path | None, work: Callable[[Store], Awaitable[_T]]) -> _T:
    """Carry out `work` with the store. Raises `SettingsError`, `EmbeddedServerError` or `StoreError`.

    InputError where only an API is named.
    """
    settings = settings_from(env_file)
    redis_is_here(settings)
    return _beside_redis(settings, work)


def _beside_redis(settings: Settings, work: Callable[[Store], Awaitable[_T]]) -> _T:
    log_beside_output(settings)

    async def run(url: str) -> _T:
        async with opened_store(settings, url) as store:
            return await work(store)

    with redis_for(settings.redis_address, settings.data_dir) as url:
        return running.run(run(url))


def with_home(env_file: Path | None, work: Callable[[Store, Home | None], Awaitable[_T]]) -> _T:
    """Do as `with_store` does; without REDIS_URL `work` also gets what can start a worker."""
    settings = settings_from(env_file)
    log_beside_output(settings)

    async def run(home: Home | None, url: str) -> _T:
        async with opened_store(settings, url) as store:
            return await work(store, home)

    at_hand: AbstractContextManager[Home | None] = (
        nullcontext() if settings.redis_address else Home(settings, env_file)
    )
    with at_hand as home:
        return running.run(run(home, settings.redis_address or (home.url if home else "")))
