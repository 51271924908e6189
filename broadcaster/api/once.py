"""Idempotency-Key: a request that creates something is carried out once, however often it is sent.

After draft-ietf-httpapi-idempotency-key-header-07, with Stripe's habits: the same key and payload get the
first answer again (`Idempotent-Replayed: true`), another payload 422, a request still under way 409. Kept for
a day, by API key. Only what was done is kept: after an answer of 4xx or 5xx the next request tries again.

A process may die between the deed and its answer, or not hear what Redis made of it. The next request with
the key then does it again, so the deed has to be idempotent by itself: by a nonce, the same whenever an API
key sends that Idempotency-Key. Until then only the same payload is taken: another one would get the first
one's answer, and be lost.

Use, in a handler of a POST::

    async def work(nonce: str) -> Response:     # nonce: "" where no key was sent
        made = await operations.create(store, actor, …, nonce=nonce)
        return created(made)

    return await once(request, work)
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import secrets
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import msgspec
from redis.exceptions import RedisError
from starlette.responses import Response

from broadcaster.api.parts import caller_of, parts_of
from broadcaster.api.problems import Problem, retry_after
from broadcaster.ledger.kept_answers import (
    ASKED_LETTERS,
    Answer,
    Deed,
    pack_answer,
    turn_of,
    unpack_answer,
)
from broadcaster.store.errors import StoreError
from broadcaster.store.scripts import Call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from starlette.requests import Request

    from broadcaster.store.connection import Store

HEADER: Final = "Idempotency-Key"
KEPT_SECONDS: Final = 86400
LEASE_SECONDS: Final = 10.0
RENEW_SECONDS: Final = 3.0
LONGEST: Final = 255
#: A string of RFC 8941 (structured fields), 3.3.3; and what most clients send instead: the bare text.
_QUOTED: Final = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_BARE: Final = re.compile(r"[\x21\x23-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")


class Done(Response):
    """An answer that is kept in the place of the memo of its deed."""

    deed: Deed | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of an act: `word` is one of once.lua's."""

    word: str
    asked: str = ""
    answer: Answer | None = None
    wait_seconds: float = 0.0


@dataclass(slots=True)
class Turn:
    """A request that may be carried out now: nobody else works at its key meanwhile.

    `kept` is the answer that is there already, given for `asked`; whoever took the turn without saying what
    is asked for compares that itself.
    """

    nonce: str
    kept: Answer | None = None
    asked: str = ""
    _store: Store | None = None
    _name: str = ""
    _token: str = ""
    _done: bool = False

    async def keep(self, response: Response, asked: str) -> Response:
        """Keep the answer if it tells of something done; return it."""
        if self._store is not None and response.status_code < HTTPStatus.BAD_REQUEST:
            headers = [pair for pair in response.raw_headers if pair[0].lower() != b"content-length"]
            answer = Answer(response.status_code, headers, bytes(response.body))
            deed = response.deed if isinstance(response, Done) else None
            await self._store.run(keep(self._name, self._token, asked, answer, deed))
            self._done = True
        return response

    async def hold(self) -> None:
        """Renew the turn until cancelled."""
        while self._store is not None:
            await asyncio.sleep(RENEW_SECONDS)
            with contextlib.suppress(StoreError):
                await self._store.run(renew(self._name, self._token))

    async def leave(self, *, unsure: bool = False) -> None:
        """Let the next request try, unless an answer is kept; the same one only, where `unsure` of the deed.

        What can't be told runs out by itself.
        """
        if self._store is not None and not self._done:
            end = release if unsure else drop
            with contextlib.suppress(StoreError):
                await self._store.run(end(self._name, self._token))


async def once(
    request: Request,
    work: Callable[[str], Awaitable[Response]],
    *,
    required: bool = False,
    payload: bytes | None = None,
    kept: bool = True,
) -> Response:
    """Carry `work` out, or answer what it answered to the same request before.

    `work` gets the nonce by which it is to be idempotent ("" without an Idempotency-Key) and returns an
    answer that is no stream. `payload`: the body, where it can't be had from `request.body()` any more.
    Not `kept`: nothing of the answer is, as it names somebody; `work` itself answers the same again.
    Raises `Problem` 400, 409 or 422, and what `work` raises.
    """
    if HEADER not in request.headers and not required:  # most single messages; a turn would cost as much
        return await work("")
    async with turn(request, required=required, payload=await _payload(request, payload)) as mine:
        if mine.kept is not None:
            return replayed(mine.kept)
        done = await work(mine.nonce)
        return await mine.keep(done, mine.asked) if kept else done


async def _payload(request: Request, payload: bytes | None) -> bytes:
    if HEADER not in request.headers:
        return b""
    return await request.body() if payload is None else payload


