"""A place, as WhatsApp shows it: `PersistentAction=geo:LATITUDE,LONGITUDE|LABEL`; the body is its name."""

from __future__ import annotations

import re
from typing import Final

import msgspec

_NUMBER: Final = re.compile(r"[+-]?\d{1,3}(\.\d{1,15})?")
MOST_LABEL_CHARACTERS: Final = 200


class LocationError(ValueError):
    """No place on Earth; the message says what is wrong."""


class Location(msgspec.Struct, frozen=True):
    """Degrees north and east, and what stands under the name (an address)."""

    latitude: float
    longitude: float
    label: str = ""

    @property
    def action(self) -> str:
        """What Create Message takes as `PersistentAction`."""
        place = f"geo:{_degrees(self.latitude)},{_degrees(self.longitude)}"
        return f"{place}|{self.label}" if self.label else place


def location(latitude: float, longitude: float, label: str = "") -> Location:
    """Return a place. Raises LocationError."""
    if not -90 <= latitude <= 90:  # noqa: PLR2004 - the poles
        raise LocationError(f"latitude {latitude:g} is not between -90 and 90")
    if not -180 <= longitude <= 180:  # noqa: PLR2004 - the meridian, from both sides
        raise LocationError(f"longitude {longitude:g} is not between -180 and 180")
    label = label.strip()
    if len(label) > MOST_LABEL_CHARACTERS or not label.isprintable():
        raise LocationError(f"a place's label is one line of at most {MOST_LABEL_CHARACTERS} characters")
    return Location(latitude, longitude, label)


def parse_location(text: str) -> Location:
    """Read `LATITUDE,LONGITUDE` or `LATITUDE,LONGITUDE,LABEL`. Raises LocationError."""
    parts = [part.strip() for part in text.split(",", 2)]
    if len(parts) < 2 or not all(_NUMBER.fullmatch(part) for part in parts[:2]):  # noqa: PLR2004 - a pair
        raise LocationError(
            f"{text!r} is no place: write degrees like 47.3769,8.5417 or 47.3769,8.5417,Zürich HB"
        )
    return location(float(parts[0]), float(parts[1]), *parts[2:])


def read_action(text: str) -> Location:
    """Read what Create Message takes: `geo:LATITUDE,LONGITUDE`, or with `|LABEL`. Raises LocationError."""
    degrees, _, label = text.partition("|")
    scheme, colon, pair = degrees.partition(":")
    parts = pair.split(",")
    if scheme != "geo" or not colon or len(parts) != 2 or not all(map(_NUMBER.fullmatch, parts)):  # noqa: PLR2004
        raise LocationError("must be geo:LATITUDE,LONGITUDE, with |LABEL if wanted")
    if "|" in text and not label.strip():
        raise LocationError("has a | and no label behind it")
    return location(float(parts[0]), float(parts[1]), label)


def _degrees(value: float) -> str:
    return f"{value:.7f}".rstrip("0").rstrip(".")
