"""Calls to Twilio's API beside the send path: each is answered, or raised. None is tried again."""

from __future__ import annotations

import ssl
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar
from urllib.parse import urlsplit

import httpx
import msgspec

from broadcaster.twilio.answers import retry_after_seconds, twilio_code
from broadcaster.twilio.codes import meaning
from broadcaster.twilio.hosts import base_url as host_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_TIMEOUT: Final = httpx.Timeout(35.0, connect=5.0)
CONNECTIONS: Final = 16
_LONGEST_LIMIT: Final = 200
_T = TypeVar("_T")


class TwilioError(Exception):
    """Twilio, or what stands where it should, refused a call.

    `status` is the HTTP status, `code` Twilio's code (0 if there was none), `message` Twilio's own text,
    which may name numbers and so is not part of the error's text; `retry_after_seconds` its wish, if any;
    `more_info` where Twilio explains the code; `limit` the rate limit of a Verify service that was reached
    (`Twilio-Reached-Rate-Limit`), "" for none.
    """

    def __init__(
        self,
        status: int,
        code: int = 0,
        message: str = "",
        retry_after_seconds: float | None = None,
        *,
        more_info: str = "",
        limit: str = "",
    ) -> None:
        super().__init__(status, code, message, retry_after_seconds)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after_seconds = retry_after_seconds
        self.more_info = more_info
        self.limit = limit

    @classmethod
    def from_answer(cls, answered: Mapping[str, Any]) -> Self:
        """Return what `as_answered` was made of."""
        return cls(
            int(answered["status"]),
            int(answered.get("code") or 0),
            str(answered.get("message") or ""),
            more_info=str(answered.get("more_info") or ""),
        )

    def as_answered(self) -> dict[str, Any]:
        """Return what Twilio answered, by its own names; `code` is null where none came."""
        return {
            "code": self.code or None,
            "message": self.message,
            "more_info": self.more_info,
            "status": self.status,
        }

    def __str__(self) -> str:
        if self.code:
            return f"Twilio answered HTTP {self.status}, code {self.code}: {meaning(self.code)}"
        if self.status >= HTTPStatus.INTERNAL_SERVER_ERROR or self.status == HTTPStatus.TOO_MANY_REQUESTS:
            return f"Twilio answered HTTP {self.status}: try again later"
        return f"HTTP {self.status} without Twilio's JSON: something else answered; check the base URL"


class TwilioUnreachable(Exception):  # noqa: N818 - a state of the world, named as one
    """No answer: no connection, a timeout, or a connection that broke. A write may have been carried out."""


class Wire:
    """A connection to one account. An async context manager.

    `auth` is (account SID or API key, its secret). `base_url` (`TWILIO_API_BASE_URL`) serves every product if
    given. At most `connections` requests are under way at once, others wait for them.
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
        connections: int = CONNECTIONS,
    ) -> None:
        self.account_sid = account_sid
        self._api = host_of("api", override=base_url, region=region, edge=edge)
        self.messaging_url = host_of("messaging", override=base_url, region=region, edge=edge)
        self.content_url = host_of("content", override=base_url, region=region, edge=edge)
        self.verify_url = host_of("verify", override=base_url, region=region, edge=edge)
        self.account_url = f"{self._api}/2010-04-01/Accounts/{account_sid}"
        trust: ssl.SSLContext | bool = False
        if not self._api.lower().startswith(
            "http://"
        ):  # then certificates, 40 ms of CPU, are read for nothing
            trust = ssl.create_default_context()  # the system's, as on the send path; honours SSL_CERT_FILE
            if root_pem is not None:
                trust.load_verify_locations(cadata=root_pem.decode())
        self._http = httpx.AsyncClient(
            auth=auth,
            headers={"accept": "application/json", "user-agent": "broadcaster"},
            timeout=_TIMEOUT,
            limits=httpx.Limits(
                max_connections=connections, max_keepalive_connections=4, keepalive_expiry=30.0
            ),
            follow_redirects=False,
            trust_env=False,
            proxy=proxy,
            verify=trust,
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.account_sid!r}, {urlsplit(self._api).hostname!r})"

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._http.aclose()

    async def get(self, url: str, query: Mapping[str, str] | None = None) -> httpx.Response:
        """Read something. Raises `TwilioError` or `TwilioUnreachable`."""
        return await self.call("GET", url, query=query)

    async def call(
        self,
        method: str,
        url: str,
        *,
        query: Mapping[str, str] | None = None,
        form: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """Make one call. Raises `TwilioError`, or `TwilioUnreachable` after which it may be carried out."""
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
    more_info: str = ""


def decode(answer: httpx.Response, shape: type[_T]) -> _T:
    """Return an answer's JSON as a value. Raises `TwilioError` where it is something else."""
    try:
        return msgspec.json.decode(answer.content, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise TwilioError(answer.status_code) from None


def rows(answer: httpx.Response, listed: str) -> list[dict[str, Any]]:
    """Return the rows of a listing under their name. Raises `TwilioError` where there is no such list."""
    found = decode(answer, dict[str, Any]).get(listed)
    if not isinstance(found, list):
        raise TwilioError(answer.status_code)
    return [row for row in found if isinstance(row, dict)]


def _refusal(answer: httpx.Response) -> TwilioError:
    try:
        said = msgspec.json.decode(answer.content, type=_Refusal)
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = _Refusal()
    wish = retry_after_seconds(answer.headers.get("retry-after"), answer.headers.get("date"))
    code = twilio_code(answer.content)
    limit = answer.headers.get("twilio-reached-rate-limit", "")[:_LONGEST_LIMIT]
    return TwilioError(answer.status_code, code, said.message, wish, more_info=said.more_info, limit=limit)


def follow(current: str, following: str | None) -> str | None:
    """Return the next page's URL at the host we talk to, whatever host it names: credentials stay there."""
    if not following:
        return None
    here, there = urlsplit(current), urlsplit(following)
    url = here._replace(path=there.path, query=there.query).geturl()
    return None if url == current else url
