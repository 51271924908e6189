"""Who sent or got a message at Twilio: a number as people write it, a short code, a sender's name."""

from __future__ import annotations

import re
from typing import Final

from broadcaster.domain.addresses import AddressError, parse_address, with_plus
from broadcaster.domain.senders import SenderKind, parse_sender

_RCS: Final = "rcs:"
#: A plus at the beginning of a number, as a query has it where nobody has quoted it.
_UNQUOTED: Final = re.compile(r"(?i)^((?:whatsapp:|tel:)?)(?: |%2B)(?=[1-9])")


def read_party(text: str, region: str | None, *, sends: bool = False) -> str:
    """Return the address or short code that is meant; of who `sends` also a name or RCS agent.

    Read as every other number that is asked for (`with_plus`, `parse_address`). Raises AddressError: what is
    none of these would be an empty list, which reads as "never sent".
    """
    plain = with_plus(text)
    if sends and plain.lower().startswith(_RCS):
        return plain
    try:
        found = parse_sender(plain)
    except AddressError:
        return parse_address(plain, region)
    named = found.kind is SenderKind.SHORT_CODE or (sends and found.kind is SenderKind.ALPHANUMERIC)
    return found.name if named else parse_address(plain, region)


def read_opted_into(text: str, region: str | None) -> str:
    """Return the sender that people are to write to: a number needs its plus, or `region`.

    Digits alone may be another country's number, and a printed code can't be mended. Raises AddressError.
    """
    plain = text.strip()
    try:
        return parse_sender(plain).name
    except AddressError:
        if any(c.isalpha() for c in plain.lower().removeprefix("whatsapp:")):
            raise
    return parse_address(plain, region)


def unquoted_plus(text: str) -> str:
    """Return a query's number with the plus that was read as a space, or left as %2B."""
    return _UNQUOTED.sub(r"\1+", text)
