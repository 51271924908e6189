"""Dead letters: what will not be sent, and why; sent again, or laid down."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from broadcaster.api.once import once
from broadcaster.api.pages import USUAL, Cursor, How, Limit, begin, export, exported, page
from broadcaster.api.parts import caller_of, guarded, parts_of
from broadcaster.api.shapes import LONGEST_NAME, Asked, MessagePage, answer
from broadcaster.domain.api_keys import Scope
from broadcaster.operations import audit
from broadcaster.operations import dead_letters as acts
from broadcaster.operations.broadcasts import existing
from broadcaster.reporting import dead_letters as views
from broadcaster.reporting.exports import Format, list_columns, messages_as_text

router = APIRouter(tags=["dead letters"])
_GONE: Final[dict[int | str, dict[str, Any]]] = {404: {"description": "No such broadcast or message"}}
_CONFLICT: Final[dict[int | str, dict[str, Any]]] = {409: {"description": "All of it is forbidden"}, **_GONE}
Code = Annotated[int, Field(ge=0, le=16_777_215)]
Codes = Annotated[
    list[Code], Query(alias="code", max_length=100, description="Only with this code; repeatable.")
]
OfBroadcast = Annotated[str | None, Query(max_length=LONGEST_NAME, description="Only of this broadcast.")]
_MESSAGE = "1nf3r8k2m0t4qa.0.3.17"


class CodeTotal(BaseModel):
    """How many dead letters have a code, what it means, and what it is about."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "code": 21211,
                    "count": 3,
                    "broadcasts": 1,
                    "meaning": "the number is not valid",
                    "about": "dead",
                }
            ]
        }
    )

    code: int
    count: int
    broadcasts: int = Field(description="In how many broadcasts.")
    meaning: str
    about: str


class CodeTotals(BaseModel):
    """Every code that there is, most first."""

    data: list[CodeTotal]


class Chosen(Asked):
    """Which are meant: `messages` by id (`ID@ATTEMPT`: only if it is at that attempt), or by the others."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"messages": [_MESSAGE]}, {"broadcast": "1nf3r8k2m0t4qa", "codes": [30003]}]
        }
    )

    messages: list[Annotated[str, Field(max_length=LONGEST_NAME)]] = Field(default=[], max_length=1000)
    broadcast: str | None = Field(default=None, max_length=LONGEST_NAME, min_length=1)
    codes: list[Code] = Field(default=[], max_length=100)
    all: bool = Field(default=False, description="All there are.")

    def wanted(self) -> acts.Wanted:
        """Return what is meant."""
        return acts.Wanted(self.messages, self.broadcast, self.codes, self.all)


class Replayed(BaseModel):
    """What came of it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "replayed": 12,
                    "unchanged": 0,
                    "already_sent": 0,
                    "sms_instead": 0,
                    "may_have_been_sent": 2,
                    "refused": {},
                }
            ]
        }
    )

    replayed: int
    unchanged: int = Field(description="Changed meanwhile, so left alone.")
    already_sent: int = Field(description="Had reached Twilio by an earlier attempt after all.")
    sms_instead: int = Field(description="Left alone, as an SMS went, or will, in its place.")
    may_have_been_sent: int = Field(description="Left alone unless `even_unknown`.")
    refused: dict[str, str] = Field(description="Broadcasts that forbid it, and their state.")


class Discarded(BaseModel):
    """What came of it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"discarded": 12, "unchanged": 0}]})

    discarded: int
    unchanged: int = Field(description="Changed meanwhile, so left alone.")


class ChosenToSend(Chosen):
    """Which are meant: `messages` by id (`ID@ATTEMPT`: only if it is at that attempt), or by the others."""

    even_unknown: bool = Field(default=False, description="Also those that may have been sent already.")


@router.get(
    "/v1/dead-letters",
    operation_id="list_dead_letters",
    response_model=MessagePage,
    responses=_GONE,
    **guarded(Scope.DEAD_LETTERS_READ),
)
async def list_(
    request: Request,
    response: Response,
    *,
    broadcast: OfBroadcast = None,
    codes: Codes = [],  # noqa: B006 - FastAPI copies it
    limit: Limit = USUAL,
    cursor: Cursor = None,
) -> Any:
    """List dead letters, the newest broadcast first."""
    store = parts_of(request).store
    after = begin(request, "dead-letters", cursor)
    if broadcast is not None:
        await existing(store, broadcast)
    found, position = await views.page(store, after=after, limit=limit, broadcast=broadcast, codes=codes)
    return page(request, response, "dead-letters", [view.summary() for view in found], position)


@router.get(
    "/v1/dead-letters/codes",
    operation_id="count_dead_letters",
    response_model=CodeTotals,
    responses=_GONE,
    **guarded(Scope.DEAD_LETTERS_READ),
)
async def by_code(request: Request, broadcast: OfBroadcast = None) -> Any:
    """Count dead letters by code, most first."""
    store = parts_of(request).store
    if broadcast is not None:
        await existing(store, broadcast)
    return {"data": await views.totals(store, broadcast)}


@router.get(
    "/v1/dead-letters/export",
    operation_id="export_dead_letters",
    responses={**exported("Every dead letter that is asked for: a list that can be sent to"), **_GONE},
    response_class=Response,
    **guarded(Scope.DEAD_LETTERS_READ),
)
async def export_(
    request: Request,
    broadcast: OfBroadcast = None,
    codes: Codes = [],  # noqa: B006 - FastAPI copies it
    how: How = Format.CSV,
) -> Any:
    """Return dead letters, streamed; safe to open in a spreadsheet.

    Each with its code, `meaning`, `class` (what the code is about) and its list's own columns.
    """
    store = parts_of(request).store
    if broadcast is not None:
        await existing(store, broadcast)
    ids = [broadcast] if broadcast else await views.broadcasts_with_dead_letters(store, limit=None)
    columns = await list_columns(store, ids) if how is Format.CSV else []
    wanted = acts.Wanted(broadcast=broadcast, codes=codes).summary()
    await audit.record(store, caller_of(request).actor, "dead_letter.export", broadcast or "all", new=wanted)
    return export(
        messages_as_text(views.list_dead_letters(store, ids, codes), columns, how), how, "dead-letters"
    )


@router.post(
    "/v1/dead-letters/replay",
    operation_id="replay_dead_letters",
    response_model=Replayed,
    responses=_CONFLICT,
    **guarded(Scope.DEAD_LETTERS_WRITE),
)
async def replay(request: Request, chosen: ChosenToSend) -> Any:
    """Send dead letters again, at the pace of their senders; each once, however often this is asked."""

    async def work(_: str) -> Response:
        store = parts_of(request).store
        found = await acts.find_to_send(store, chosen.wanted(), even_unknown=chosen.even_unknown)
        done = await acts.send_again(store, caller_of(request).actor, found)
        return answer(acts.summary(found, done, "replayed"))

    return await once(request, work)


@router.post(
    "/v1/dead-letters/discard",
    operation_id="discard_dead_letters",
    response_model=Discarded,
    responses=_GONE,
    **guarded(Scope.DEAD_LETTERS_WRITE),
)
async def discard(request: Request, chosen: Chosen) -> Any:
    """Lay dead letters down: they count as skipped from then on, and can't be sent again."""

    async def work(_: str) -> Response:
        store = parts_of(request).store
        found = await acts.find(store, chosen.wanted())
        done = await acts.discard(store, caller_of(request).actor, found)
        return answer({"discarded": done.changed, "unchanged": done.unchanged})

    return await once(request, work)
