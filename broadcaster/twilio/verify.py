"""Verify v2: verifications started, checked, looked at, ended; and the services that they belong to.

Every call raises `TwilioError` or `TwilioUnreachable`; none is tried again. Shapes: Twilio's OpenAPI file of
Verify v2, where any field but a SID may be null.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeVar

import httpx
import msgspec

from broadcaster.domain.failures import Remedy
from broadcaster.domain.verify_services import CHANGE_FIELDS, CODE_VALID_SECONDS, MOST_CHECKS, MOST_SENDS
from broadcaster.twilio.codes import lookup
from broadcaster.twilio.resources import unix_seconds
from broadcaster.twilio.wire import TwilioError, TwilioUnreachable, decode, follow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from broadcaster.twilio.wire import Wire

_T = TypeVar("_T")
_PAGE_SIZE: Final = 1000
#: Whatever becomes of a start is known by then: each wait on the wire has a bound of its own below this.
LONGEST_CALL_SECONDS: Final = 60.0
#: No request has left yet: the error came while connecting.
_UNSENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Verification(msgspec.Struct, frozen=True, kw_only=True):
    """A verification, or what checking it came to.

    `status`: pending, approved, canceled, max_attempts_reached, deleted, failed, expired. Twilio deletes it
    once it is approved or has expired. `valid`: whether the code that was checked is the right one.
    """

    sid: str
    service_sid: str | None = None
    to: str | None = None
    channel: str | None = None
    status: str | None = None
    valid: bool | None = None
    lookup: Any = None
    amount: str | None = None
    payee: str | None = None
    send_code_attempts: list[Any] | None = None
    sna: Any = None
    sna_attempts_error_codes: list[Any] | None = None
    date_created: str | None = None
    date_updated: str | None = None

    def __repr__(self) -> str:
        return f"Verification({self.sid}, {self.status!r})"  # never whom, nor a URL that proves to be them

    def summary(self) -> dict[str, Any]:
        """Return the object of `verify … --json` and the API, in JSON's types; times in unix seconds."""
        sends = [one for one in self.send_code_attempts or () if isinstance(one, dict)]
        return {
            "sid": self.sid,
            "service_sid": self.service_sid,
            "to": self.to,
            "channel": self.channel,
            "status": self.status,
            "valid": bool(self.valid),
            "created_at": moment(self.date_created),
            "updated_at": moment(self.date_updated),
            "sends": [
                {
                    "sid": one.get("attempt_sid"),
                    "channel": str(one.get("channel") or "").lower() or None,
                    "at": moment(one.get("time")),
                }
                for one in sends
            ],
            "sna_url": self.sna.get("url") if isinstance(self.sna, dict) else None,
            "sna_codes": [code for code in self.sna_attempts_error_codes or () if isinstance(code, int)],
            "lookup": self.lookup if isinstance(self.lookup, dict) else {},
            "amount": self.amount,
            "payee": self.payee,
        }


class _WhatsApp(msgspec.Struct, frozen=True, kw_only=True):
    msg_service_sid: str | None = None
    sender: str | None = msgspec.field(default=None, name="from")


class VerifyService(msgspec.Struct, frozen=True, kw_only=True):
    """A Verify service: what is set for all its verifications."""

    sid: str
    friendly_name: str | None = None
    code_length: int | None = None
    custom_code_enabled: bool | None = None
    lookup_enabled: bool | None = None
    skip_sms_to_landlines: bool | None = None
    dtmf_input_required: bool | None = None
    do_not_share_warning_enabled: bool | None = None
    psd2_enabled: bool | None = None
    tts_name: str | None = None
    default_template_sid: str | None = None
    whatsapp: _WhatsApp | None = None
    verify_event_subscription_enabled: bool | None = None
    date_created: str | None = None
    date_updated: str | None = None

    def settings(self) -> dict[str, Any]:
        """Return its settings under the names by which they are changed."""
        whatsapp = self.whatsapp or _WhatsApp()
        theirs = {
            "whatsapp_messaging_service_sid": whatsapp.msg_service_sid,
            "whatsapp_from": whatsapp.sender,
        }
        return {name: theirs[name] if name in theirs else getattr(self, name) for name in CHANGE_FIELDS}

    def summary(self) -> dict[str, Any]:
        """Return the object of `verify service … --json` and the API, in JSON's types."""
        return {
            "sid": self.sid,
            **self.settings(),
            "created_at": moment(self.date_created),
            "updated_at": moment(self.date_updated),
            "only_by_support": {
                "code_valid_seconds": CODE_VALID_SECONDS,
                "sends": MOST_SENDS,
                "checks": MOST_CHECKS,
            },
        }


