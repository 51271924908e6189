"""Options that several commands have, and how times and durations are written."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from broadcaster.cli.exits import InputError
from broadcaster.domain import times

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.settings import Settings

_F = TypeVar("_F", bound="Callable[..., Any]")


def env_file_option(function: _F) -> _F:
    """Add `--env-file`."""
    return click.option(
        "--env-file",
        type=click.Path(path_type=Path, dir_okay=False, exists=True),
        help="Read settings from this file instead of .env.",
    )(function)


def json_option(function: _F) -> _F:
    """Add `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def settings_from(env_file: Path | None) -> Settings:
    """Read the settings. Raises `SettingsError`."""
    from broadcaster.settings import load_settings  # noqa: PLC0415 - pages of options need none

    return load_settings(env_file or Path(".env"))


def parse_duration(text: str) -> float:
    """Return the seconds of `90m`, `2h`, `1d`, `45s`. Raises InputError."""
    try:
        return times.parse_duration(text)
    except times.TimeError as error:
        raise InputError(str(error)) from None


def parse_time(text: str, zone: str | None, *, now: datetime | None = None) -> float:
    """Return the unix second of a time to come, written as `parse_moment` takes it. Raises InputError."""
    at = parse_moment(text, zone)
    if at <= (now or datetime.now(UTC)):
        raise InputError(f"{text!r} is in the past: leave --at out to send now")
    return at.timestamp()


def parse_moment(text: str, zone: str | None) -> datetime:
    """Return an ISO 8601 time that has an offset, or lies in `zone`. Raises InputError."""
    try:
        return times.parse_moment(text, zone)
    except times.TimeError as error:
        hint = " with --zone" if zone is None and str(error).endswith("name its zone") else ""
        raise InputError(f"{error}{hint}") from None
