"""Whether the Verify service that is set is there."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from broadcaster.reporting.health import Check, fail, ok, warn
from broadcaster.twilio.verify import Verify
from broadcaster.twilio.wire import TwilioError, TwilioUnreachable

if TYPE_CHECKING:
    from broadcaster.twilio.wire import Wire

_NAME: Final = "verify service"
_LATER: Final = "Try again later; https://status.twilio.com says whether it is Twilio."


async def check_verify(wire: Wire, service: str | None) -> list[Check]:
    """Check `TWILIO_VERIFY_SERVICE_SID`; nothing where none is set. Raises nothing."""
    if service is None:
        return []
    try:
        found = await Verify(wire).fetch_service(service)
    except TwilioError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            advice = "Set TWILIO_VERIFY_SERVICE_SID to one of `broadcaster verify service list`."
            return [fail(_NAME, f"{service} is none of this account", advice)]
        if error.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            return [ok(_NAME, f"{service} can't be read with this API key")]
        return [warn(_NAME, f"can't be read: {error}", _LATER)]
    except TwilioUnreachable as error:
        return [warn(_NAME, f"can't be read, no answer: {error}", _LATER)]
    custom = ", or your own" if found.custom_code_enabled else ""
    return [ok(_NAME, f"{found.friendly_name or service}: codes of {found.code_length} digits{custom}")]
