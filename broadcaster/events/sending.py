"""One POST to one endpoint, signed, to an address that was looked at.

Against requests into our own network (whoever may name an endpoint could else reach what only we can): a
name is resolved once, all its addresses are judged, and the connection goes to the very address that was
judged, so that a second answer of its DNS changes nothing. No redirect is followed, no proxy of the
environment is used, TLS is verified against the name. httpcore, which is httpx' transport, lets the
connecting be replaced; httpx doesn't.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Self

import httpcore
from standardwebhooks.webhooks import Webhook

from broadcaster import __version__
from broadcaster.events.addresses import forbidden_because
from broadcaster.events.endpoints import EndpointError, check_url
from broadcaster.twilio.answers import retry_after_seconds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broadcaster.events.addresses import Address
    from broadcaster.events.endpoints import Endpoint

TIMEOUT_SECONDS: Final = 15.0
CONNECT_SECONDS: Final = 5.0
ANSWER_BYTES: Final = 4096
REST_SECONDS: Final = 1.0
_ADDRESSES_TRIED: Final = 3
_RESOLVERS: Final = 8
#: So many connections stay open for the next delivery, for so long.
_IDLE: Final = 64
_IDLE_SECONDS: Final = 30.0
_BROKEN: Final = (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException)


class ForbiddenAddress(httpcore.ConnectError):
    """The host is, or resolves to, an address that events must not be sent to."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a POST: `status` 0 where no answer came; `words` say it without URL or body."""

    status: int
    words: str
    retry_after_seconds: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the endpoint has it."""
        return HTTPStatus.OK <= self.status < HTTPStatus.MULTIPLE_CHOICES

    @property
    def gone(self) -> bool:
        """Whether the endpoint wants nothing any more (Standard Webhooks: 410 disables it)."""
        return self.status == HTTPStatus.GONE

    @property
    def slows(self) -> bool:
        """Whether it wants less at once."""
        return self.status in {
            HTTPStatus.TOO_MANY_REQUESTS,
            HTTPStatus.BAD_GATEWAY,
            HTTPStatus.SERVICE_UNAVAILABLE,
            HTTPStatus.GATEWAY_TIMEOUT,
        }


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Connects only to public addresses; `allow_private` to any."""

    def __init__(
        self, *, allow_private: bool = False, network: httpcore.AsyncNetworkBackend | None = None
    ) -> None:
        self._allow_private = allow_private
        self._network = network or httpcore.AnyIOBackend()
        # threads of its own: a customer's slow DNS must not hold up what others resolve in this process
        self._resolvers = ThreadPoolExecutor(_RESOLVERS, thread_name_prefix="events-dns")
        self._resolving: dict[tuple[str, int], asyncio.Future[list[Address]]] = {}

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Resolve, judge, and connect to what was judged. Raises `ForbiddenAddress` or `ConnectError`."""
        addresses = await self._resolve(host, port)
        if not self._allow_private:
            for address in addresses:
                if why := forbidden_because(address):
                    raise ForbiddenAddress(f"the address is {why}; requests go to public addresses only")
        failed: Exception = httpcore.ConnectError("the name has no address")
        for address in addresses[:_ADDRESSES_TRIED]:
            try:
                return await self._network.connect_tcp(
                    str(address), port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed

    async def connect_unix_socket(
        self,
        path: str,  # noqa: ARG002 - httpcore's signature
        timeout: float | None = None,  # noqa: ARG002, ASYNC109
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        """Refuse: no endpoint is a socket of this machine."""
        raise ForbiddenAddress("a socket of this machine is no address")

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    def close(self) -> None:
        """Let the resolvers' threads end."""
        self._resolvers.shutdown(wait=False, cancel_futures=True)

    async def _resolve(self, host: str, port: int) -> list[Address]:
        """Return a host's addresses; who asks for the same at the same time shares the answer."""
        asked = self._resolving.get((host, port))
        if asked is None:
            loop = asyncio.get_running_loop()
            asked = loop.run_in_executor(self._resolvers, _addresses_of, host, port)
            self._resolving[host, port] = asked
            asked.add_done_callback(lambda end: self._resolved((host, port), end))
        return await asyncio.shield(asked)

    def _resolved(self, key: tuple[str, int], end: asyncio.Future[list[Address]]) -> None:
        self._resolving.pop(key, None)
        if not end.cancelled():
            end.exception()  # whoever asked may have given up meanwhile


