"""Names that the internet can't reach, by their look: nothing is resolved."""

from __future__ import annotations

import ipaddress
from typing import Final

_INSIDE: Final = (".local", ".internal", ".localhost", ".lan", ".home.arpa")


def is_private(host: str) -> bool:
    """Tell whether a URL's host name (brackets left off) can only be meant for inside."""
    if host.lower() == "localhost" or host.lower().endswith(_INSIDE):
        return True
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host
