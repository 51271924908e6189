"""Everything on Twilio's API but the send path: few calls, each answered or raised."""

from __future__ import annotations

import ssl
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec

from broadcaster.twilio.answers import retry_after_seconds, twilio_code
from broadcaster.twilio.codes import meaning
from broadcaster.twilio.hosts import base_url as host_of
from broadcaster.twilio.resources import Account, Message, MessagePage, Service, unix_seconds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

#: Twilio's largest page (larger ones are refused with 20007).
PAGE_SIZE: Final = 1000
_TIMEOUT: Final = httpx.Timeout(35.0, connect=5.0)
_LIMITS: Final = httpx.Limits(max_connections=16, max_keepalive_connections=4, keepalive_expiry=30.0)
#: Where a service's senders are listed: (path, the list's name, the sender's field).
_POOLS: Final = (
    ("PhoneNumbers", "phone_numbers", "phone_number"),
    ("ShortCodes", "short_codes", "short_code"),
    ("AlphaSenders", "alpha_senders", "alpha_sender"),
    ("ChannelSenders", "senders", "sender"),
)
_T = TypeVar("_T")


class TwilioError(Exception):
    """Twilio, or what stands where it should, refused a call.

    `status` is the HTTP status, `code` Twilio's code (0 if there was none), `message` Twilio's own text,
    which may name numbers and so is not part of the error's text; `retry_after_seconds` its wish, if any.
    """

    def __init__(
        self, status: int, code: int = 0, message: str = "", retry_after_seconds: float | None = None
    ) -> None:
        super().__init__(status, code, message, retry_after_seconds)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        if self.code:
            return f"Twilio answered HTTP {self.status}, code {self.code}: {meaning(self.code)}"
        if self.status >= HTTPStatus.INTERNAL_SERVER_ERROR or self.status == HTTPStatus.TOO_MANY_REQUESTS:
            return f"Twilio answered HTTP {self.status}: try again later"
        return f"HTTP {self.status} without Twilio's JSON: something else answered; check the base URL"


class TwilioUnreachable(Exception):  # noqa: N818 - a state of the world, named as one
    """No answer: no connection, a timeout, or a connection that broke. A write may have been carried out."""


