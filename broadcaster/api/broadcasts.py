"""Broadcasts over HTTP: made of a list in JSON or of an uploaded one, whole or in parts."""

from __future__ import annotations

import hashlib
import io
from typing import TYPE_CHECKING, Any, Final, cast

import msgspec
from fastapi import APIRouter, Request, Response
from python_multipart.multipart import parse_options_header

from broadcaster.api.bodies import media_type, whole
from broadcaster.api.broadcast_making import Making, told_in_fields
from broadcaster.api.broadcast_shapes import (
    CSV,
    JSON,
    MULTIPART,
    NDJSON,
    TRIED,
    Taken,
    asked,
    asked_part,
    described,
)
from broadcaster.api.gate import LIST_BYTES
from broadcaster.api.once import fingerprint, once, replayed, reused, same, turn
from broadcaster.api.parts import TheParts, caller_of
from broadcaster.api.problems import Problem
from broadcaster.api.shapes import Broadcast, BroadcastId, answer
from broadcaster.api.uploads import BoundedRows, Room, Upload
from broadcaster.domain.api_keys import Scope
from broadcaster.intake.encodings import EncodingError, encoding_named
from broadcaster.intake.read_ahead import in_thread
from broadcaster.intake.read_json import ValuesReader
from broadcaster.intake.reader import ListOptions, read_list
from broadcaster.intake.sources import ListSource
from broadcaster.operations import drafts
from broadcaster.operations.errors import Fault, Invalid
from broadcaster.operations.order_bounds import INLINE_MOST

if TYPE_CHECKING:
    from typing import BinaryIO

    from broadcaster.api.once import Turn
    from broadcaster.api.parts import Parts
    from broadcaster.intake.extend import OpenDraft
    from broadcaster.intake.table import ListReader

router = APIRouter(tags=["broadcasts"])
_CREATING: Final = (
    *("bad-request", "too-slow", "in-progress", "too-large", "unsupported-media-type", "invalid"),
    *("idempotency-key-reused", "twilio-failed"),
)


class _List(msgspec.Struct):
    """The list in a body. Numbers stay as written: 1.10 is not 1.1 in a message."""

    recipients: list[Any] | None = None


_BLOCK_BYTES: Final = 64 * 1024
_room: Final = Room()
_read_list: Final = msgspec.json.Decoder(_List, float_hook=str).decode


@router.post(
    "/v1/broadcasts",
    operation_id="create_broadcast",
    status_code=202,
    response_model=Broadcast,
    **described(Scope.BROADCASTS_WRITE, *_CREATING, more=TRIED, requestBody=asked()),
)
async def create_broadcast(request: Request, parts: TheParts) -> Response:
    """Send a message to every recipient of a list, once.

    The list is in the request's JSON (up to 10,000 recipients), or the second part of multipart/form-data, as
    CSV or NDJSON of any length, in gzip or not; the first part is `spec`, this JSON without its list. The
    answer comes when the list is whole; sending has begun then. With `dry_run` or `test_to` it is 200 and
    nothing is queued; a test's one message goes out at once, beside the ledger, and again with every
    repetition.
    """
    if media_type(request, JSON, MULTIPART) == MULTIPART:
        return await _uploaded(request, parts)
    body = await whole(request)

    async def work(nonce: str) -> Response:
        making = Making(parts, caller_of(request).actor, nonce)
        form = await making.read(body, inline=True)
        values = _read_list(body).recipients
        reader = ValuesReader(values, to_column=form.to_column) if values else None
        return await making.answer(form, reader)

    return await once(request, work, payload=body)


async def _uploaded(request: Request, parts: Parts) -> Response:
    async with turn(request) as mine:
        with _room.for_one():
            return await _read_upload(
                Upload(request, most=parts.settings.api_upload_bytes), request, parts, mine
            )


