"""Templates of Twilio's Content API: which there are, and what WhatsApp says of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from broadcaster.api.pages import USUAL, Cursor, Limit, Page, begin, page
from broadcaster.api.parts import guarded, parts_of
from broadcaster.api.problems import unavailable
from broadcaster.domain.api_keys import Scope
from broadcaster.operations import templates as acts

if TYPE_CHECKING:
    from broadcaster.twilio.content import Templates

router = APIRouter(tags=["templates"])
_READ = guarded(Scope.TEMPLATES_READ)
_AT_TWILIO: dict[int | str, dict[str, Any]] = {502: {"description": "Twilio refused or did not answer"}}


class Template(BaseModel):
    """A template. Other channels than WhatsApp need no approval."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "sid": "HX5fcd48a417c1cb59da349ad6d5da4607",
                    "name": "appointment_reminder",
                    "language": "en",
                    "status": "approved",
                    "category": "utility",
                    "rejection_reason": None,
                    "types": ["twilio/text"],
                    "body": "Hi {{1}}, we see you at {{2}}.",
                    "variables": {"1": None, "2": "14:00"},
                    "required": ["1"],
                }
            ]
        }
    )

    sid: str
    name: str
    language: str
    status: str | None = Field(
        description="WhatsApp's: `unsubmitted`, `received`, `pending`, `approved`, `rejected`, `paused`, "
        "`disabled`."
    )
    category: str | None = Field(description="WhatsApp's: `marketing`, `utility`, `authentication`.")
    rejection_reason: str | None
    types: list[str] = Field(description="In which forms it can be shown: `twilio/text`, ….")
    body: str | None
    variables: dict[str, str | None] = Field(description="Each variable and its default.")
    required: list[str] = Field(description="Those without a default.")


class TemplatePage(Page[Template]):
    """A page of templates."""


@router.get(
    "/v1/templates",
    operation_id="list_templates",
    response_model=TemplatePage,
    responses=_AT_TWILIO,
    **_READ,
)
async def list_(
    request: Request,
    response: Response,
    *,
    status: Annotated[
        Literal["unsubmitted", "received", "pending", "approved", "rejected", "paused", "disabled"] | None,
        Query(description="Only those that WhatsApp has decided so about."),
    ] = None,
    category: Annotated[
        Literal["marketing", "utility", "authentication"] | None, Query(description="Only of this category.")
    ] = None,
    language: Annotated[
        str | None, Query(max_length=20, description="Only in this language; `pt` is also `pt_BR`.")
    ] = None,
    limit: Limit = USUAL,
    cursor: Cursor = None,
) -> Any:
    """List the account's templates at Twilio, by name; what is new there shows within a minute."""
    after = begin(request, "templates", cursor)
    wanted = acts.Wanted(status, category, language)
    found = await acts.listed(_templates(request), wanted)
    left = [one for one in found if after is None or list(acts.place_of(one)) > after]
    position = list(acts.place_of(left[limit - 1])) if len(left) > limit else None
    return page(request, response, "templates", [one.summary() for one in left[:limit]], position)


@router.get(
    "/v1/templates/{sid}",
    operation_id="get_template",
    response_model=Template,
    responses=_AT_TWILIO,
    **_READ,
)
async def get(
    request: Request,
    sid: Annotated[
        str, Path(max_length=40, description="HX…", examples=["HX5fcd48a417c1cb59da349ad6d5da4607"])
    ],
) -> Any:
    """Return one template as Twilio has it, at most some seconds ago."""
    return (await acts.existing(_templates(request), sid)).summary()


def _templates(request: Request) -> Templates:
    parts = parts_of(request)
    if parts.twilio is None:
        parts.settings.credentials()  # says what is missing
        raise unavailable("The API was started without Twilio's credentials.")
    return parts.twilio.templates
