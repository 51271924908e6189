"""Opt-in links: by which people write to a sender first, and the QR codes that hold them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from broadcaster.api.pages import Page
from broadcaster.api.parts import guarded, parts_of
from broadcaster.api.problems import Problem
from broadcaster.domain.api_keys import Scope
from broadcaster.domain.opt_in_links import LONGEST_TEXT
from broadcaster.domain.parties import unquoted_plus
from broadcaster.operations import opt_in_links as acts
from broadcaster.operations.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Iterator

router = APIRouter(tags=["opt-in links"])
SVG: Final = "image/svg+xml"
#: An image is looked at, and nothing in it may run or be loaded.
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
    "X-Content-Type-Options": "nosniff",
}
_SENDER: Final = "A `whatsapp:` sender, a number with its plus (`%2B`) or a short code."
Text = Annotated[
    str, Query(max_length=LONGEST_TEXT, description="What stands there already, to be sent first.")
]


class OptInLink(BaseModel):
    """The links by which people write to a sender."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "sender": "whatsapp:+14155550199",
                    "link": "https://wa.me/14155550199?text=Flood%20news",
                    "app_link": "whatsapp://send?phone=14155550199&text=Flood%20news",
                }
            ]
        }
    )

    sender: str
    link: str = Field(description="Opens WhatsApp anywhere; of a number, `sms:` by RFC 5724.")
    app_link: str | None = Field(description="Opens the app only where it is installed.")


class OptInLinkPage(Page[OptInLink]):
    """All of them on one page."""


@router.get(
    "/v1/opt-in-links",
    operation_id="list_opt_in_links",
    response_model=OptInLinkPage,
    **guarded(Scope.SENDERS_READ),
)
async def list_(
    request: Request,
    *,
    sender: Annotated[
        str | None, Query(max_length=60, description=f"{_SENDER} Without it: every WhatsApp sender known.")
    ] = None,
    text: Text = "",
) -> Any:
    """Return the links of one sender, or of every WhatsApp sender: of the settings, or that has sent."""
    parts = parts_of(request)
    with _of_parameters():
        if sender is not None:
            found = [acts.links_of(unquoted_plus(sender), text, parts.settings.region)]
        else:
            found = await acts.every(parts.store, parts.settings, text)
    return {"data": [one.summary() for one in found], "next": None}


@router.get(
    "/v1/opt-in-links/qr",
    operation_id="get_opt_in_qr",
    response_class=Response,
    responses={
        200: {"description": "The QR code of the link", "content": {SVG: {"schema": {"type": "string"}}}}
    },
    **guarded(Scope.SENDERS_READ),
)
async def qr(
    request: Request, sender: Annotated[str, Query(max_length=60, description=_SENDER)], text: Text = ""
) -> Response:
    """Return the QR code of a sender's link, as SVG. The link has at most 1,000 bytes, percent-encoded."""
    with _of_parameters():
        # in a thread: it is some 50 ms of Python, in which urgent messages would wait
        drawn = await asyncio.to_thread(
            acts.qr_of, unquoted_plus(sender), text, parts_of(request).settings.region
        )
    return Response(drawn, media_type=SVG, headers=_HEADERS)


@contextlib.contextmanager
def _of_parameters() -> Iterator[None]:
    """Let faults name parameters of the query."""
    try:
        yield
    except Invalid as error:
        told = [{"detail": one.detail, "parameter": one.pointer.lstrip("/")} for one in error.faults]
        raise Problem("invalid", errors=told) from None