async def _read_upload(upload: Upload, request: Request, parts: Parts, mine: Turn) -> Response:
    spec = await upload.begin()
    making = Making(parts, caller_of(request).actor, mine.nonce)
    pipe = cast("BinaryIO", upload.pipe)
    name = upload.filename or "recipients"
    async with upload.coming():
        if mine.kept is not None:
            if not same(mine.asked, _asked(request, spec, await in_thread(lambda: _digest(pipe)))):
                raise reused()
            return replayed(mine.kept)
        form = await making.read(spec, inline=False)
        with told_in_fields(""):
            order, most = form.order(parts.settings), parts.settings.api_upload_bytes
            options = ListOptions(to_column=order.to_column, delimiter=order.delimiter)
            reader = await in_thread(lambda: read_list(_source(pipe, name, order.encoding, most), options))
        response = await making.answer(form, BoundedRows(reader, parts.settings.api_upload_rows), name)
        return await mine.keep(response, _asked(request, spec, await in_thread(reader.digest)))


def _source(stream: BinaryIO, name: str, encoding: str | None = None, most: int | None = None) -> ListSource:
    return ListSource(stream, name, owns=False, encoding=encoding, most=most)


def _digest(stream: BinaryIO) -> str:
    """Return what a reader's `digest` is, of a list that need not be read again."""
    digest = hashlib.sha256()
    while part := stream.read(_BLOCK_BYTES):
        digest.update(part)
    return digest.hexdigest()


def _asked(request: Request, spec: bytes, digest: str) -> str:
    """Return what makes another upload the same: its order, and the bytes of its list."""
    return hashlib.sha256(f"{fingerprint(request, spec)}\n{digest}".encode()).hexdigest()


@router.post(
    "/v1/broadcasts/{id}/recipients",
    operation_id="add_recipients",
    response_model=Taken,
    **described(
        Scope.BROADCASTS_WRITE,
        *(*_CREATING, "idempotency-key-missing", "not-found", "conflict"),
        requestBody=asked_part(),
    ),
)
async def add_recipients(broadcast: BroadcastId, request: Request, parts: TheParts) -> Response:
    """Add up to 10,000 recipients to a draft that was made without any; start it when it has all.

    Needs an Idempotency-Key: sent again with the same one, a part changes nothing and gets the same answer. A
    part is taken whole or not at all; who is in an earlier part already is skipped as a duplicate. CSV and
    NDJSON may be packed with gzip, and in another encoding than UTF-8; `charset` in Content-Type names it.
    """
    kind = media_type(request, JSON, CSV, NDJSON)
    charset = None if kind == JSON else _charset(request)
    body = await whole(request)
    if kind == JSON:
        values = _values(body)

    def read(how: OpenDraft) -> ListReader:
        if kind == JSON:
            return ValuesReader(values, to_column=how.to_column)
        source = _source(io.BytesIO(body), "recipients", charset or how.encoding, LIST_BYTES)
        return BoundedRows(read_list(source, ListOptions(to_column=how.to_column)), INLINE_MOST)

    async def work(nonce: str) -> Response:
        with told_in_fields("/recipients" if kind == JSON else ""):
            actor, print_ = caller_of(request).actor, fingerprint(request, body)
            told = await drafts.extend(
                parts.store,
                actor,
                broadcast,
                read,
                name=nonce,
                asked=print_,
                opt_outs=parts.opt_outs,
                windows=parts.windows,
                twilio=parts.twilio,
            )
        return answer(told)

    return await once(request, work, required=True, payload=body)


def _charset(request: Request) -> str | None:
    """Return the encoding that Content-Type names. Raises `Problem` 415."""
    _, options = parse_options_header(request.headers.get("content-type", ""))
    named = options.get(b"charset", b"").decode("latin-1")
    try:
        return encoding_named(named) if named else None
    except EncodingError as error:
        raise Problem("unsupported-media-type", f"Content-Type: {error}.") from None


def _values(body: bytes) -> list[Any]:
    """Return the recipients of a part. Raises Invalid or `Problem` 413."""
    try:
        given = msgspec.json.decode(body)
        values = _read_list(body).recipients
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(Fault(f"not valid JSON: {error}")) from None
    unknown = given.keys() - {"recipients"}
    faults = [Fault("there is no such field", f"/{name}") for name in sorted(unknown)]
    if not values:
        faults.append(Fault("name at least one", "/recipients"))
    if faults:
        raise Invalid(*faults)
    if len(values or ()) > INLINE_MOST:
        raise Problem("too-large", f"A part has {INLINE_MOST:,} recipients at most; send another.")
    return values or []
