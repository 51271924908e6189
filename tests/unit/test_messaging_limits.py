"""How many people a WhatsApp sender may write to, as Twilio words it, and what a list says to that."""

from __future__ import annotations

import pytest

from broadcaster.domain.messaging_limits import Limit, read_limit
from broadcaster.intake.findings import Findings


@pytest.mark.parametrize(
    ("words", "people"),
    [
        ("250 Customers/24hr", 250),
        ("1K Customers/24hr", 1_000),
        ("2K Customers/24hr", 2_000),
        ("10K Customers/24hr", 10_000),
        ("100K Customers/24hr", 100_000),
        ("1,000 customers/24hr", 1_000),
        ("2.5K customers", 2_500),
        ("1M / day", 1_000_000),
        ("TIER_10K", 10_000),
        ("250", 250),
        ("Unlimited", None),
        ("UNLIMITED Customers/24hr", None),
        ("TIER_UNLIMITED", None),
    ],
)
def test_limits_are_read(words: str, people: int | None) -> None:
    assert read_limit(words) == Limit(people, known=True)


@pytest.mark.parametrize("words", ["", "N/A", "Not set", "10X Customers/24hr", "about 10K"])
def test_other_words_are_not_known(words: str) -> None:
    assert read_limit(words) == Limit(None, known=False)


def test_only_a_share_beyond_the_limit_is_told() -> None:
    found = Findings(limits={"whatsapp:+1": 250, "whatsapp:+2": 1000})
    (told,) = found.over_limits({"whatsapp:+1": 251, "whatsapp:+2": 1000, "whatsapp:+3": 10**6})
    assert told.startswith("whatsapp:+1 may begin to write to 250 people in 24 hours, and this list has 251")
