"""The time zones in which a number may be: all of its country, since people travel with their numbers."""

from __future__ import annotations

import zoneinfo
from functools import cache
from importlib import resources
from pathlib import Path

import phonenumbers


def zones_of(address: str) -> tuple[str, ...]:
    """Return the zones of an address' country; none if the country isn't known, or the zones aren't."""
    try:
        number = phonenumbers.parse(address.removeprefix("whatsapp:"))
    except phonenumbers.NumberParseException:
        return ()
    region = phonenumbers.region_code_for_number(number) or phonenumbers.region_code_for_country_code(
        number.country_code or 0
    )
    return _by_country().get(region, ())


@cache
def _by_country() -> dict[str, tuple[str, ...]]:
    """Read the zones of each country (two letters) as the time zone database lists them (`zone.tab`)."""
    found: dict[str, list[str]] = {}
    for line in _zone_tab().splitlines():
        fields = line.split("\t")
        if not line.startswith("#") and len(fields) > 2:  # noqa: PLR2004 - country, place, zone
            found.setdefault(fields[0], []).append(fields[2])
    return {country: tuple(zones) for country, zones in found.items()}


def _zone_tab() -> str:
    """Return the database's table, from where `zoneinfo` takes its zones; '' if there is none."""
    for folder in map(Path, zoneinfo.TZPATH):
        table = folder / "zone.tab"
        if table.is_file():
            return table.read_text(encoding="utf-8")
    try:
        return (resources.files("tzdata") / "zoneinfo" / "zone.tab").read_text(encoding="utf-8")
    except (ModuleNotFoundError, OSError):
        return ""