@contextlib.asynccontextmanager
async def turn(
    request: Request, *, required: bool = False, payload: bytes | None = None
) -> AsyncIterator[Turn]:
    """Take this request's turn. Without `payload` what is asked for is not known yet: see `Turn`.

    Raises `Problem` 400 (no key where one is required, or none that can be taken), 409 or 422.
    """
    key = key_of(request)
    if key is None:
        if required:
            raise Problem("idempotency-key-missing")
        yield Turn("")
        return
    store = parts_of(request).store
    owner = caller_of(request).key.id
    nonce = hashlib.sha256(f"{owner}\0{key}".encode()).hexdigest()[:32]
    name, token = turn_of(owner, nonce), secrets.token_hex(8)
    asked = "" if payload is None else fingerprint(request, payload)
    try:
        found = await store.run(take(name, token, asked))
    except StoreError:  # it may be ours, unheard: nobody is to wait for it
        await Turn(nonce, _store=store, _name=name, _token=token).leave()
        raise
    if found.word == "reused" or (asked and found.asked and not same(found.asked, asked)):
        raise reused()
    if found.word == "running":
        raise in_progress(min(found.wait_seconds, 1.0))
    mine = Turn(nonce, found.answer, found.asked or asked, store, name, token, found.answer is not None)
    holding = asyncio.ensure_future(mine.hold())
    unsure = False
    try:
        yield mine
    except (StoreError, RedisError, OSError, asyncio.CancelledError):
        unsure = True
        raise
    finally:
        holding.cancel()
        await mine.leave(unsure=unsure)


def replayed(answer: Answer) -> Response:
    """Return an answer again, marked."""
    response = Response(answer.body, answer.status)
    response.raw_headers += [*answer.headers, (b"idempotent-replayed", b"true")]
    return response


def same(kept: str, asked: str) -> bool:
    """Tell whether the same was asked for as an answer was kept of."""
    return kept[:ASKED_LETTERS] == asked[:ASKED_LETTERS]


def reused() -> Problem:
    """Return what to say of a key that was used for something else."""
    return Problem("idempotency-key-reused")


def in_progress(seconds: float, detail: str = "") -> Problem:
    """Return what to say while the first request with the key is being worked on."""
    return Problem("in-progress", detail, headers=retry_after(seconds))


def key_of(request: Request) -> str | None:
    """Return the Idempotency-Key, bare or quoted; None without one. Raises `Problem` 400."""
    values = request.headers.getlist(HEADER)
    if not values:
        return None
    text = values[0].strip()
    quoted = _QUOTED.fullmatch(text)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else text
    if len(values) > 1 or not (quoted or _BARE.fullmatch(text)) or not 1 <= len(key) <= LONGEST:
        raise Problem("bad-request", f"{HEADER} takes one text of 1 to {LONGEST} printable ASCII characters.")
    return key


def fingerprint(request: Request, payload: bytes) -> str:
    """Return what makes another request the same: method, path, and the body, as JSON where it is that."""
    with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # a form, or a list
        payload = msgspec.json.encode(msgspec.json.decode(payload), order="deterministic")
    head = f"{request.method} {request.url.path}?{request.url.query}\n".encode()
    return hashlib.sha256(head + payload).hexdigest()


def take(name: str, token: str, asked: str) -> Call[Verdict]:
    """Ask for the turn of `name`; `asked` may be "" while it isn't known."""
    return Call("once", ("take", name, token, int(LEASE_SECONDS * 1000), asked), partial(_taken, name))


def renew(name: str, token: str) -> Call[Verdict]:
    """Hold a turn for longer."""
    return Call("once", ("renew", name, token, int(LEASE_SECONDS * 1000)), _verdict)


def keep(name: str, token: str, asked: str, answer: Answer, deed: Deed | None = None) -> Call[Verdict]:
    """End a turn with an answer, which is kept for a day, in the place of the memo of its deed."""
    packed = pack_answer(name, asked, answer, deed)
    memo = deed.memo if deed else ""
    return Call("once", ("keep", name, token, KEPT_SECONDS, "", packed, memo), _verdict)


def release(name: str, token: str) -> Call[Verdict]:
    """End a turn of which nobody knows what came; what was asked for stays."""
    return Call("once", ("renew", name, token, 0), _verdict)


def drop(name: str, token: str) -> Call[Verdict]:
    """End a turn with nothing done."""
    return Call("once", ("drop", name, token), _verdict)


def _taken(name: str, reply: list[Any]) -> Verdict:
    word, *rest = reply
    match word:
        case b"kept" if rest[0]:  # by the version before, which knew no other shape
            return Verdict("kept", rest[0].decode(), msgspec.msgpack.decode(rest[1], type=Answer))
        case b"kept":
            kept = unpack_answer(name, rest[1])
            return Verdict("kept", kept.asked, kept.answer)
        case b"running":
            return Verdict("running", wait_seconds=int(rest[0]) / 1000)
    return _verdict(reply)


def _verdict(reply: list[bytes]) -> Verdict:
    return Verdict(reply[0].decode())
