"""How many people a WhatsApp sender may begin to write to in 24 hours, as Twilio words it."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_WORDS: Final = re.compile(
    r"(?:TIER_)?(?P<count>\d+(?:[.,]\d+)*)\s*(?P<times>[KM]?)(?:\s+(?:customers|users|people)\b.*|\s*/.*)?",
    re.IGNORECASE,
)
_UNLIMITED: Final = re.compile(r"(?:TIER_)?UNLIMITED\b.*", re.IGNORECASE)
_TIMES: Final = {"": 1, "K": 1_000, "M": 1_000_000}


class Limit(NamedTuple):
    """`people` a day; None for any number, or where it isn't `known`."""

    people: int | None
    known: bool


def read_limit(words: str) -> Limit:
    """Read `10K Customers/24hr`, `250 Customers/24hr`, `TIER_1K`, `Unlimited`; others aren't known."""
    text = words.strip()
    if _UNLIMITED.fullmatch(text):
        return Limit(None, known=True)
    match = _WORDS.fullmatch(text)
    if match is None:
        return Limit(None, known=False)
    times = _TIMES[match["times"].upper()]
    count = match["count"]
    # `1,000` are a thousand, `2.5K` two and a half thousand
    number = float(count.replace(",", "")) if times == 1 else float(count.replace(",", "."))
    return Limit(int(number * times), known=True)