class _Meta(msgspec.Struct):
    next_page_url: str | None = None


class _ServicePage(msgspec.Struct):
    services: list[VerifyService]
    meta: _Meta = msgspec.field(default_factory=_Meta)


class Verify:
    """The calls, over an open connection to the account."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    async def start(self, service: str, form: Mapping[str, str]) -> Verification:
        """Start a verification: a code is sent. While one is pending for `To`, Twilio goes on with it.

        After `TwilioUnreachable` or an error that is `doubtful` a code may have been sent.
        """
        return await self._post(f"{self._service(service)}/Verifications", form, Verification)

    async def check(self, service: str, form: Mapping[str, str]) -> Verification:
        """Check a code; a wrong one is an answer. Code 20404: nothing is pending. Each check counts."""
        return await self._post(f"{self._service(service)}/VerificationCheck", form, Verification)

    async def fetch(self, service: str, sid: str) -> Verification:
        """Read a verification. Code 20404: it is approved, expired or unknown."""
        return decode(await self._wire.get(f"{self._service(service)}/Verifications/{sid}"), Verification)

    async def end(self, service: str, sid: str, status: str) -> Verification:
        """Make a verification `approved` or `canceled`."""
        form = {"Status": status}
        return await self._post(f"{self._service(service)}/Verifications/{sid}", form, Verification)

    async def create_service(self, form: Mapping[str, str]) -> VerifyService:
        """Make a service. Asked twice it makes two."""
        return await self._post(f"{self._wire.verify_url}/v2/Services", form, VerifyService)

    async def fetch_service(self, sid: str) -> VerifyService:
        """Read a service."""
        return decode(await self._wire.get(self._service(sid)), VerifyService)

    async def services(self) -> list[VerifyService]:
        """Read all services of the account."""
        found: list[VerifyService] = []
        url: str | None = f"{self._wire.verify_url}/v2/Services"
        query: Mapping[str, str] | None = {"PageSize": str(_PAGE_SIZE)}
        while url is not None:
            page = decode(await self._wire.get(url, query), _ServicePage)
            found += page.services
            url, query = follow(url, page.meta.next_page_url), None
        return found

    async def update_service(self, sid: str, form: Mapping[str, str]) -> VerifyService:
        """Change a service."""
        return await self._post(self._service(sid), form, VerifyService)

    def _service(self, sid: str) -> str:
        return f"{self._wire.verify_url}/v2/Services/{sid}"

    async def _post(self, url: str, form: Mapping[str, str], shape: type[_T]) -> _T:
        try:
            async with asyncio.timeout(LONGEST_CALL_SECONDS):
                return decode(await self._wire.call("POST", url, form=form), shape)
        except TimeoutError:
            raise TwilioUnreachable("Twilio's answer took too long") from None


def doubtful(error: TwilioError | TwilioUnreachable) -> bool:
    """Tell whether what was asked may have been done all the same.

    No: Twilio's own refusal (4xx with a code), any 429, what nobody was connected to. As on the send path
    (`answers.py`), 4xx without Twilio's JSON come from something in its place.
    """
    if isinstance(error, TwilioUnreachable):
        return not isinstance(error.__cause__, _UNSENT)
    if error.status == HTTPStatus.TOO_MANY_REQUESTS:
        return False
    if error.status < HTTPStatus.MULTIPLE_CHOICES or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return True
    known = lookup(error.code, error.status).remedy if error.code else None
    return error.status == HTTPStatus.REQUEST_TIMEOUT or known is Remedy.UNKNOWN


def moment(text: Any) -> int | None:
    """Read a date of Verify's, which has ISO 8601 where the file says RFC 2822; None for what is none."""
    if not isinstance(text, str):
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return unix_seconds(text)
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())
