"""An answer as it is kept for an Idempotency-Key: packed, as there may be millions of a day.

It stands in the place of the deed's own memo too (`append:`, by which a process that died before it answered
finds out what was done), so it says what was in there: whoever takes the answer away puts that back. The memo
goes an hour later.

The version before looks for a hash there, and Redis refuses it: it answers 503 and does nothing. What it had
begun before, and goes on with when it wakes up, finds the memo for an hour. As all that is for a day at most,
it is no data format of its own (domain/data_format.py).
"""

from __future__ import annotations

import hashlib
import re
import zlib
from enum import IntEnum
from typing import Final, NamedTuple

import msgspec

from broadcaster.domain.message_ids import id_of, sid_like
from broadcaster.store.errors import StoreError

#: A byte of shape, and what was asked for.
_HEAD: Final = 17
#: So much of what was asked for is kept, of 64 hexadecimal digits.
ASKED_LETTERS: Final = 32
#: What most answers have in common, the commonest last. It belongs to the shape: another one needs another.
_COMMON: Final = (
    b'{"body":"Your code is ","num_segments":"1","direction":"outbound-api","from":"+1","to":"whatsapp:+1",'
    b'"date_updated":"Mon, Tue, Wed, Thu, Fri, Sat, Sun, 1 Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec 20'
    b'26 +0000","price":null,"error_message":null,"uri":"/2010-04-01/Accounts/AC/Messages/SM0d10.json",'
    b'"account_sid":"AC","num_media":"0","status":"queued","messaging_service_sid":null,"sid":"SM0d10",'
    b'"date_sent":null,"date_created":" +0000","error_code":null,"price_unit":"USD",'
    b'"api_version":"2010-04-01","subresource_uris":{"media":"/2010-04-01/Accounts/AC/Messages/SM0d10/Media.json",'
    b'"feedback":"/2010-04-01/Accounts/AC/Messages/SM0d10/Feedback.json"}}'
    b'{"id":".0.0","to":"whatsapp:+","state":"skipped","reference":"","code":1},{"id":"'
    b"\xcc\xc9\xcc\xc8\xc0\xc4\x10\x91\x92\xc4\x0ccontent-type\xc4\x10application/json"
    b"\x95\xcc\xca\x92\x92\xc4\x08location\xc4%/v1/messages/\x92\xc4\x0ccontent-type\xc4\x10application/json\xc4z"
    b'{"messages":[{"id":"1m8.0.1.0","to":"+1","state":"queued","reference":null,"code":null}]}\xc4\x00\xb3'
)
#: What is packed is short: a small window takes a third of the time.
_LEVEL, _WINDOW, _MEMORY, _WIDEST = 9, -12, 4, -15
_ONE_MESSAGE: Final = re.compile(
    rb'\{"messages":\[\{"id":"([0-9a-z]+(?:\.[0-9]+){3})","to":"\+([1-9][0-9]{,14})".*'
)
_ID_BYTES, _NUMBER_BYTES = 16, 7


class Shape(IntEnum):
    """How an answer is packed, which its first byte says."""

    ANY = 1
    #: One message with nothing unusual: 40 bytes. Up to 44 a string is one piece of memory in Redis, not two.
    SINGLE = 2


class Answer(msgspec.Struct, frozen=True, array_like=True):
    """An answer: what `POST` got."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Deed(NamedTuple):
    """Messages that were appended: under which memo (`append:`), and where they are: stream and batches."""

    memo: str
    stream: str
    batches: list[str]


class Kept(NamedTuple):
    """An answer, the first half of what was asked for (hex), and the deed whose memo it stands for."""

    asked: str
    answer: Answer
    deed: Deed | None


class _Packed(msgspec.Struct, frozen=True, array_like=True):
    """`memo`: 16 bytes; b"" for the one that follows from the turn. `places`: STREAM.BATCH BATCH …, or ""."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes
    memo: bytes
    places: str


def turn_of(key_id: str, nonce: str) -> str:
    """Return whose turn a request is: `once:` and this is where its answer is kept. "" without a nonce."""
    return f"{key_id}:{nonce}" if nonce else ""


