"""What stands where a forgotten person was."""

from __future__ import annotations

from typing import Final

from broadcaster.domain.addresses import parse_address
from broadcaster.domain.whatsapp_numbers import forms_of

#: In an address's place: no number, so that it can be neither sent to nor taken for somebody.
FORGOTTEN: Final = "forgotten"


def addresses_of(number: str, region: str | None = None) -> tuple[str, ...]:
    """Return a person's addresses in every form and channel, the bare number first. Raises AddressError."""
    bare = parse_address(number, region).removeprefix("whatsapp:")
    return bare, *forms_of(f"whatsapp:{bare}")
