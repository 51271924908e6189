"""One request and its answer, asked again where that can do no harm."""

from __future__ import annotations

import contextlib
import random
import re
import time
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

import httpx

from broadcaster.client.errors import ApiError, NotReached, NotTheApi
from broadcaster.client.values import Page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

T = TypeVar("T")
_PASSING: Final = frozenset({429, 503})
_GONE: Final = 404
_IN_PROGRESS: Final = "in-progress"
#: No request has left yet: the error came while connecting.
_UNSENT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
#: A server that is not there is asked again for so long: a restart takes less.
_RESTART_SECONDS: Final = 4.0
_REPEATABLE: Final = frozenset({"GET", "DELETE", "PATCH"})


class Asking:
    """Speaks to one API with one key.

    Only what changes nothing when it is done twice, or carries an Idempotency-Key, is sent again: after no
    answer, 429, 503 and while the first request with its key is worked on; `patience_seconds` in all.
    Raises ValueError for a key that no header can carry.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout_seconds: float = 30.0,
        patience_seconds: float = 30.0,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        if not re.fullmatch(r"[\x21-\x7e]+", key):
            raise ValueError("the key must be what `broadcaster keys create` printed: ASCII without spaces")
        plain = url.lower().startswith("http://")  # then certificates, 40 ms of CPU, are read for nothing
        self._http = httpx.Client(
            transport=httpx.HTTPTransport(verify=False) if plain else None,
            base_url=url.rstrip("/"),
            headers={"Authorization": f"Bearer {key}", "User-Agent": "broadcaster-client"},
            timeout=httpx.Timeout(timeout_seconds),
            follow_redirects=False,
        )
        self._patience = patience_seconds
        self._wait = wait

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def json(self, method: str, path: str, **request: Any) -> Any:
        """Return the answer's JSON, None for an empty one. Raises `ClientError`."""
        return read_json(self.ask(method, path, **request))

    def one(self, of: Callable[[Any], T], method: str, path: str, **request: Any) -> T:
        """Return what `of` makes of the answer's JSON. Raises `ClientError`."""
        answer = self.ask(method, path, **request)
        try:
            return of(read_json(answer))
        except (KeyError, TypeError, AttributeError):
            raise NotTheApi(f"{_place(answer.request)} answers what this API doesn't") from None

    def ask(
        self,
        method: str,
        path: str,
        *,
        idempotency_key: str | None = None,
        rewind: Callable[[], bool] | None = None,
        streamed: bool = False,
        **request: Any,
    ) -> httpx.Response:
        """Return a good answer. Raises `ClientError`.

        `rewind` makes the body ready to be sent once more; False: it can't be. A `streamed` answer is read
        and closed by whoever asked.
        """
        headers = {} if idempotency_key is None else {"Idempotency-Key": quoted(idempotency_key)}
        repeatable = method in _REPEATABLE or idempotency_key is not None
        waited, tries, lost = 0.0, 0, False
        while True:
            built = self._http.build_request(method, path, headers=headers, **request)
            most, after = self._patience, None
            try:
                answer = self._http.send(built, stream=streamed)
                if answer.is_success or (lost and method == "DELETE" and answer.status_code == _GONE):
                    return answer  # deleted by the request whose answer was lost
                answer.read()
            except httpx.RequestError as error:
                nobody = _not_reached(error, method, idempotency_key, lost=lost)
                failed: ApiError | NotReached = nobody
                again = repeatable or isinstance(error, _UNSENT)
                if nobody.nothing_sent:
                    most = min(most, _RESTART_SECONDS)
                lost = lost or not nobody.nothing_sent
                if isinstance(error, httpx.TimeoutException):
                    waited += built.extensions["timeout"]["read"] or 0.0
            else:
                failed = problem = error_of(answer)
                again = problem.status in _PASSING or problem.kind == _IN_PROGRESS
                again = again and (repeatable or problem.status == 429)  # noqa: PLR2004 - nothing was done then
                after = problem.retry_after_seconds
            wait = after or min(5.0, 0.2 * 2.0**tries) * random.uniform(0.5, 1.0)  # noqa: S311 - jitter
            if not again or waited + wait > most or not (rewind is None or rewind()):
                raise failed
            self._wait(wait)
            waited, tries = waited + wait, tries + 1

    def stream(self, path: str, **parameters: Any) -> Iterator[bytes]:
        """Yield an answer's bytes as they come. Raises `ClientError`, `NotReached` also half way."""
        with contextlib.closing(self.ask("GET", path, params=parameters, streamed=True)) as answer:
            try:
                yield from answer.iter_bytes()
            except httpx.RequestError as error:
                raise _not_reached(error, "GET", None) from None

    def page(self, path: str, of: Callable[[dict[str, Any]], Any], **parameters: Any) -> Page[Any]:
        """Return one page; `cursor` and `limit` are parameters like others."""

        def read(answer: dict[str, Any]) -> Page[Any]:
            return Page(tuple(of(entry) for entry in answer["data"]), answer.get("next"))

        return self.one(read, "GET", path, params=parameters)

    def every(self, path: str, of: Callable[[dict[str, Any]], Any], **parameters: Any) -> Iterator[Any]:
        """Yield all of a list, page by page."""
        cursor: dict[str, str] = {}
        while True:
            page = self.page(path, of, **parameters, **cursor)
            yield from page.data
            if page.next is None:
                return
            cursor = {"cursor": page.next}


def _not_reached(
    error: httpx.RequestError, method: str, key: str | None, *, lost: bool = False
) -> NotReached:
    """Return what to say of no answer; `lost`: the answer to the same request had been lost before."""
    unsent = isinstance(error, _UNSENT) and not lost
    told = str(error) or type(error).__name__
    return NotReached(told, nothing_sent=unsent, may_be_done=not unsent and method != "GET", key=key)


def quoted(key: str) -> str:
    """Return an Idempotency-Key as its header has it: a string of RFC 8941, section 3.3.3.

    Raises ValueError for one that is not printable ASCII.
    """
    if not re.fullmatch(r"[\x20-\x7e]{1,255}", key):
        raise ValueError("an Idempotency-Key has 1 to 255 printable ASCII characters")
    escaped = key.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def read_json(answer: httpx.Response) -> Any:
    """Return an answer's JSON, None for an empty one. Raises `NotTheApi`."""
    try:
        return answer.json() if answer.content else None
    except ValueError:
        raise NotTheApi(f"{_place(answer.request)} does not answer in JSON: it is not this API") from None


def error_of(answer: httpx.Response) -> ApiError:
    """Return the problem that an answer tells of, also where it is none of this API's."""
    try:
        problem = answer.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        detail = f"{_place(answer.request)} answers {answer.status_code} without saying why"
        problem = {"title": answer.reason_phrase, "detail": detail}
    after: Mapping[str, str] = answer.headers
    told = after.get("retry-after", "")
    return ApiError(answer.status_code, problem, float(told) if told.isdigit() else None)


def _place(request: httpx.Request) -> str:
    return str(request.url.copy_with(query=None, userinfo=b""))
