"""Who acts, and from where: what an audit entry says of it."""

from __future__ import annotations

import getpass
import socket
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Actor:
    """`who` is `key:ID NAME`, or `person:USER@HOST` at a shell; `where` an address, or `command line`."""

    who: str
    where: str


def at_the_shell() -> Actor:
    """Return who runs this process, as far as the system tells."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = "unknown"
    return Actor(f"person:{user}@{socket.gethostname()}", "command line")
