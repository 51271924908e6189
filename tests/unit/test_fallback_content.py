"""What an SMS in place of a WhatsApp message says and is asked of Twilio."""

from __future__ import annotations

import pytest

from broadcaster.domain.content import Content, SmsFallback
from broadcaster.domain.fallback import sms_content

SENDER = "+14155550199"
KEPT = {"ContentRetention": "discard", "AddressRetention": "obfuscate", "ValidityPeriod": "60"}


@pytest.mark.parametrize(
    ("content", "sms"),
    [
        (Content(body="Hi"), None),
        (Content(body="Hi", sms=SmsFallback(SENDER)), Content(body="Hi")),
        (
            Content(body="Hi", media_urls=("https://x.test/a",), sms=SmsFallback(SENDER, "Ho")),
            Content(body="Ho"),
        ),
        (
            Content(body="Hi", options=KEPT | {"MaxPrice": "1"}, sms=SmsFallback(SENDER)),
            Content(body="Hi", options=KEPT),
        ),
    ],
)
def test_its_text_and_what_holds_for_both(content: Content, sms: Content | None) -> None:
    assert sms_content(content) == sms
