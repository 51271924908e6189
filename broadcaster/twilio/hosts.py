"""Which host serves a product of Twilio's, by region and edge."""

from __future__ import annotations

import re
from typing import Final

#: With an edge and no region, Twilio's own clients mean the United States.
DEFAULT_REGION: Final = "us1"
_LABEL: Final = re.compile(r"[a-z][a-z0-9-]*")


def base_url(
    product: str = "api", *, override: str | None = None, region: str | None = None, edge: str | None = None
) -> str:
    """Return the origin of a product (`api`, `messaging`, `content`, …), without a slash at the end.

    `https://api.twilio.com`, with a region `https://api.ie1.twilio.com`, with an edge too
    `https://api.dublin.ie1.twilio.com` (Twilio's page "Global infrastructure"). `override`
    (`TWILIO_API_BASE_URL`) wins and then serves every product. Raises ValueError for a region or edge that
    is no host name label: credentials must not travel to wherever a typing error leads.
    """
    if override:
        return override.rstrip("/")
    for label in (region, edge):
        if label and _LABEL.fullmatch(label) is None:
            raise ValueError(f"{label!r} is no Twilio region or edge: expected a name like ie1 or dublin")
    if edge and not region:
        region = DEFAULT_REGION
    return f"https://{'.'.join(part for part in (product, edge, region, 'twilio.com') if part)}"
