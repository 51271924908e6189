"""Whose an installation is: one Twilio account, at Twilio or at what stands in its place.

What one account has left (queued, paused, in doubt) is not for another to send, and what a simulator has
accepted reached nobody: so an installation keeps whose it is, and others are refused.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

#: Every host of Twilio's, whatever its region and edge.
TWILIO: Final = "twilio.com"
#: A simulator of this machine has another port each time.
HERE: Final = "localhost"


@dataclass(frozen=True, slots=True)
class Owner:
    """An account's SID, AC…, and where it is asked: `TWILIO`, `HERE`, or another host's name, lower case.

    A subaccount is another account; its token, API key, region and edge don't matter.
    """

    account: str
    host: str

    @classmethod
    def of(cls, account: str, base_url: str | None) -> Owner:
        """Return who asks with this account and `TWILIO_API_BASE_URL`."""
        return cls(account, _kind_of((urlsplit(base_url).hostname or "") if base_url else TWILIO))

    @classmethod
    def read(cls, text: str) -> Owner:
        """Read what `str` of one has written."""
        account, _, host = text.partition(" ")
        return cls(account, host)

    def __str__(self) -> str:
        """Return it as it is kept: the account, a blank, the host."""
        return f"{self.account} {self.host}"

    @property
    def told(self) -> str:
        """It in words."""
        where = {TWILIO: "Twilio", HERE: "a simulator on this machine (TWILIO_API_BASE_URL)"}
        return f"account {self.account} at {where.get(self.host, f'{self.host} (TWILIO_API_BASE_URL)')}"


def _kind_of(host: str) -> str:
    host = host.lower().rstrip(".")
    if host == TWILIO or host.endswith(f".{TWILIO}"):
        return TWILIO
    if host == HERE or host.endswith(f".{HERE}"):
        return HERE
    try:
        return HERE if ipaddress.ip_address(host).is_loopback else host
    except ValueError:
        return host
