"""Broadcasts over HTTP: how they stand, their messages, and what of their lists was not taken."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse

from broadcaster.api.broadcast_shapes import CSV, GZIP, described, downloads
from broadcaster.api.pages import USUAL, Cursor, How, Limit, begin, export, exported, page
from broadcaster.api.parts import TheParts, caller_of
from broadcaster.api.problems import Problem
from broadcaster.api.shapes import Broadcast, BroadcastId, BroadcastMessagePage, BroadcastPage, answer
from broadcaster.domain.addresses import AddressError, parse_address, with_plus
from broadcaster.domain.api_keys import Scope
from broadcaster.domain.broadcast import BroadcastState  # noqa: TC001 - FastAPI reads the signature
from broadcaster.domain.record import State
from broadcaster.intake.rejects import read_rejects
from broadcaster.operations import audit
from broadcaster.operations.broadcasts import existing
from broadcaster.operations.order_faults import as_fields
from broadcaster.operations.removals import kept, removable
from broadcaster.reporting.archive import archive
from broadcaster.reporting.everything import everything_stopped
from broadcaster.reporting.exports import Format, csv_line, list_columns, messages_as_text, whole
from broadcaster.reporting.pages import MessageFilter, page_of_broadcasts, page_of_messages

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from broadcaster.api.parts import Parts

router = APIRouter(tags=["broadcasts"])
_ROWS_AT_ONCE: Final = 500
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
    response: Response,
    parts: TheParts,
    state: Annotated[list[BroadcastState] | None, Query(description="Only these; repeatable.")] = None,
    name: Annotated[str, Query(max_length=200, description="Part of the name, in any case.")] = "",
    limit: Limit = USUAL,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """List broadcasts, the newest first, and say whether everything is stopped."""
    after = begin(request, "broadcasts", cursor)
    states = {str(one) for one in state or ()}
    found = await page_of_broadcasts(parts.store, after=after, limit=limit, states=states, name=name)
    shown = page(request, response, "broadcasts", [view.summary() for view in found.items], found.next)
    return shown | {"everything_stopped": await everything_stopped(parts.store) or None}


@router.get(
    "/v1/broadcasts/{id}",
    operation_id="get_broadcast",
    response_model=Broadcast,
    **described(Scope.BROADCASTS_READ, "not-found"),
)
async def get_broadcast(broadcast: BroadcastId, parts: TheParts) -> Response:
    """Show a broadcast: its state, counts, pace, what it waits for, and when it will have left."""
    return answer((await existing(parts.store, broadcast)).summary())


@router.get(
    "/v1/broadcasts/{id}/messages",
    operation_id="list_broadcast_messages",
    response_model=BroadcastMessagePage,
    **described(Scope.BROADCASTS_READ, "invalid", "not-found"),
)
async def list_messages(
    *,
    broadcast: BroadcastId,
    request: Request,
    response: Response,
    parts: TheParts,
    state: Annotated[list[StateName] | None, Query(description="Only these; repeatable.")] = None,
    code: Annotated[list[int] | None, Query(description="Only these error codes; repeatable.")] = None,
    to: Annotated[str, Query(max_length=100, description="Only this recipient.")] = "",
    reference: Annotated[str, Query(max_length=500, description="Only this reference of yours.")] = "",
    limit: Limit = USUAL,
    cursor: Cursor = None,
) -> dict[str, Any]:
    """List a broadcast's messages, a sender's in the order of the list."""
    wanted = MessageFilter(
        states=frozenset(_STATES[str(one)] for one in state or ()),
        codes=frozenset(code or ()),
        to=_address(to, parts) if to.strip() else "",
        reference=reference,
    )
    kind = f"messages {broadcast}"
    after = begin(request, kind, cursor)
    view = await existing(parts.store, broadcast)
    found = await page_of_messages(parts.store, broadcast, wanted, after=after, limit=limit)
    shown = page(request, response, kind, [one.summary() for one in found.items], found.next)
    return shown | {"removed_at": view.removed_at}


@router.get(
    "/v1/broadcasts/{id}/export",
    operation_id="export_broadcast",
    response_class=StreamingResponse,
    **described(Scope.BROADCASTS_READ, "invalid", "not-found", "conflict", more=exported("Every message")),
)
async def export_broadcast(
    broadcast: BroadcastId,
    request: Request,
    parts: TheParts,
    how: How = Format.CSV,
) -> Response:
    """Download all messages of a broadcast with what became of each; the file is a list that can be sent.

    Cells of a CSV that a spreadsheet would take for formulas begin with an apostrophe.
    """
    view = await kept(parts.store, broadcast)
    store = parts.store
    await audit.record(
        store, caller_of(request).actor, "broadcast.export", broadcast, new={"format": str(how)}
    )
    columns = await list_columns(store, [broadcast]) if how is Format.CSV else []
    pieces = messages_as_text(whole(store, broadcast), columns, how)
    return export(pieces, how, f"broadcast-{view.id}")


@router.get(
    "/v1/broadcasts/{id}/archive",
    operation_id="archive_broadcast",
    response_class=StreamingResponse,
    **described(Scope.BROADCASTS_READ, "not-found", "conflict", more=downloads(GZIP)),
)
async def archive_broadcast(request: Request, broadcast: BroadcastId, parts: TheParts) -> Response:
    """Download an ended broadcast whole, as gzip of NDJSON, before its people are removed.

    First a line with the broadcast and its content, then one a message: variables, text, state, code, SID,
    times, consent, history, replies to it.
    """
    view = await removable(parts.store, broadcast)
    await audit.record(parts.store, caller_of(request).actor, "broadcast.archive", broadcast)
    headers = {
        "Content-Disposition": f'attachment; filename="broadcast-{view.id}.ndjson.gz"',
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(archive(parts.store, view), media_type=GZIP, headers=headers)


@router.get(
    "/v1/broadcasts/{id}/rejects",
    operation_id="list_rejects",
    response_class=StreamingResponse,
    **described(Scope.BROADCASTS_READ, "not-found", "conflict", more=downloads(CSV)),
)
async def list_rejects(request: Request, broadcast: BroadcastId, parts: TheParts) -> Response:
    """Download the faulty rows that `on_invalid: skip` left out: line, reason, and the list's own columns.

    At most 100,000 rows are kept; the broadcast's `rejected` says how many there were. Corrected, the file
    can be sent as a list itself.
    """
    view = await kept(parts.store, broadcast)
    await audit.record(parts.store, caller_of(request).actor, "broadcast.export", broadcast, new="rejects")
    return export(_as_csv(read_rejects(parts.store, broadcast)), Format.CSV, f"rejects-{view.id}")


def _address(text: str, parts: Parts) -> str:
    """Return the address that a query names. Raises `Problem`."""
    try:
        return parse_address(with_plus(text), parts.settings.region)
    except AddressError as error:
        detail = as_fields(str(error))
        raise Problem("invalid", detail, errors=[{"detail": detail, "parameter": "to"}]) from None


async def _as_csv(rows: AsyncIterator[Sequence[str]]) -> AsyncIterator[str]:
    """Yield rows in pieces worth a packet."""
    held: list[str] = []
    async for row in rows:
        held.append(csv_line(row))
        if len(held) >= _ROWS_AT_ONCE:
            yield "".join(held)
            held = []
    yield "".join(held)
