"""Twilio's part in tests of webhooks: forms as it sends them, signed by its own package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from twilio.request_validator import RequestValidator  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from collections.abc import Mapping

    import httpx

TOKEN: Final = "token-of-the-test"
PUBLIC: Final = "https://alerts.example.org"
STATUS: Final = "/webhooks/twilio/status"
INBOUND: Final = "/webhooks/twilio/inbound"


def status_form(sid: str, status: str, *, code: int | None = None) -> dict[str, str]:
    """Return the form of a status callback."""
    form = {
        "AccountSid": "AC" + "0" * 32,
        "ApiVersion": "2010-04-01",
        "From": "+15550000001",
        "MessageSid": sid,
        "MessageStatus": status,
        "SmsSid": sid,
        "SmsStatus": status,
        "To": "+14155550100",
    }
    return form | ({} if code is None else {"ErrorCode": str(code)})


def signature(url: str, form: Mapping[str, Any], token: str = TOKEN) -> str:
    """Sign a request as Twilio does; `url` has its query, and no fragment."""
    signed: str = RequestValidator(token).compute_signature(url, form)
    return signed


async def call(
    client: httpx.AsyncClient,
    path: str,
    form: Mapping[str, str],
    *,
    query: str = "",
    origin: str = PUBLIC,
    token: str = TOKEN,
    headers: Mapping[str, str] | None = None,
) -> httpx.Response:
    """Call a webhook; `origin` is what Twilio believes to call."""
    target = path + (f"?{query}" if query else "")
    return await client.post(
        target,
        content=urlencode(form),
        headers={
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Twilio-Signature": signature(origin + target, form, token),
            **(headers or {}),
        },
    )
