"""Event endpoints: where you want to be told of what; how deliveries to them went."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from broadcaster.api.event_endpoint_shapes import (
    DeliveryPage,
    EndpointPage,
    EndpointTried,
    EndpointWithSecret,
    EventEndpoint,
    EventsReplayed,
    NewEndpoint,
    ParkedChosen,
)
from broadcaster.api.once import once
from broadcaster.api.pages import USUAL, Cursor, Limit, begin, page
from broadcaster.api.parts import caller_of, guarded, parts_of
from broadcaster.api.shapes import LONGEST_NAME, answer
from broadcaster.domain.api_keys import Scope
from broadcaster.operations import event_endpoints as acts
from broadcaster.runtime import postman

router = APIRouter(tags=["events"])
_GONE: Final[dict[int | str, dict[str, Any]]] = {404: {"description": "No such event endpoint"}}
_CONFLICT: Final[dict[int | str, dict[str, Any]]] = {409: {"description": "Its state forbids it"}}
Id = Annotated[str, Path(max_length=LONGEST_NAME, examples=["ep_4f1c0b6a7d2e9835"])]


@router.get(
    "/v1/event-endpoints",
    operation_id="list_event_endpoints",
    response_model=EndpointPage,
    **guarded(Scope.EVENTS_READ),
)
async def list_(request: Request) -> Any:
    """List every endpoint, the oldest first: all on one page."""
    found = await acts.list_(parts_of(request).store)
    return {"data": [view.summary() for view in found], "next": None}


@router.post(
    "/v1/event-endpoints",
    operation_id="create_event_endpoint",
    status_code=201,
    response_model=EndpointWithSecret,
    responses={409: {"description": "There are too many"}},
    **guarded(Scope.EVENTS_WRITE),
)
async def create(request: Request, asked: NewEndpoint) -> Any:
    """Make an endpoint; it is told of what happens from now on. Its secret is shown this once."""
    parts = parts_of(request)

    async def work(nonce: str) -> Response:
        view, secret = await acts.create(
            parts.store,
            caller_of(request).actor,
            acts.Rules(parts.settings.events_allow_http, parts.settings.events_allow_private),
            url=asked.url,
            types=asked.types,
            description=asked.description,
            nonce=nonce,
        )
        return answer({**view.summary(), "secret": secret}, HTTPStatus.CREATED)

    return await once(request, work)


@router.get(
    "/v1/event-endpoints/{id}",
    operation_id="get_event_endpoint",
    response_model=EventEndpoint,
    responses=_GONE,
    **guarded(Scope.EVENTS_READ),
)
async def show(request: Request, id: Id) -> Any:  # noqa: A002 - the path says so
    """Show an endpoint, and how far it is."""
    return (await acts.show(parts_of(request).store, id)).summary()


@router.delete(
    "/v1/event-endpoints/{id}",
    operation_id="delete_event_endpoint",
    status_code=204,
    responses=_GONE,
    **guarded(Scope.EVENTS_WRITE),
)
async def delete(request: Request, id: Id) -> None:  # noqa: A002
    """Remove an endpoint with all its deliveries."""
    await acts.delete(parts_of(request).store, caller_of(request).actor, id)


@router.post(
    "/v1/event-endpoints/{id}/test",
    operation_id="test_event_endpoint",
    response_model=EndpointTried,
    responses=_GONE,
    **guarded(Scope.EVENTS_WRITE),
)
async def test(request: Request, id: Id) -> Any:  # noqa: A002
    """Send an event of type `endpoint.test` now, once, and tell how that went."""
    parts = parts_of(request)
    async with postman(parts.settings) as post:
        return await acts.test(parts.store, post, id)


@router.post(
    "/v1/event-endpoints/{id}/rotate-secret",
    operation_id="rotate_event_endpoint_secret",
    response_model=EndpointWithSecret,
    responses=_GONE,
    **guarded(Scope.EVENTS_WRITE),
)
async def rotate(request: Request, id: Id) -> Any:  # noqa: A002
    """Give it a new secret. For a day requests are signed by the old one, too."""
    view, secret = await acts.rotate(parts_of(request).store, caller_of(request).actor, id)
    return {**view.summary(), "secret": secret}


@router.post(
    "/v1/event-endpoints/{id}/enable",
    operation_id="enable_event_endpoint",
    response_model=EventEndpoint,
    responses=_GONE,
    **guarded(Scope.EVENTS_WRITE),
)
async def enable(request: Request, id: Id) -> Any:  # noqa: A002
    """Let a disabled endpoint (it answered 410) be told again, of what happens from now on."""
    return (await acts.enable(parts_of(request).store, caller_of(request).actor, id)).summary()


@router.get(
    "/v1/event-endpoints/{id}/deliveries",
    operation_id="list_event_deliveries",
    response_model=DeliveryPage,
    responses=_GONE,
    **guarded(Scope.EVENTS_READ),
)
async def deliveries(
    request: Request,
    response: Response,
    id: Id,  # noqa: A002
    *,
    state: Annotated[Literal["waiting", "parked"], Query(description="Which of them.")] = "parked",
    limit: Limit = USUAL,
    cursor: Cursor = None,
) -> Any:
    """List deliveries that were given up, the oldest first, or those that wait, the soonest first."""
    kind = f"event-deliveries {state}"
    start = begin(request, kind, cursor) or 0
    store = parts_of(request).store
    found = await acts.deliveries(store, id, parked=state == "parked", start=start, limit=limit + 1)
    more = start + limit if len(found) > limit else None
    return page(request, response, kind, found[:limit], more)


@router.post(
    "/v1/event-endpoints/{id}/deliveries/replay",
    operation_id="replay_event_deliveries",
    response_model=EventsReplayed,
    responses={**_GONE, **_CONFLICT},
    **guarded(Scope.EVENTS_WRITE),
)
async def replay(request: Request, id: Id, asked: ParkedChosen) -> Any:  # noqa: A002
    """Let parked deliveries go again, from their first try on."""
    parts = parts_of(request)
    again = await acts.replay(parts.store, caller_of(request).actor, id, asked.deliveries)
    return {"replayed": again}
