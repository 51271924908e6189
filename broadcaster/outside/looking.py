"""Looking at a file by its URL: its type and its length, without fetching more of it than must be.

HEAD; GET, broken off as soon as it tells, where HEAD is not answered or says too little. Redirects are
followed by hand, each hop to an address that was judged.
"""

from __future__ import annotations

import base64
import ssl
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import httptools

from broadcaster.outside.connecting import ANSWER_BYTES, ForbiddenAddress, NoConnection, place_of

if TYPE_CHECKING:
    from broadcaster.outside.connecting import Guard

MOST_REDIRECTS: Final = 5
_HEAD_BYTES: Final = 64 * 1024
_REDIRECTS: Final = frozenset((301, 302, 303, 307, 308))
#: Servers answer HEAD so that have the file all the same (signed URLs are signed for GET alone).
_NOT_BY_HEAD: Final = frozenset((400, 403, 405, 501))
_ENCODINGS_OF_PLAIN: Final = ("", "identity")


class NoAnswer(Exception):  # noqa: N818 - a state of the world, named as one
    """Nobody answered so that it can be said what is there: it may be there all the same."""


class Refused(Exception):  # noqa: N818
    """What is at the URL can't be fetched by anybody: the words say why."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A file: `content_type` as its server says it, "" if it doesn't; `length` in bytes.

    A file of more than was asked about (`most`) may have any length above that.
    """

    content_type: str
    length: int


@dataclass(slots=True)
class _Answer:
    """What came of an answer so far; httptools calls its methods. `body`: bytes of it that came."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: int = 0
    complete: bool = False
    parser: httptools.HttpResponseParser = field(init=False)

    def __post_init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)

    def on_message_begin(self) -> None:
        self.headers = {}

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1").strip()

    def on_headers_complete(self) -> None:
        status = self.parser.get_status_code()
        self.status = status if status >= HTTPStatus.OK else 0  # 1xx: the answer is yet to come

    def on_body(self, data: bytes) -> None:
        self.body += len(data)

    def on_message_complete(self) -> None:
        self.complete = bool(self.status)

    @property
    def length(self) -> int | None:
        """What the head says of the body's length; None where it doesn't, or says it of something packed."""
        told = self.headers.get("content-length", "")
        plain = self.headers.get("content-encoding", "").lower() in _ENCODINGS_OF_PLAIN
        return int(told) if plain and told.isascii() and told.isdigit() else None


async def look(guard: Guard, url: str, *, most: int, agent: str) -> Seen:
    """Look at what `url` leads to. `most`: beyond so many bytes the length need not be known.

    Takes as long as the servers take: to be called under a timeout. Raises `Refused`, also for addresses that
    nobody may reach through us, and `NoAnswer`.
    """
    seen: set[str] = set()
    for _ in range(MOST_REDIRECTS + 1):
        parts = _parts(url)
        seen.add(url)
        answer = await _ask(guard, parts, "HEAD", 0, agent)
        if answer.status in _NOT_BY_HEAD or (answer.status == HTTPStatus.OK and _says_too_little(answer)):
            answer = await _ask(guard, parts, "GET", most, agent)
        if answer.status not in _REDIRECTS:
            return _told(answer)
        url = _joined(url, answer.headers.get("location", ""))
        if url in seen:
            raise Refused("it redirects in a circle")
    raise Refused(f"it redirects more than {MOST_REDIRECTS} times")


def _says_too_little(answer: _Answer) -> bool:
    return answer.length is None or not answer.headers.get("content-type")


def _told(answer: _Answer) -> Seen:
    status = answer.status
    if status == HTTPStatus.OK:
        length = answer.length
        return Seen(answer.headers.get("content-type", ""), answer.body if length is None else length)
    passing = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in (
        HTTPStatus.REQUEST_TIMEOUT,
        HTTPStatus.TOO_EARLY,
        HTTPStatus.TOO_MANY_REQUESTS,
    )
    if passing and status != HTTPStatus.NOT_IMPLEMENTED:
        raise NoAnswer(f"it answers HTTP {status}")
    raise Refused(f"it answers HTTP {status}")


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise Refused("it redirects to what is no URL") from None


def _parts(url: str) -> SplitResult:
    """Return a URL's parts. Raises Refused."""
    try:
        parts = urlsplit(url)
        place = place_of(parts)
        place.host.encode("idna" if not place.host.isascii() else "ascii")
    except ValueError:
        raise Refused("it is no URL") from None
    if place.scheme not in ("http", "https") or not place.host:
        raise Refused("it leads to what is neither http:// nor https://")
    return parts


async def _ask(guard: Guard, url: SplitResult, method: str, most: int, agent: str) -> _Answer:
    """Ask for a URL; of the body of an answer without a length at most `most` + 1 bytes are taken."""
    request = _request(url, method, agent)
    answer = _Answer()
    try:
        reader, writer = await guard.open(place_of(url))
        try:
            writer.write(request)
            taken = 0
            while not _is_enough(answer, method, most):
                if not answer.status and taken > _HEAD_BYTES:
                    raise NoAnswer("its answer's head is too long")
                part = await reader.read(ANSWER_BYTES)
                if not part:
                    break
                taken += len(part)
                answer.parser.feed_data(part)
        finally:
            writer.transport.abort()
    except ForbiddenAddress as error:
        raise Refused(str(error)) from None
    except NoConnection as error:
        raise NoAnswer(str(error)) from None
    except ssl.SSLCertVerificationError as error:
        raise Refused(f"its certificate is not valid: {error.verify_message}") from None
    except httptools.HttpParserError:
        raise NoAnswer("what it answers is no HTTP") from None
    except OSError as error:
        raise NoAnswer(f"the connection broke ({type(error).__name__})") from None
    if not answer.status:
        raise NoAnswer("it closes the connection without an answer")
    return answer


def _is_enough(answer: _Answer, method: str, most: int) -> bool:
    if not answer.status:
        return False
    body_tells = method == "GET" and answer.status == HTTPStatus.OK and answer.length is None
    return not body_tells or answer.complete or answer.body > most


def _request(url: SplitResult, method: str, agent: str) -> bytes:
    host = url.netloc.rpartition("@")[2]
    if not host.isascii():
        host = host.encode("idna").decode()
    target = (url.path or "/") + (f"?{url.query}" if url.query else "")
    lines = [
        f"{method} {_quoted(target)} HTTP/1.1",
        f"Host: {host}",
        f"User-Agent: {agent}",
        "Accept: */*",
        "Accept-Encoding: identity",
        "Connection: close",
    ]
    if url.username is not None:  # Twilio takes a name and a password out of a media URL, too
        pair = f"{unquote(url.username)}:{unquote(url.password or '')}"
        lines.append(f"Authorization: Basic {base64.b64encode(pair.encode()).decode()}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def _quoted(target: str) -> str:
    """Return a path that is safe in a request: what is no printable ASCII is percent-encoded."""
    return "".join(
        character
        if "!" <= character <= "~"
        else "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "replace"))
        for character in target
    )
