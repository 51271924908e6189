"""One POST to one endpoint, signed; whatever comes of it is an answer.

No redirect is followed, and no proxy of the environment is used.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Self

from standardwebhooks.webhooks import Webhook

from broadcaster import __version__
from broadcaster.events.connections import Broken, Connections
from broadcaster.events.endpoints import EndpointError, check_url
from broadcaster.outside.connecting import ForbiddenAddress, NoConnection, connect
from broadcaster.twilio.answers import retry_after_seconds

if TYPE_CHECKING:
    from broadcaster.events.endpoints import Endpoint
    from broadcaster.outside.connecting import Connect

TIMEOUT_SECONDS: Final = 15.0


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


class Postman:
    """Posts events. An async context manager; one for a process, as connections are kept for the next."""

    def __init__(
        self,
        *,
        allow_private: bool = False,
        allow_http: bool = False,
        timeout_seconds: float = TIMEOUT_SECONDS,
        trust: ssl.SSLContext | None = None,
        connect: Connect = connect,
    ) -> None:
        self._allow_private = allow_private
        self._allow_http = allow_http
        self._timeout_seconds = timeout_seconds
        self._connections = Connections(
            trust or ssl.create_default_context(), allow_private=allow_private, connect=connect
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._connections.close()

    async def post(  # noqa: PLR0911 - a line for each way it may end
        self, endpoint: Endpoint, event_id: str, body: bytes, now: float
    ) -> Answer:
        """POST one event, signed at `now`; whatever happens is an answer."""
        headers = signed_headers(endpoint, event_id, body, now)
        try:
            url = check_url(endpoint.url, allow_http=self._allow_http, allow_private=self._allow_private)
            async with asyncio.timeout(self._timeout_seconds):
                status, told = await self._connections.post(url, headers, body)
        except EndpointError as error:
            return Answer(0, f"its URL {error}")
        except ForbiddenAddress as error:
            return Answer(0, f"not sent: {error}")
        except NoConnection as error:
            return Answer(0, f"no connection: {error}")
        except Broken as error:
            return Answer(0, f"the connection broke: {error}")
        except TimeoutError:
            return Answer(0, f"no answer within {self._timeout_seconds:g} s")
        except ssl.SSLCertVerificationError as error:
            return Answer(0, f"its certificate is not valid: {error.verify_message}")
        except (OSError, ValueError) as error:
            return Answer(0, f"no connection: {type(error).__name__}")
        wait = retry_after_seconds(told.get("retry-after"), told.get("date"))
        return Answer(status, f"HTTP {status}", wait)


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