class TwilioRest:
    """Reads and changes messages, and reads what an account and its services have. An async context manager.

    `auth` is (account SID or API key, its secret). `base_url` (`TWILIO_API_BASE_URL`) serves every product if
    given. Every method raises `TwilioError` or `TwilioUnreachable`; none retries.
    """

    def __init__(
        self,
        account_sid: str,
        auth: tuple[str, str],
        base_url: str | None = None,
        *,
        region: str | None = None,
        edge: str | None = None,
        proxy: str | None = None,
        root_pem: bytes | None = None,
    ) -> None:
        self._account_sid = account_sid
        self._api = host_of("api", override=base_url, region=region, edge=edge)
        self._messaging = host_of("messaging", override=base_url, region=region, edge=edge)
        self._account = f"{self._api}/2010-04-01/Accounts/{account_sid}"
        trust = ssl.create_default_context()  # the system's, as on the send path; honours SSL_CERT_FILE
        if root_pem is not None:
            trust.load_verify_locations(cadata=root_pem.decode())
        self._http = httpx.AsyncClient(
            auth=auth,
            headers={"accept": "application/json", "user-agent": "broadcaster"},
            timeout=_TIMEOUT,
            limits=_LIMITS,
            follow_redirects=False,
            trust_env=False,
            proxy=proxy,
            verify=trust,
        )

    def __repr__(self) -> str:
        return f"TwilioRest({self._account_sid!r}, {urlsplit(self._api).hostname!r})"

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    # ---- messages

    async def fetch(self, sid: str) -> Message:
        """Read one message. Code 20404: there is none."""
        return _decode(await self._get(f"{self._account}/Messages/{sid}.json"), Message)

    async def list_messages(
        self,
        *,
        to: str | None = None,
        from_: str | None = None,
        date_sent: str | None = None,
        sent_after: str | None = None,
        sent_before: str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> AsyncIterator[Message]:
        """Yield the messages that fit, page after page, as Twilio orders them (by `date_sent`, newest first).

        The three dates are days or times in GMT as Twilio takes them (`2026-11-21`). Messages not sent yet
        have no `date_sent`: whether a date filter passes them is not documented.
        """
        pages = self.message_pages(
            to=to,
            from_=from_,
            date_sent=date_sent,
            sent_after=sent_after,
            sent_before=sent_before,
            page_size=page_size,
        )
        async for page in pages:
            for message in page.messages:
                yield message

    async def message_pages(
        self,
        *,
        to: str | None = None,
        from_: str | None = None,
        date_sent: str | None = None,
        sent_after: str | None = None,
        sent_before: str | None = None,
        page_size: int = PAGE_SIZE,
    ) -> AsyncIterator[MessagePage]:
        """Yield whole pages, each with Twilio's clock; raises on the first that can't be read."""
        query = {
            "To": to,
            "From": from_,
            "DateSent": date_sent,
            "DateSent>": sent_after,
            "DateSent<": sent_before,
            "PageSize": str(page_size),
        }
        url: str | None = f"{self._account}/Messages.json"
        parameters: Mapping[str, str] | None = {key: value for key, value in query.items() if value}
        while url is not None:
            answer = await self._get(url, parameters)
            page = _decode(answer, MessagePage)
            yield msgspec.structs.replace(page, server_seconds=unix_seconds(answer.headers.get("date")))
            url, parameters = _follow(url, page.next_page_uri), None

    async def redact(self, sid: str) -> Message:
        """Empty a message's body at Twilio."""
        return await self._update(sid, {"Body": ""})

    async def cancel(self, sid: str) -> Message:
        """Cancel a message that Twilio has scheduled. Code 30409: too late."""
        return await self._update(sid, {"Status": "canceled"})

    async def delete(self, sid: str) -> None:
        """Delete a message at Twilio. Code 20009: it is not finished yet."""
        await self._call("DELETE", f"{self._account}/Messages/{sid}.json")

    # ---- account and senders

    async def check_credentials(self) -> float | None:
        """Prove that the credentials may read messages (`TwilioError` 401 or 403 if not).

        Returns how far Twilio's clock is ahead of ours in seconds, to about a second; None if it did not say.
        """
        before = time.time()
        answer = await self._get(f"{self._account}/Messages.json", {"PageSize": "1"})
        _decode(answer, MessagePage)
        theirs = unix_seconds(answer.headers.get("date"))
        # The header's seconds are cut off, so half a second is missing on average.
        return None if theirs is None else theirs + 0.5 - (before + time.time()) / 2

    async def account(self) -> Account:
        """Read the account. Standard API keys may not (HTTP 401 or 403)."""
        return _decode(await self._get(f"{self._account}.json"), Account)

    async def owns_number(self, name: str) -> bool | None:
        """Tell whether a number or short code is the account's; None for senders this can't be asked of."""
        if name.startswith("+"):
            path, key, listed = "IncomingPhoneNumbers", "PhoneNumber", "incoming_phone_numbers"
        elif name.isdecimal():
            path, key, listed = "SMS/ShortCodes", "ShortCode", "short_codes"
        else:
            return None
        answer = await self._get(f"{self._account}/{path}.json", {key: name, "PageSize": "20"})
        field = "phone_number" if name.startswith("+") else "short_code"
        return any(row.get(field) == name for row in _rows(answer, listed))

    async def service(self, sid: str) -> Service:
        """Read a messaging service."""
        return _decode(await self._get(f"{self._messaging}/v1/Services/{sid}"), Service)

    async def service_pool(self, sid: str) -> list[str]:
        """Return the names of all senders in a messaging service's pool, of every kind and channel."""
        names: list[str] = []
        for path, listed, field in _POOLS:
            url: str | None = f"{self._messaging}/v1/Services/{sid}/{path}"
            parameters: Mapping[str, str] | None = {"PageSize": str(PAGE_SIZE)}
            while url is not None:
                answer = await self._get(url, parameters)
                names += [row[field] for row in _rows(answer, listed) if isinstance(row.get(field), str)]
                url, parameters = _follow(url, _decode(answer, _Paged).meta.next_page_url), None
        return list(dict.fromkeys(names))

    # ---- the wire

    async def _update(self, sid: str, form: Mapping[str, str]) -> Message:
        return _decode(await self._call("POST", f"{self._account}/Messages/{sid}.json", form=form), Message)

    async def _get(self, url: str, query: Mapping[str, str] | None = None) -> httpx.Response:
        return await self._call("GET", url, query=query)

    async def _call(
        self,
        method: str,
        url: str,
        *,
        query: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        try:
            answer = await self._http.request(method, url, params=query, data=form)
        except (httpx.TransportError, httpx.DecodingError) as error:
            host = urlsplit(url).netloc.rpartition("@")[2]
            raise TwilioUnreachable(f"{host}: {error or type(error).__name__}") from error
        if answer.is_success:
            return answer
        raise _refusal(answer)


class _Refusal(msgspec.Struct):
    message: str = ""


class _Meta(msgspec.Struct):
    next_page_url: str | None = None


class _Paged(msgspec.Struct):
    meta: _Meta = msgspec.field(default_factory=_Meta)


def _decode(answer: httpx.Response, shape: type[_T]) -> _T:
    try:
        return msgspec.json.decode(answer.content, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise TwilioError(answer.status_code) from None


def _rows(answer: httpx.Response, listed: str) -> list[dict[str, Any]]:
    rows = _decode(answer, dict[str, Any]).get(listed)
    if not isinstance(rows, list):
        raise TwilioError(answer.status_code)
    return [row for row in rows if isinstance(row, dict)]


def _refusal(answer: httpx.Response) -> TwilioError:
    try:
        message = msgspec.json.decode(answer.content, type=_Refusal).message
    except (msgspec.DecodeError, UnicodeDecodeError):
        message = ""
    wish = retry_after_seconds(answer.headers.get("retry-after"), answer.headers.get("date"))
    return TwilioError(answer.status_code, twilio_code(answer.content), message, wish)


def _follow(current: str, following: str | None) -> str | None:
    """Return the next page's URL at the host we talk to, whatever host it names: credentials stay there."""
    if not following:
        return None
    here, there = urlsplit(current), urlsplit(following)
    url = here._replace(path=there.path, query=there.query).geturl()
    return None if url == current else url
