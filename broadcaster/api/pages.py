"""Pages of a list: how many, where they begin, where the next one is; and exports, which have all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Generic, TypeVar

from fastapi import Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from broadcaster.api.cursors import PAGE_MOST, PAGE_USUAL
from broadcaster.api.parts import parts_of
from broadcaster.reporting.exports import Format

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from fastapi import Request, Response

T = TypeVar("T")
LONGEST_CURSOR: Final = 1000
_MEDIA: Final = {Format.CSV: "text/csv", Format.NDJSON: "application/x-ndjson"}

Limit = Annotated[int, Query(ge=1, le=PAGE_MOST, description="How many at most.")]
Cursor = Annotated[
    str | None, Query(max_length=LONGEST_CURSOR, description="Where to go on: `next` of the page before.")
]
How = Annotated[Format, Query(alias="format", description="How it is written.")]
USUAL: Final = PAGE_USUAL


class Page(BaseModel, Generic[T]):
    """A part of a list."""

    data: list[T]
    next: str | None = Field(description="The `cursor` of the next page; null on the last one.")


def begin(request: Request, kind: str, cursor: str | None) -> Any:
    """Return the position that a cursor names, None for the list's beginning. Raises `Problem`."""
    return parts_of(request).cursors.read(kind, cursor)


def page(
    request: Request, response: Response, kind: str, data: Sequence[Mapping[str, Any]], position: Any
) -> dict[str, Any]:
    """Return a page in JSON's types; `position` is where the next one begins, None if there is none.

    The next page's address stands in the `Link` header too (RFC 8288).
    """
    if position is None:
        return {"data": data, "next": None}
    cursor = parts_of(request).cursors.make(kind, position)
    following = request.url.include_query_params(cursor=cursor)
    response.headers["Link"] = f'<{following.path}?{following.query}>; rel="next"'
    return {"data": data, "next": cursor}


def export(pieces: AsyncIterator[str], how: Format, name: str) -> StreamingResponse:
    """Answer an export as it comes; `name` is what a browser calls the file."""
    headers = {
        "Content-Disposition": f'attachment; filename="{name}.{how.value}"',
        "X-Content-Type-Options": "nosniff",
    }
    return StreamingResponse(pieces, media_type=f"{_MEDIA[how]}; charset=utf-8", headers=headers)


def exported(what: str) -> dict[int | str, dict[str, Any]]:
    """Return the description of an export's answer."""
    example = {"schema": {"type": "string"}}
    return {200: {"description": what, "content": dict.fromkeys(_MEDIA.values(), example)}}
