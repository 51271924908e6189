"""Opt-outs: who must not be written to."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from broadcaster.api.once import once
from broadcaster.api.pages import USUAL, Cursor, How, Limit, Page, begin, export, exported, page
from broadcaster.api.parts import caller_of, guarded, parts_of
from broadcaster.api.shapes import LONGEST_NAME, Asked, answer
from broadcaster.domain.addresses import AddressError, parse_address, with_plus
from broadcaster.domain.api_keys import Scope
from broadcaster.domain.opt_out_scopes import sender_of_scope
from broadcaster.intake.opt_out_list import LONGEST_SOURCE
from broadcaster.ledger import optouts
from broadcaster.ledger.optouts import EVERYWHERE
from broadcaster.ledger.people_key import is_hashed
from broadcaster.operations import audit
from broadcaster.operations import opt_outs as acts
from broadcaster.operations.errors import Fault, Invalid, NotFound, invalid
from broadcaster.reporting import opt_outs as views
from broadcaster.reporting.exports import Format, as_text

router = APIRouter(tags=["opt-outs"])
_LONGEST_ADDRESS: Final = 60
Address = Annotated[str, Field(max_length=_LONGEST_ADDRESS)]
PurposeName = Literal["emergency", "utility", "marketing", "authentication"]
SenderOf = Annotated[
    str | None,
    Query(
        max_length=LONGEST_NAME,
        description="The sender or Messaging Service that it is about; `*` for those about all of them.",
    ),
]
PurposeOf = Annotated[PurposeName | None, Query(description="Only those that are about this purpose alone.")]


class OptOut(BaseModel):
    """Somebody who must not be written to."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "address": "+14155550100",
                    "sender": "*",
                    "purpose": None,
                    "since": 1795276800,
                    "source": "twilio:21610",
                }
            ]
        }
    )

    address: str = Field(description="Of somebody who was forgotten a hash: `~` and 22 characters.")
    sender: str = Field(description="Only by this sender or Messaging Service; `*`: by none.")
    purpose: str | None = Field(description="Only for this purpose; null: for none.")
    since: int = Field(description="In unix seconds.")
    source: str = Field(description="How we know.")


class Named(Asked):
    """Where somebody opted out, and how we know."""

    sender: str | None = Field(
        default=None,
        max_length=LONGEST_NAME,
        description="Only from this one, or this Messaging Service; else from all.",
    )
    service: str | None = Field(
        default=None, max_length=LONGEST_NAME, description="Only from this Messaging Service (`MG…`)."
    )
    purpose: PurposeName | None = Field(default=None, description="Only for this purpose; else for all.")
    source: str = Field(default="api", max_length=LONGEST_SOURCE, description="How you know; shown with it.")

    def scope(self) -> str:
        """Return what it is about. Raises Invalid or AddressError."""
        return acts.scope_named(self.sender, self.service, self.purpose)


class NewOptOut(Named):
    """One opt-out as an export has it."""

    address: Address
    since: int = Field(default=0, ge=0, lt=10**10, description="Unix seconds; 0, and what is to come: now.")


class NewOptOuts(Named):
    """One `address`, up to 1,000 `addresses`, or `opt_outs` that each say the rest for themselves."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"address": "+14155550100"},
                {"addresses": ["+14155550100", "whatsapp:+14155550101"], "sender": "+14155550199"},
                {"opt_outs": [{"address": "+14155550100", "purpose": "marketing", "since": 1795276800}]},
            ]
        }
    )

    address: Address | None = None
    addresses: list[Address] | None = Field(default=None, min_length=1, max_length=acts.AT_ONCE)
    opt_outs: list[NewOptOut] | None = Field(default=None, min_length=1, max_length=acts.AT_ONCE)

    @model_validator(mode="after")
    def _one_of_them(self) -> NewOptOuts:
        if sum(given is not None for given in (self.address, self.addresses, self.opt_outs)) != 1:
            raise ValueError("give `address`, `addresses` or `opt_outs`")
        beside = self.model_fields_set.intersection(Named.model_fields) if self.opt_outs else set()
        if beside:  # passed over, they would make an opt-out from everything of one from one sender
            raise ValueError(f"each of `opt_outs` says its own {', '.join(sorted(beside))}")
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
    purpose: PurposeOf = None,
    limit: Limit = USUAL,
    cursor: Cursor = None,
) -> Any:
    """List opt-outs by channel, number and sender. Who is there all the while is met once."""
    parts = parts_of(request)
    wanted = views.Wanted(_sender(sender) if sender else None, purpose)
    after = begin(request, "opt-outs", cursor)
    if address is not None:
        whom = parse_address(with_plus(address), parts.settings.region)
        found = await views.of_address(parts.store, parts.opt_outs, whom, wanted)
        return page(request, response, "opt-outs", [view.summary() for view in found], None)
    found, position = await views.page(parts.store, parts.opt_outs, after=after, limit=limit, wanted=wanted)
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
        actor = caller_of(request).actor
        entries = _entries(asked, parts.settings.region)
        what = "opt_out.import" if asked.opt_outs is not None else "opt_out.add"
        changed = await acts.add_each(parts.store, actor, entries, what=what)
        return answer({"changed": changed, "given": len(entries)})

    return await once(request, work)


def _entries(asked: NewOptOuts, region: str | None) -> list[optouts.OptOut]:
    """Return what is to be added. Raises Invalid, naming all that can't be."""
    if asked.opt_outs is not None:
        given = [(f"/opt_outs/{n}/address", one.address, one) for n, one in enumerate(asked.opt_outs)]
    else:
        texts = [asked.address] if asked.address is not None else asked.addresses or []
        pointer = "/address" if asked.address is not None else "/addresses/{}"
        given = [
            (pointer.format(n), text, NewOptOut(address=text, source=asked.source))
            for n, text in enumerate(texts)
        ]
    shared = None if asked.opt_outs is not None else asked.scope()
    entries: list[optouts.OptOut] = []
    faults: list[Fault] = []
    for pointer, text, one in given:
        try:
            whom = text if is_hashed(text) else parse_address(text, region)
        except AddressError as error:
            faults.append(Fault(str(error), pointer))
            continue
        try:
            scope = one.scope() if shared is None else shared
        except (AddressError, Invalid) as error:
            faults.append(Fault(str(error), pointer.replace("/address", "/sender")))
            continue
        entries.append(optouts.OptOut(whom, scope, one.source, one.since))
    invalid(faults)
    return entries


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
    purpose: PurposeOf = None,
) -> None:
    """Forget an opt-out: from this sender for this purpose, without them the one from all senders for all.

    Twilio keeps its own list.
    """
    parts = parts_of(request)
    whom = parse_address(with_plus(address), parts.settings.region)
    scope = acts.scope_named(sender and with_plus(sender), purpose=purpose)
    if not await acts.remove(parts.store, caller_of(request).actor, [whom], scope=scope):
        raise NotFound("opt-out of", whom if scope == EVERYWHERE else f"{whom} from {scope}")


def _sender(sender: str) -> str:
    return EVERYWHERE if sender == EVERYWHERE else sender_of_scope(with_plus(sender))
