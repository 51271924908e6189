"""Broadcasts over HTTP: how they stand, their messages, and what of their lists was not taken."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from broadcaster.api.broadcast_making import json_response
from broadcaster.api.broadcast_shapes import CSV, NDJSON, described, downloads
from broadcaster.api.pages import USUAL, Cursor, Limit
from broadcaster.api.parts import TheParts, caller_of
from broadcaster.api.problems import Problem
from broadcaster.api.shapes import Broadcast, BroadcastId, BroadcastPage, MessagePage
from broadcaster.domain.addresses import AddressError, parse_address
from broadcaster.domain.api_keys import Scope
from broadcaster.domain.broadcast import BroadcastState  # noqa: TC001 - FastAPI reads the signature
from broadcaster.domain.record import State
from broadcaster.intake.rejects import read_rejects
from broadcaster.operations import audit
from broadcaster.operations.errors import NotFound
from broadcaster.operations.order_form import as_fields
from broadcaster.reporting.broadcasts import read_broadcast
from broadcaster.reporting.exports import Format, csv_line, list_columns, messages_as_text, whole
from broadcaster.reporting.pages import MessageFilter, page_of_broadcasts, page_of_messages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broadcaster.api.parts import Parts
    from broadcaster.reporting.broadcasts import BroadcastView

router = APIRouter(tags=["broadcasts"])
_PIECE_CHARACTERS: Final = 64 * 1024
_STATES: Final = {state.label: state for state in State}
StateName = StrEnum("StateName", [(label.upper(), label) for label in _STATES])  # type: ignore[misc]


@router.get(
    "/v1/broadcasts",
    operation_id="list_broadcasts",
    response_model=BroadcastPage,
    **described(Scope.BROADCASTS_READ, "invalid"),
)
async def list_broadcasts(
    *,
    request: Request,
    parts: TheParts,
    state: Annotated[list[BroadcastState] | None, Query(description="Only these; repeatable.")] = None,
    name: Annotated[str, Query(max_length=200, description="Part of the name, in any case.")] = "",
    limit: Limit = USUAL,
    cursor: Cursor = None,
) -> Response:
    """List broadcasts, the newest first."""
    after = parts.cursors.read("broadcasts", cursor)
    states = {str(one) for one in state or ()}
    page = await page_of_broadcasts(parts.store, after=after, limit=limit, states=states, name=name)
    following = None if page.next is None else parts.cursors.make("broadcasts", page.next)
    return _paged(request, [view.summary() for view in page.items], following)


@router.get(
    "/v1/broadcasts/{id}",
    operation_id="get_broadcast",
    response_model=Broadcast,
    **described(Scope.BROADCASTS_READ, "not-found"),
)
async def get_broadcast(broadcast: BroadcastId, parts: TheParts) -> Response:
    """Show a broadcast: its state, counts, pace, what it waits for, and when it will have left."""
    return json_response((await _existing(parts, broadcast)).summary())


@router.get(
    "/v1/broadcasts/{id}/messages",
    operation_id="list_broadcast_messages",
    response_model=MessagePage,
    **described(Scope.BROADCASTS_READ, "invalid", "not-found"),
)
async def list_messages(
    *,
    broadcast: BroadcastId,
    request: Request,
    parts: TheParts,
    state: Annotated[list[StateName] | None, Query(description="Only these; repeatable.")] = None,
    code: Annotated[list[int] | None, Query(description="Only these error codes; repeatable.")] = None,
    to: Annotated[str, Query(max_length=100, description="Only this recipient.")] = "",
    reference: Annotated[str, Query(max_length=500, description="Only this reference of yours.")] = "",
    limit: Limit = USUAL,
    cursor: Cursor = None,
) -> Response:
    """List a broadcast's messages, a sender's in the order of the list."""
    wanted = MessageFilter(
        states=frozenset(_STATES[str(one)] for one in state or ()),
        codes=frozenset(code or ()),
        to=_address(to, parts) if to.strip() else "",
        reference=reference,
    )
    kind = f"messages {broadcast}"
    after = parts.cursors.read(kind, cursor)
    await _existing(parts, broadcast)
    page = await page_of_messages(parts.store, broadcast, wanted, after=after, limit=limit)
    following = None if page.next is None else parts.cursors.make(kind, page.next)
    return _paged(request, [view.summary() for view in page.items], following)


@router.get(
    "/v1/broadcasts/{id}/export",
    operation_id="export_broadcast",
    response_class=StreamingResponse,
    **described(Scope.BROADCASTS_READ, "invalid", "not-found", more=downloads(CSV, NDJSON)),
)
async def export_broadcast(
    broadcast: BroadcastId,
    request: Request,
    parts: TheParts,
    how: Annotated[Format, Query(alias="format", description="How to write it.")] = Format.CSV,
) -> Response:
    """Download all messages of a broadcast with what became of each; the file is a list that can be sent.

    Cells of a CSV that a spreadsheet would take for formulas begin with an apostrophe.
    """
    view = await _existing(parts, broadcast)
    store = parts.store
    await audit.record(
        store, caller_of(request).actor, "broadcast.export", broadcast, new={"format": str(how)}
    )
    columns = await list_columns(store, [broadcast]) if how is Format.CSV else []
    lines = messages_as_text(whole(store, broadcast), columns, how)
    return _download(lines, f"broadcast-{view.id}.{how}", CSV if how is Format.CSV else NDJSON)


@router.get(
    "/v1/broadcasts/{id}/rejects",
    operation_id="list_rejects",
    response_class=StreamingResponse,
    **described(Scope.BROADCASTS_READ, "not-found", more=downloads(CSV)),
)
async def list_rejects(broadcast: BroadcastId, parts: TheParts) -> Response:
    """Download the faulty rows that `on_invalid: skip` left out: line, reason, and the list's own columns.

    At most 100,000 rows are kept; the broadcast's `rejected` says how many there were. Corrected, the file
    can be sent as a list itself.
    """
    view = await _existing(parts, broadcast)
    rows = read_rejects(parts.store, broadcast)
    return _download((csv_line(row) async for row in rows), f"rejects-{view.id}.csv", CSV)


async def _existing(parts: Parts, broadcast: str) -> BroadcastView:
    view = await read_broadcast(parts.store, broadcast)
    if view is None:
        raise NotFound("broadcast", broadcast)
    return view


def _address(text: str, parts: Parts) -> str:
    """Return the address of a query, where a `+` may have become a space, or be missing."""
    bare = text.strip()
    scheme, _, number = bare.rpartition(":")
    number = number.strip()
    for written in (number, f"+{number}"):
        try:
            return parse_address(f"{scheme}:{written}" if scheme else written, parts.settings.region)
        except AddressError as error:
            detail = as_fields(str(error))
    raise Problem("invalid", detail, errors=[{"detail": detail, "parameter": "to"}])


def _paged(request: Request, data: list[dict[str, Any]], following: str | None) -> Response:
    headers = {}
    if following is not None:
        query = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
        headers["Link"] = f'<{request.url.path}?{urlencode([*query, ("cursor", following)])}>; rel="next"'
    return json_response({"data": data, "next": following}, headers=headers)


def _download(lines: AsyncIterator[str], filename: str, kind: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{filename}"'}
    return StreamingResponse(_joined(lines), media_type=f"{kind}; charset=utf-8", headers=headers)


async def _joined(lines: AsyncIterator[str]) -> AsyncIterator[bytes]:
    """Yield lines in pieces worth a packet."""
    held: list[str] = []
    size = 0
    async for line in lines:
        held.append(line)
        size += len(line)
        if size >= _PIECE_CHARACTERS:
            yield "".join(held).encode()
            held, size = [], 0
    if held:
        yield "".join(held).encode()