def _addresses_of(host: str, port: int) -> list[Address]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise httpcore.ConnectError("the name cannot be resolved") from None
    return list(dict.fromkeys(ipaddress.ip_address(info[4][0]) for info in found))


class Postman:
    """Posts events. An async context manager; one for a process, as connections are kept for the next."""

    def __init__(
        self,
        *,
        allow_private: bool = False,
        allow_http: bool = False,
        timeout_seconds: float = TIMEOUT_SECONDS,
        trust: ssl.SSLContext | None = None,
        network: httpcore.AsyncNetworkBackend | None = None,
    ) -> None:
        self.allow_private = allow_private
        self.allow_http = allow_http
        self._timeout_seconds = timeout_seconds
        self._network = GuardedNetwork(allow_private=allow_private, network=network)
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trust or ssl.create_default_context(),
            max_connections=None,
            max_keepalive_connections=_IDLE,
            keepalive_expiry=_IDLE_SECONDS,
            network_backend=self._network,
        )

    async def __aenter__(self) -> Self:
        await self._pool.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.aclose()
        self._network.close()

    async def post(self, endpoint: Endpoint, event_id: str, body: bytes, now: float) -> Answer:
        """POST one event, signed at `now`; whatever happens is an answer."""
        try:
            check_url(endpoint.url, allow_http=self.allow_http, allow_private=self.allow_private)
            async with asyncio.timeout(self._timeout_seconds):
                return await self._post(endpoint.url, signed_headers(endpoint, event_id, body, now), body)
        except EndpointError as error:
            return Answer(0, f"its URL {error}")
        except TimeoutError:
            return Answer(0, f"no answer within {self._timeout_seconds:g} s")
        except _BROKEN as error:
            return Answer(0, _words(error))
        except (OSError, ValueError) as error:
            return Answer(0, f"no connection: {type(error).__name__}")

    async def _post(self, url: str, headers: dict[str, str], body: bytes) -> Answer:
        extensions: dict[str, Any] = {"timeout": {"connect": CONNECT_SECONDS, "pool": CONNECT_SECONDS}}
        async with self._pool.stream(
            "POST", url, headers=list(headers.items()), content=body, extensions=extensions
        ) as response:
            held = {
                name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers
            }
            # the status says it all: the rest is read if it comes soon, so that the connection can be kept
            with contextlib.suppress(TimeoutError, *_BROKEN):
                async with asyncio.timeout(REST_SECONDS):
                    await _read_rest(response)
        wait = retry_after_seconds(held.get("retry-after"), held.get("date"))
        return Answer(response.status, f"HTTP {response.status}", wait)


async def _read_rest(response: httpcore.Response) -> None:
    size = 0
    async for part in response.aiter_stream():
        size += len(part)
        if size > ANSWER_BYTES:
            return


def signed_headers(endpoint: Endpoint, event_id: str, body: bytes, now: float) -> dict[str, str]:
    """Return the headers of one attempt (Standard Webhooks): signed now, by each secret that is in use."""
    moment = datetime.fromtimestamp(int(now), UTC)
    text = body.decode()
    signatures = [Webhook(secret).sign(event_id, moment, text) for secret in endpoint.secrets_at(now)]
    return {
        "content-type": "application/json",
        "user-agent": f"broadcaster/{__version__}",
        "webhook-id": event_id,
        "webhook-timestamp": str(int(now)),
        "webhook-signature": " ".join(signatures),
    }


def _words(error: Exception) -> str:
    if isinstance(error, ForbiddenAddress):
        return f"not sent: {error}"
    if isinstance(error, httpcore.TimeoutException):
        return "no connection: it took too long"
    cause: BaseException = error
    while (deeper := cause.__cause__ or cause.__context__) is not None:
        cause = deeper
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not valid: {cause.verify_message}"
    if isinstance(error, httpcore.ConnectError):
        return f"no connection: {str(error)[:200] or type(error).__name__}"
    return f"the connection broke: {type(error).__name__}"
