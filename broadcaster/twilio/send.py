"""The send path: one POST to Messages, one `Outcome`."""

from __future__ import annotations

from base64 import b64encode
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Self

from pyreqwest.client import ClientBuilder
from pyreqwest.http import Url
from pyreqwest.proxy import ProxyBuilder

from broadcaster.domain.failures import Kind, Outcome
from broadcaster.twilio.answers import outcome_of_created, outcome_of_failure, outcome_of_refusal
from broadcaster.twilio.marks import check_marks

if TYPE_CHECKING:
    from pyreqwest.client import Client

#: Twilio gives up on a request itself after about 26 s; waiting longer turns doubt into answers.
SHORTEST_READ_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds per phase. `read` is between two bytes of the answer, `total` from connecting to the last byte.

    `pool_idle` keeps a connection no longer than Twilio's front door does, so that few requests meet a closing one.
    """

    connect: float = 5.0
    read: float = 35.0
    total: float = 60.0
    pool: float = 5.0
    pool_idle: float = 30.0

    @classmethod
    def for_tests(cls, seconds: float) -> Timeouts:
        """Return short timeouts, for servers that are slow on purpose."""
        return cls(connect=seconds, read=seconds, total=2 * seconds, pool=seconds)


DEFAULT_TIMEOUTS: Final = Timeouts()


class MessageSender:
    """Posts Create Message forms over at most `concurrency` HTTP/1.1 connections. An async context manager.

    Follows no redirect (a 307 would post again), keeps no cookies, asks for no compression, reads no proxy from
    the environment. `auth` is (account SID or API key, its secret). `proxy` is a URL, `root_pem` further trusted
    certificates.
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
        self._base_url = base_url.rstrip("/")
        self._url = Url(f"{self._base_url}/2010-04-01/Accounts/{account_sid}/Messages.json")
        self._builder = _client_builder(timeouts, concurrency, proxy, root_pem).default_headers(
            {
                "authorization": "Basic " + b64encode(":".join(auth).encode()).decode(),
                "content-type": "application/x-www-form-urlencoded",
                "accept": "application/json",
                "accept-charset": "utf-8",
            }
        )
        self._client: Client | None = None

    def __repr__(self) -> str:
        return f"MessageSender({self._account_sid!r}, base_url={self._base_url!r}, concurrency={self._concurrency})"

    async def __aenter__(self) -> Self:
        self._client = self._builder.build()
        return self

    async def __aexit__(self, *_: object) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def post(self, form: bytes) -> Outcome:
        """Send one form and say what became of it. Raises nothing but CancelledError.

        Never cancel a task that waits here: the engine may already have written the request, and its answer is
        lost with the task. To stop, stop giving it work and wait; the read timeout bounds the wait.
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
            body = bytes(await response.bytes())
            status = response.status
            header = response.get_header("twilio-concurrent-requests")
            concurrent = int(header) if header is not None and header.isdecimal() else None
            if status in (200, 201):
                return outcome_of_created(status, body, concurrent)
            return outcome_of_refusal(
                status,
                body,
                retry_after=response.get_header("retry-after"),
                date=response.get_header("date"),
                concurrent=concurrent,
            )
        except Exception as error:  # noqa: BLE001 - all that is not proof of the contrary is unknown
            return outcome_of_failure(error)

    async def self_test(self) -> None:
        """Prove on loopback sockets that failures still carry the marks we read. Raises `TransportMarksError`."""
        await check_marks()


def _client_builder(
    timeouts: Timeouts, concurrency: int, proxy: str | None, root_pem: bytes | None
) -> ClientBuilder:
    builder = (
        ClientBuilder()
        .http1_only()
        .no_proxy()
        .follow_redirects(False)
        .referer(False)
        .default_cookie_store(False)
        .gzip(False)
        .brotli(False)
        .zstd(False)
        .deflate(False)
        .max_connections(concurrency)
        .pool_max_idle_per_host(concurrency)
        .pool_idle_timeout(timedelta(seconds=timeouts.pool_idle))
        .pool_timeout(timedelta(seconds=timeouts.pool))
        .connect_timeout(timedelta(seconds=timeouts.connect))
        .read_timeout(timedelta(seconds=timeouts.read))
        .timeout(timedelta(seconds=timeouts.total))
        .user_agent("broadcaster")
    )
    if proxy is not None:
        builder = builder.proxy(ProxyBuilder.all(proxy))
    if root_pem is not None:
        builder = builder.add_root_certificate_pem(root_pem)
    return builder
