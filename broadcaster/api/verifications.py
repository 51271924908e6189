"""Verifications by Twilio Verify: codes sent once for each Idempotency-Key, checked; ended by hand."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Path, Query, Request, Response

from broadcaster.api.once import key_of, once
from broadcaster.api.parts import caller_of, guarded, parts_of
from broadcaster.api.problems import unavailable
from broadcaster.api.shapes import answer
from broadcaster.api.verification_shapes import CodeToCheck, NewVerification, Verification
from broadcaster.domain.api_keys import Scope
from broadcaster.domain.verifications import START_FIELDS, Start
from broadcaster.operations import verifications as acts
from broadcaster.twilio.verify import Verify

if TYPE_CHECKING:
    from broadcaster.operations.verifications import Verifying

router = APIRouter(tags=["verifications"])
_MAY: Final = guarded(Scope.VERIFY)
_TWILIO: Final[dict[int | str, dict[str, Any]]] = {
    429: {"description": "Your key's pace, or a limit of Twilio's: `limit` says which"},
    502: {"description": "Twilio did not answer well"},
}
_GONE: Final[dict[int | str, dict[str, Any]]] = {
    404: {"description": "Nothing is pending: it was approved or canceled, or has expired, or never was"},
    **_TWILIO,
}
Sid = Annotated[str, Path(pattern="^VE[0-9a-fA-F]{32}$", examples=["VE6b1f2c0d9e8a4f7b8c5d3e2f1a0b9c8d"])]
Service = Annotated[
    str | None,
    Query(
        alias="service_sid",
        pattern="^VA[0-9a-fA-F]{32}$",
        description="The Verify service; without it the settings' own.",
    ),
]


@router.post(
    "/v1/verifications",
    operation_id="start_verification",
    status_code=HTTPStatus.CREATED,
    response_model=Verification,
    responses={
        **_TWILIO,
        502: {"description": "Twilio did not answer well; `in-doubt`: a code may have been sent"},
    },
    **_MAY,
)
async def start(request: Request, body: NewVerification) -> Any:
    """Start a verification: Twilio sends a code, or goes on with one that is pending for the same person.

    With an `Idempotency-Key` it is started once, whatever becomes of the answers. Where Twilio's is lost, the
    problem is `in-doubt`, now and for the same key: a code may have been sent, and none is sent again.
    """
    asked = Start(**{name: getattr(body, name) for name in START_FIELDS})
    text = key_of(request) or ""

    async def work(nonce: str) -> Response:
        key = acts.Key(nonce, text)
        found, replayed = await acts.started(verifying(request), asked, service=body.service_sid, key=key)
        where = {"Location": f"/v1/verifications/{found.sid}"}
        if replayed:
            where["Idempotent-Replayed"] = "true"
        return answer(found.summary(), HTTPStatus.CREATED, where)

    # a custom code is in the body, of which a mere hash would be kept that can be found by trying
    digest = acts.Key(text=text).digest(body.model_dump())
    return await once(request, work, payload=f"digest {digest}".encode(), kept=False)


@router.post(
    "/v1/verifications/check",
    operation_id="check_verification",
    response_model=Verification,
    responses=_GONE,
    **_MAY,
)
async def check(request: Request, body: CodeToCheck) -> Any:
    """Check a code, of `to` or of the verification `sid`. `valid` is the answer; a wrong code is no error.

    Each check counts: a verification takes five. A right code ends it, and Twilio forgets it.
    """
    found = await acts.check(
        verifying(request),
        to=body.to,
        sid=body.sid,
        code=body.code,
        service=body.service_sid,
        sna=body.sna,
        sna_client_token=body.sna_client_token,
        amount=body.amount,
        payee=body.payee,
    )
    return found.summary()


@router.get(
    "/v1/verifications/{sid}",
    operation_id="get_verification",
    response_model=Verification,
    responses=_GONE,
    **_MAY,
)
async def show(request: Request, sid: Sid, service: Service = None) -> Any:
    """Show a verification that Twilio still has. Twilio takes 60 such questions a minute, 250 a day."""
    return (await acts.show(verifying(request), sid, service=service)).summary()


@router.post(
    "/v1/verifications/{sid}/cancel",
    operation_id="cancel_verification",
    response_model=Verification,
    responses=_GONE,
    **_MAY,
)
async def cancel(request: Request, sid: Sid, service: Service = None) -> Any:
    """End a verification: its code is good no more, and another may be started at once."""
    return (await acts.end(verifying(request), sid, "canceled", service=service)).summary()


@router.post(
    "/v1/verifications/{sid}/approve",
    operation_id="approve_verification",
    response_model=Verification,
    responses=_GONE,
    **_MAY,
)
async def approve(request: Request, sid: Sid, service: Service = None) -> Any:
    """Tell Twilio that a custom code which you have checked yourself was right."""
    return (await acts.end(verifying(request), sid, "approved", service=service)).summary()


def verifying(request: Request) -> Verifying:
    """Return what acts on verifications work with. Raises SettingsError without Twilio's credentials."""
    parts = parts_of(request)
    if parts.verify is None:
        parts.settings.credentials()  # says what is missing
        raise unavailable("The API was started without Twilio's credentials.")
    return acts.Verifying.of(parts.store, Verify(parts.verify), caller_of(request).actor, parts.settings)
