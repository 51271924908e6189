"""Verify services: what all verifications of one have in common. To change one takes an admin's key."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response

from broadcaster.api.once import once
from broadcaster.api.parts import guarded
from broadcaster.api.shapes import answer
from broadcaster.api.verification_shapes import VerifyService, VerifyServiceChange, VerifyServicePage
from broadcaster.api.verifications import verifying
from broadcaster.domain.api_keys import Scope
from broadcaster.domain.verify_services import ServiceChange
from broadcaster.operations import verify_services as acts

router = APIRouter(tags=["verifications"])
_TWILIO: Final[dict[int | str, dict[str, Any]]] = {502: {"description": "Twilio did not answer well"}}
_GONE: Final[dict[int | str, dict[str, Any]]] = {404: {"description": "No such Verify service"}, **_TWILIO}
Sid = Annotated[
    str,
    Path(
        pattern="^(VA[0-9a-fA-F]{32}|default)$",
        examples=["default"],
        description="The service, or `default`: the settings' own.",
    ),
]


@router.post(
    "/v1/verify-services",
    operation_id="create_verify_service",
    status_code=HTTPStatus.CREATED,
    response_model=VerifyService,
    responses=_TWILIO,
    **guarded(Scope.ADMIN),
)
async def create(request: Request, body: VerifyServiceChange) -> Any:
    """Make a Verify service; set its SID as `TWILIO_VERIFY_SERVICE_SID`.

    Where Twilio's answer is lost (`in-doubt`), look whether it is there: asked again, Twilio makes another.
    """

    async def work(_: str) -> Response:
        made = await acts.create(verifying(request), ServiceChange(**body.model_dump()))
        where = {"Location": f"/v1/verify-services/{made.sid}"}
        return answer(made.summary(), HTTPStatus.CREATED, where)

    return await once(request, work)


@router.get(
    "/v1/verify-services",
    operation_id="list_verify_services",
    response_model=VerifyServicePage,
    responses=_TWILIO,
    **guarded(Scope.VERIFY),
)
async def list_(request: Request) -> Any:
    """List the Verify services of the account: all on one page."""
    found = await acts.every(verifying(request))
    return {"data": [one.summary() for one in found], "next": None}


@router.get(
    "/v1/verify-services/{sid}",
    operation_id="get_verify_service",
    response_model=VerifyService,
    responses=_GONE,
    **guarded(Scope.VERIFY),
)
async def show(request: Request, sid: Sid) -> Any:
    """Show a Verify service, and what only Twilio's support can set of it."""
    return (await acts.show(verifying(request), _named(sid))).summary()


@router.patch(
    "/v1/verify-services/{sid}",
    operation_id="update_verify_service",
    response_model=VerifyService,
    responses=_GONE,
    **guarded(Scope.ADMIN),
)
async def update(request: Request, sid: Sid, body: VerifyServiceChange) -> Any:
    """Change a Verify service, for verifications from now on."""
    change = ServiceChange(**body.model_dump())
    return (await acts.update(verifying(request), _named(sid), change)).summary()


def _named(sid: str) -> str | None:
    return None if sid == "default" else sid