def memo_of(key_id: str, nonce: str) -> str:
    """Return under which name it is kept what a request has appended."""
    return "r:" + hashlib.sha256(f"{len(key_id)}:{key_id}{nonce}".encode()).hexdigest()[:32]


def pack_answer(turn: str, asked: str, answer: Answer, deed: Deed | None = None) -> bytes:
    """Pack the answer to what was `asked` (64 hexadecimal digits) in this turn."""
    head = bytes.fromhex(asked[:ASKED_LETTERS])
    if single := _pack_single(turn, answer, deed):
        return bytes((Shape.SINGLE,)) + head + single
    memo, places = b"", ""
    if deed is not None:
        memo = b"" if deed.memo == _memo_of_turn(turn) else bytes.fromhex(deed.memo[2:])
        places = f"{deed.stream}.{' '.join(deed.batches)}"
    whole = msgspec.msgpack.encode(_Packed(answer.status, answer.headers, answer.body, memo, places))
    packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, _WINDOW, _MEMORY, zlib.Z_DEFAULT_STRATEGY, _COMMON)
    return bytes((Shape.ANY,)) + head + packer.compress(whole) + packer.flush()


def unpack_answer(turn: str, raw: bytes) -> Kept:
    """Return what was kept of this turn. Raises StoreError for what a later version has kept."""
    asked, rest = raw[1:_HEAD].hex(), raw[_HEAD:]
    try:
        match raw[0]:
            case Shape.ANY:
                return Kept(asked, *_unpack_any(turn, rest))
            case Shape.SINGLE:
                return Kept(asked, *_unpack_single(turn, rest))
    except (zlib.error, msgspec.DecodeError) as error:
        raise StoreError(f"an answer is kept that can't be read: {error}") from error
    raise StoreError("an answer is kept in a way that this version does not know")


def _unpack_any(turn: str, raw: bytes) -> tuple[Answer, Deed | None]:
    whole = zlib.decompressobj(_WIDEST, _COMMON).decompress(raw)
    packed = msgspec.msgpack.decode(whole, type=_Packed)
    answer = Answer(packed.status, packed.headers, packed.body)
    if not packed.places:
        return answer, None
    stream, _, batches = packed.places.partition(".")
    memo = f"r:{packed.memo.hex()}" if packed.memo else _memo_of_turn(turn)
    return answer, Deed(memo, stream, batches.split(" "))


def _pack_single(turn: str, answer: Answer, deed: Deed | None) -> bytes | None:
    """Pack the answer to one message: its id as 16 bytes, its number as 7. None where it says more."""
    found = _ONE_MESSAGE.fullmatch(answer.body)
    if found is None:
        return None
    message, number = found[1].decode(), int(found[2])
    if (answer, deed) != _single(turn, message, number):
        return None
    try:
        sid = sid_like(message)
    except ValueError:  # its place has too high a number
        return None
    return bytes.fromhex(sid[2:]) + number.to_bytes(_NUMBER_BYTES, "big")


def _unpack_single(turn: str, raw: bytes) -> tuple[Answer, Deed]:
    message = id_of(f"SM{raw[:_ID_BYTES].hex()}")
    if message is None:
        raise StoreError("an answer is kept of a message that can't be")
    return _single(turn, message, int.from_bytes(raw[_ID_BYTES:], "big"))


def _single(turn: str, message: str, number: int) -> tuple[Answer, Deed]:
    """Return what is answered to one message with nothing unusual (api/messages.py)."""
    body = (
        f'{{"messages":[{{"id":"{message}","to":"+{number}",'
        '"state":"queued","reference":null,"code":null}]}'
    )
    headers = [
        (b"location", f"/v1/messages/{message}".encode()),
        (b"content-type", b"application/json"),
    ]
    stream, lane, batch, _ = message.split(".")
    deed = Deed(_memo_of_turn(turn), stream, [f"{lane}.{batch}"])
    return Answer(202, headers, body.encode()), deed


def _memo_of_turn(turn: str) -> str:
    key_id, _, nonce = turn.partition(":")
    return memo_of(key_id, nonce)
