"""One request and its answer, asked again where that can do no harm."""

from __future__ import annotations

import json
import random
import time
from typing import TYPE_CHECKING, Any, Final, Self

import httpx

from broadcaster.client.errors import ApiError, NotReached

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_PASSING: Final = frozenset({429, 503})
_IN_PROGRESS: Final = "in-progress"
_LONGEST_WAIT_SECONDS: Final = 30.0


class Asking:
    """Speaks to one API with one key. `retries`: how often a request without an answer is sent again.

    Only what changes nothing, or carries an Idempotency-Key, is sent again.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout_seconds: float = 30.0,
        retries: int = 4,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._http = httpx.Client(
            base_url=url.rstrip("/"),
            headers={"Authorization": f"Bearer {key}", "User-Agent": "broadcaster-client"},
            timeout=httpx.Timeout(timeout_seconds),
            follow_redirects=False,
        )
        self._retries = retries
        self._wait = wait

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def json(self, method: str, path: str, **request: Any) -> Any:
        """Return the answer's JSON. Raises `ApiError` or `NotReached`."""
        answer = self.ask(method, path, **request)
        return answer.json() if answer.content else None

    def ask(
        self,
        method: str,
        path: str,
        *,
        idempotency_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        **request: Any,
    ) -> httpx.Response:
        """Return a good answer. Raises `ApiError` or `NotReached`."""
        sent = {**(headers or {})}
        if idempotency_key is not None:
            sent["Idempotency-Key"] = f'"{idempotency_key}"'
        repeatable = (method in ("GET", "DELETE") or idempotency_key is not None) and "content" not in request
        for left in range(self._retries if repeatable else 0, -1, -1):
            try:
                answer = self._http.request(method, path, headers=sent, **request)
            except httpx.TransportError as error:
                if not left:
                    raise NotReached(f"{method} {path}: {error or type(error).__name__}") from error
                self._wait(self._backoff(self._retries - left))
                continue
            if answer.is_success:
                return answer
            refused = _error(answer)
            passing = refused.status in _PASSING or refused.kind == _IN_PROGRESS
            if not (left and passing):
                raise refused
            self._wait(min(_LONGEST_WAIT_SECONDS, refused.retry_after_seconds or 1.0))
        raise AssertionError("the last try returns or raises")  # pragma: no cover

    def stream(self, path: str, **parameters: Any) -> Iterator[bytes]:
        """Yield an answer's bytes as they come. Raises `ApiError` or `NotReached`, also half way."""
        try:
            with self._http.stream("GET", path, params=parameters) as answer:
                if not answer.is_success:
                    answer.read()
                    raise _error(answer)
                yield from answer.iter_bytes()
        except httpx.TransportError as error:
            raise NotReached(f"GET {path}: {error or type(error).__name__}") from error

    @staticmethod
    def _backoff(tries: int) -> float:
        return min(_LONGEST_WAIT_SECONDS, 0.2 * 2.0**tries) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter


def _error(answer: httpx.Response) -> ApiError:
    try:
        problem = answer.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        problem = None
    if not isinstance(problem, dict):
        problem = {"title": answer.reason_phrase, "detail": answer.text[:300]}
    after = answer.headers.get("retry-after", "")
    return ApiError(answer.status_code, problem, float(after) if after.isdigit() else None)
