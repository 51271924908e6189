"""The send path: one POST to Messages, one `Outcome`."""

from __future__ import annotations

from base64 import b64encode
from typing import TYPE_CHECKING, Self

from pyreqwest.http import Url

from broadcaster.domain.failures import Kind, Outcome
from broadcaster.twilio.answers import outcome_of_created, outcome_of_failure, outcome_of_refusal
from broadcaster.twilio.engine import DEFAULT_TIMEOUTS, Timeouts, client_builder
from broadcaster.twilio.marks import check_marks

if TYPE_CHECKING:
    from pyreqwest.client import Client


class MessageSender:
    """Posts Create Message forms over at most `concurrency` HTTP/1.1 connections. An async context manager.

    `auth` is (account SID or API key, its secret). `proxy` is a URL; without it none is used, whatever the
    environment says. `root_pem` are certificates to trust besides the system's. See `engine` for the rest.
    Leaving the context breaks what is still in flight: wait for it first.
    """

    def __init__(
        self,
        account_sid: str,
        auth: tuple[str, str],
        base_url: str = "https://api.twilio.com",
        *,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        concurrency: int = 64,
        proxy: str | None = None,
        root_pem: bytes | None = None,
    ) -> None:
        self._account_sid = account_sid
        self._concurrency = concurrency
        self._url = Url(f"{base_url.rstrip('/')}/2010-04-01/Accounts/{account_sid}/Messages.json")
        headers = {
            "authorization": "Basic " + b64encode(":".join(auth).encode()).decode(),
            "content-type": "application/x-www-form-urlencoded",
            "accept": "application/json",
            "accept-charset": "utf-8",
        }

        def build() -> Client:  # a builder serves once
            builder = client_builder(timeouts, concurrency=concurrency, proxy=proxy, root_pem=root_pem)
            return builder.default_headers(headers).build()

        self._build = build
        self._client: Client | None = None

    def __repr__(self) -> str:
        where = f"{self._account_sid!r}, {self._url.origin_ascii!r}, concurrency={self._concurrency}"
        return f"MessageSender({where})"

    async def __aenter__(self) -> Self:
        self._client = self._build()
        return self

    async def __aexit__(self, *_: object) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def post(self, form: bytes) -> Outcome:
        """Send one form and say what became of it. Raises nothing but CancelledError.

        Never cancel a task that waits here: the engine may have written the request already, and the answer
        is lost with the task. To stop, give it no more work and wait; the total timeout bounds the wait.
        """
        client = self._client
        if client is None:
            return Outcome(Kind.NOT_SENT, detail="the sender is closed")
        try:
            request = client.post(self._url).body_bytes(form).build()
        except Exception as error:  # noqa: BLE001 - whatever it is, nothing was handed over
            return Outcome(Kind.NOT_SENT, detail=type(error).__name__)
        try:
            response = await request.send()
            body = await response.bytes()  # a buffer, which is read where it lies
            status = response.status
            if status in (200, 201):
                return outcome_of_created(status, body)
            header = response.get_header("twilio-concurrent-requests")
            concurrent = int(header) if header is not None and header.isdecimal() else None
            return outcome_of_refusal(
                status,
                bytes(body),
                retry_after=response.get_header("retry-after"),
                date=response.get_header("date"),
                concurrent=concurrent,
            )
        except Exception as error:  # noqa: BLE001 - all that is not proof of the contrary is unknown
            return outcome_of_failure(error)

    async def self_test(self) -> None:
        """Prove that failures carry the marks we read (see `marks`). Raises `TransportMarksError`."""
        await check_marks()
