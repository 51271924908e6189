"""Options that several commands have, and how times and durations are written."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import click

from broadcaster.cli.exits import InputError
from broadcaster.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.settings import Settings

_F = TypeVar("_F", bound="Callable[..., Any]")
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([smhd])(?:[a-z]*)", re.IGNORECASE)
_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


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
    return load_settings(env_file or Path(".env"))


def parse_duration(text: str) -> float:
    """Return the seconds of `90m`, `2h`, `1d`, `45s`. Raises InputError."""
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * _UNIT_SECONDS[match[2].lower()] if match else 0.0
    if not seconds:
        raise InputError(f"{text!r} is no duration: write a number and s, m, h or d, like 90m, 2h or 1d")
    return seconds


def parse_time(text: str, zone: str | None, *, now: datetime | None = None) -> float:
    """Return the unix second of a time to come, written as `parse_moment` takes it. Raises InputError."""
    at = parse_moment(text, zone)
    if at <= (now or datetime.now(UTC)):
        raise InputError(f"{text!r} is in the past: leave --at out to send now")
    return at.timestamp()


def parse_moment(text: str, zone: str | None) -> datetime:
    """Return an ISO 8601 time that has an offset, or lies in `zone` (`Europe/Berlin`).

    Raises InputError for a time without either, and one that a clock change left out.
    """
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InputError(f"{text!r} is no time: write it like 2026-11-21T18:30+01:00") from None
    if at.tzinfo is None:
        if zone is None:
            raise InputError(
                f"{text!r} has no offset: add one (2026-11-21T18:30+01:00), or name a zone with --zone"
            )
        at = at.replace(tzinfo=_zone(zone))
        if at.astimezone(UTC).astimezone(at.tzinfo).replace(tzinfo=None) != at.replace(tzinfo=None):
            raise InputError(f"{text!r} does not exist in {zone}: the clocks are put forward then")
    return at


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InputError(f"there is no time zone {name!r}: name one like Europe/Berlin, or UTC") from None
