"""What Twilio's refusals about verifications mean to whoever asked: gone, limited, refused, not reached."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final, NamedTuple

from broadcaster.domain.verify_services import CODE_VALID_SECONDS
from broadcaster.operations.errors import Limited, NotFound, Refused
from broadcaster.twilio.codes import meaning
from broadcaster.twilio.wire import TwilioError, TwilioUnreachable

_NOT_FOUND: Final = 20404


class _Limit(NamedTuple):
    """A limit's name, and for how many seconds it lasts at most, where Twilio doesn't say."""

    name: str
    seconds: float


#: By code; a limit that the service was given itself has its own name. All but 25109 last with the code.
_LIMITS: Final = {
    20429: _Limit("requests", 1.0),
    25109: _Limit("requests", 5.0),
    60202: _Limit("check_attempts", CODE_VALID_SECONDS),
    60203: _Limit("send_attempts", CODE_VALID_SECONDS),
    60212: _Limit("concurrent_requests", 30.0),
    60245: _Limit("emails", CODE_VALID_SECONDS),
}
_OTHER: Final = _Limit("requests", 5.0)


def refusal(error: TwilioError | TwilioUnreachable, service: str, name: str = "") -> Exception:
    """Return what to raise for a call that was not carried out; `name`: the verification it was about."""
    if isinstance(error, TwilioUnreachable) or error.status == HTTPStatus.UNAUTHORIZED:
        return error
    if error.status == HTTPStatus.NOT_FOUND and error.code == _NOT_FOUND:
        return _unknown(service, name)
    if error.status == HTTPStatus.TOO_MANY_REQUESTS:
        return _limited(error)
    if error.code and HTTPStatus.BAD_REQUEST <= error.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return Refused(f"Twilio refuses it ({error.code}): {meaning(error.code)}", error.code)
    return error


def _unknown(service: str, name: str) -> NotFound:
    if not name:
        return NotFound("Verify service", f"{service} in this account")
    why = "it was approved or canceled, or has expired, or never was"
    return NotFound("verification", f"{name} that is pending in {service}: {why}")


def _limited(error: TwilioError) -> Limited:
    limit = _LIMITS.get(error.code, _OTHER)
    name = error.limit or limit.name
    told = f"Twilio's limit {name} is reached"
    if error.limit:
        told += f" ({error.code}), which was set for the Verify service"
    elif error.code:
        told += f" ({error.code}): {meaning(error.code)}"
    seconds = error.retry_after_seconds
    return Limited(told, error.code, name, limit.seconds if seconds is None else seconds)
