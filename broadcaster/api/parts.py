"""What the routes work with: made once by the composition root, handed to each request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, cast

from fastapi import Depends, Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.api.admission import Admission, Caller
    from broadcaster.api.cursors import Cursors
    from broadcaster.api.webhooks.opening import WebhookParts
    from broadcaster.domain.api_keys import Scope
    from broadcaster.intake.singles import SingleMessages
    from broadcaster.intake.windows import Windows
    from broadcaster.ledger.optouts import OptOuts
    from broadcaster.settings import Settings
    from broadcaster.store.connection import Store
    from broadcaster.telemetry.metrics import Metrics
    from broadcaster.twilio.rest import TwilioRest
    from broadcaster.twilio.wire import Wire


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that outlives a request."""

    store: Store
    settings: Settings
    admission: Admission
    cursors: Cursors
    metrics: Metrics
    twilio: TwilioRest | None
    verify: Wire | None
    singles: SingleMessages
    opt_outs: OptOuts
    windows: Windows
    webhooks: WebhookParts


def parts_of(request: Request) -> Parts:
    """Return the parts; a dependency."""
    return cast("Parts", request.app.state.parts)


def caller_of(request: Request) -> Caller:
    """Return who the request is from; `Gate` has let nobody else in."""
    return cast("Caller", request.scope["state"]["caller"])


class Needs:
    """A dependency: the caller's key must have this scope. `scope` is for the tests and the description."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope

    async def __call__(self, request: Request) -> Any:  # FastAPI must be able to read each annotation
        """Return the caller. Raises `Problem` 403."""
        caller = caller_of(request)
        caller.need(self.scope)
        return caller


async def _the_parts(request: Request) -> Any:  # what is not async, FastAPI runs in a thread
    return parts_of(request)


#: For signatures: `parts: TheParts`.
TheParts = Annotated[Any, Depends(_the_parts)]


def guarded(scope: Scope) -> dict[str, Any]:
    """Return what a route's decorator needs for its scope: the check, and its place in the description.

    Use: `@router.get("/v1/…", **guarded(Scope.BROADCASTS_READ))`.
    """
    dependency: Callable[..., Any] = Needs(scope)
    return {
        "dependencies": [Depends(dependency)],
        "openapi_extra": {"security": [{"key": [scope.value]}]},
    }
