"""Opt-outs: who must not be written to."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from broadcaster.api.once import once
from broadcaster.api.pages import USUAL, Cursor, How, Limit, Page, begin, export, exported, page
from broadcaster.api.parts import caller_of, guarded, parts_of
from broadcaster.api.shapes import LONGEST_NAME, Asked, answer
from broadcaster.domain.addresses import AddressError, parse_address, with_plus
from broadcaster.domain.api_keys import Scope
from broadcaster.domain.senders import parse_sender
from broadcaster.ledger.optouts import EVERYWHERE
from broadcaster.operations import audit
from broadcaster.operations import opt_outs as acts
from broadcaster.operations.errors import Fault, NotFound, invalid
from broadcaster.reporting import opt_outs as views
from broadcaster.reporting.exports import Format, as_text

router = APIRouter(tags=["opt-outs"])
_LONGEST_ADDRESS: Final = 60
Address = Annotated[str, Field(max_length=_LONGEST_ADDRESS)]
SenderOf = Annotated[
    str | None,
    Query(
        max_length=LONGEST_NAME, description="The sender that it is about; `*` for those about all of them."
    ),
]


class OptOut(BaseModel):
    """Somebody who must not be written to."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"address": "+14155550100", "sender": "*", "since": 1795276800, "source": "twilio 21610"}
            ]
        }
    )

    address: str
    sender: str = Field(description="Only by this sender; `*`: by none.")
    since: int = Field(description="In unix seconds.")
    source: str = Field(description="How we know.")


class NewOptOuts(Asked):
    """One `address`, or up to 1,000 `addresses`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"address": "+14155550100"},
                {"addresses": ["+14155550100", "whatsapp:+14155550101"], "sender": "+14155550199"},
            ]
        }
    )

    address: Address | None = None
    addresses: list[Address] | None = Field(default=None, min_length=1, max_length=acts.AT_ONCE)
    sender: str | None = Field(
        default=None, max_length=LONGEST_NAME, description="Only from this one; else from all."
    )
    source: str = Field(default="api", max_length=100, description="How you know; shown with it.")

    @model_validator(mode="after")
    def _one_of_them(self) -> NewOptOuts:
        if (self.address is None) == (self.addresses is None):
            raise ValueError("give `address` or `addresses`")
        return self


class Changed(BaseModel):
    """How many were given, and how many of them are new."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"changed": 1, "given": 2}]})

    changed: int
    given: int


class OptOutPage(Page[OptOut]):
    """A page of opt-outs."""


@router.get(
    "/v1/opt-outs", operation_id="list_opt_outs", response_model=OptOutPage, **guarded(Scope.OPT_OUTS_READ)
)
async def list_(
    request: Request,
    response: Response,
    *,
    address: Annotated[str | None, Query(max_length=_LONGEST_ADDRESS, description="Of this number.")] = None,
    sender: SenderOf = None,
    limit: Limit = USUAL,
    cursor: Cursor = None,
) -> Any:
    """List opt-outs by channel, number and sender. Who is there all the while is met once."""
    parts = parts_of(request)
    scope = _scope(sender) if sender else None
    after = begin(request, "opt-outs", cursor)
    if address is not None:
        whom = parse_address(with_plus(address), parts.settings.region)
        found = await views.of_address(parts.store, parts.opt_outs, whom, scope)
        return page(request, response, "opt-outs", [view.summary() for view in found], None)
    found, position = await views.page(parts.store, parts.opt_outs, after=after, limit=limit, sender=scope)
    return page(request, response, "opt-outs", [view.summary() for view in found], position)


@router.get(
    "/v1/opt-outs/export",
    operation_id="export_opt_outs",
    responses=exported("Every opt-out"),
    response_class=Response,
    **guarded(Scope.OPT_OUTS_READ),
)
async def export_(request: Request, how: How = Format.CSV) -> Any:
    """Return every opt-out, streamed; safe to open in a spreadsheet."""
    parts = parts_of(request)
    await audit.record(parts.store, caller_of(request).actor, "opt_out.export", "all")
    rows = (view.summary() async for view in views.read_all(parts.store, parts.opt_outs))
    return export(as_text(rows, views.COLUMNS, how), how, "opt-outs")


@router.post(
    "/v1/opt-outs", operation_id="add_opt_outs", response_model=Changed, **guarded(Scope.OPT_OUTS_WRITE)
)
async def add(request: Request, asked: NewOptOuts) -> Any:
    """Write to these numbers no more; messages that wait for them are skipped. Twice changes nothing."""

    async def work(_: str) -> Response:
        parts = parts_of(request)
        addresses = _addresses(asked, parts.settings.region)
        scope = _scope(asked.sender) if asked.sender else EVERYWHERE
        actor = caller_of(request).actor
        changed = await acts.add(parts.store, actor, addresses, scope=scope, source=asked.source)
        return answer({"changed": changed, "given": len(addresses)})

    return await once(request, work)


def _addresses(asked: NewOptOuts, region: str | None) -> list[str]:
    """Return them in Twilio's form. Raises Invalid, naming all that are none."""
    texts = [asked.address] if asked.address is not None else asked.addresses or []
    pointer = "/address" if asked.address is not None else "/addresses/{}"
    addresses: list[str] = []
    faults: list[Fault] = []
    for number, text in enumerate(texts):
        try:
            addresses.append(parse_address(text, region))
        except AddressError as error:
            faults.append(Fault(str(error), pointer.format(number)))
    invalid(faults)
    return addresses


@router.delete(
    "/v1/opt-outs/{address}",
    operation_id="remove_opt_out",
    status_code=204,
    **guarded(Scope.OPT_OUTS_WRITE),
)
async def remove(
    request: Request,
    address: Annotated[str, Path(max_length=_LONGEST_ADDRESS, examples=["+14155550100"])],
    sender: SenderOf = None,
) -> None:
    """Forget an opt-out; without `sender` the one from all senders. Twilio keeps its own list."""
    parts = parts_of(request)
    whom = parse_address(with_plus(address), parts.settings.region)
    scope = _scope(sender) if sender else EVERYWHERE
    if not await acts.remove(parts.store, caller_of(request).actor, [whom], scope=scope):
        raise NotFound("opt-out of", whom if scope == EVERYWHERE else f"{whom} from {scope}")


def _scope(sender: str) -> str:
    return EVERYWHERE if sender == EVERYWHERE else parse_sender(with_plus(sender)).name
