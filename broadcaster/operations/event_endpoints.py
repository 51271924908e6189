"""Endpoints of events out: made, listed, tested, rotated, deleted; their deliveries listed and replayed."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from broadcaster.events import endpoints, queue
from broadcaster.events.endpoints import (
    ENDPOINTS_MOST,
    Endpoint,
    EndpointError,
    Place,
    new_endpoint,
    read_endpoint,
    read_endpoints,
    read_place,
    rotated,
)
from broadcaster.events.payloads import ping
from broadcaster.operations import audit
from broadcaster.operations.errors import Conflict, Fault, Invalid, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broadcaster.events.queue import Listed
    from broadcaster.events.sending import Postman
    from broadcaster.operations.actor import Actor
    from broadcaster.store.connection import Store

#: Deliveries that one call lets go again, at most.
REPLAYS_MOST: Final = 10_000


@dataclass(frozen=True, slots=True)
class EndpointView:
    """An endpoint and how far it is. The secret is never in its summary."""

    id: str
    endpoint: Endpoint
    place: Place

    def summary(self) -> dict[str, Any]:
        """Return it in JSON's types; times are unix seconds, the URL is without its query."""
        endpoint, place = self.endpoint, self.place
        now = time.time()
        overlap = endpoint.previous_until if endpoint.previous_until > now else None
        return {
            "id": self.id,
            "url": endpoint.shown_url,
            "types": list(endpoint.types),
            "description": endpoint.description,
            "state": "disabled" if endpoint.disabled else "enabled",
            "state_reason": endpoint.disabled,
            "created_at": endpoint.created,
            "old_secret_until": overlap,
            "delivered": place.delivered,
            "waiting": place.waiting,
            "parked": place.parked,
            "behind": place.behind,
            "lost": place.lost,
            "dropped": place.dropped,
            "failing_since": place.failing_since or None,
            "held_until": round(place.held_until, 3) if place.held_until > now else None,
            "last_answer": place.last_answer or None,
            "last_answer_at": place.last_at or None,
        }


class Rules(NamedTuple):
    """What is allowed of an endpoint's URL, as the settings say."""

    allow_http: bool = False
    allow_private: bool = False


async def create(
    store: Store,
    actor: Actor,
    rules: Rules,
    *,
    url: str,
    types: Iterable[str],
    description: str = "",
    nonce: str = "",
) -> tuple[EndpointView, str]:
    """Make an endpoint, once with the same nonce; also return its secret.

    Raises `Invalid`, or `Conflict` if there are too many.
    """
    try:
        made = new_endpoint(
            url,
            types,
            time.time(),
            description=description,
            allow_http=rules.allow_http,
            allow_private=rules.allow_private,
        )
    except EndpointError as error:
        raise Invalid(Fault(f"{error.field}: {error}", pointer=f"/{error.field}")) from None
    name, there = await endpoints.create(store, made, nonce)
    if not name:
        raise Conflict(f"there are {ENDPOINTS_MOST} endpoints, which is the most there may be: delete one")
    if there is made:
        await audit.record(store, actor, "event_endpoint.create", name, new=_audited(made))
    return EndpointView(name, there, Place()), there.secret


async def list_(store: Store) -> list[EndpointView]:
    """Return every endpoint, the oldest first."""
    found = await read_endpoints(store)
    return [EndpointView(name, endpoint, await read_place(store, name)) for name, endpoint in found.items()]


async def show(store: Store, name: str) -> EndpointView:
    """Return one endpoint. Raises `NotFound`."""
    return EndpointView(name, await _read(store, name), await read_place(store, name))


async def test(store: Store, postman: Postman, name: str) -> dict[str, Any]:
    """Post an event of type `endpoint.test` now, once, and return how that went. Raises `NotFound`."""
    endpoint = await _read(store, name)
    began = time.time()
    event = ping(name, int(began * 1000))
    answer = await postman.post(endpoint, event.id, event.body, began)
    return {
        "ok": answer.ok,
        "status": answer.status or None,
        "answer": answer.words,
        "event": event.id,
        "seconds": round(time.time() - began, 3),
    }


async def rotate(store: Store, actor: Actor, name: str) -> tuple[EndpointView, str]:
    """Give an endpoint a new secret; for a day the old one signs, too. Raises `NotFound`."""
    now = time.time()
    await _change(store, name, lambda endpoint: rotated(endpoint, now))
    view = await show(store, name)
    await audit.record(
        store, actor, "event_endpoint.rotate", name, new={"old_until": view.endpoint.previous_until}
    )
    return view, view.endpoint.secret


async def enable(store: Store, actor: Actor, name: str) -> EndpointView:
    """Let a disabled endpoint be told again, of what happens from now on. Raises `NotFound`."""
    before = await _change(store, name, lambda endpoint: msgspec.structs.replace(endpoint, disabled=""))
    if before.disabled:
        await audit.record(store, actor, "event_endpoint.enable", name, old=before.disabled, new="enabled")
    return await show(store, name)


async def delete(store: Store, actor: Actor, name: str) -> None:
    """Remove an endpoint with all its deliveries. Raises `NotFound`."""
    before = await _change(store, name, lambda _: None)
    await audit.record(store, actor, "event_endpoint.delete", name, old=_audited(before))


async def deliveries(
    store: Store, name: str, *, parked: bool, start: int = 0, limit: int = 100
) -> list[dict[str, Any]]:
    """Return waiting deliveries, the soonest first, or parked ones, the oldest first. Raises `NotFound`."""
    await _read(store, name)
    found = await queue.read_deliveries(store, name, parked=parked, start=start, most=limit)
    return [_shown(one, parked=parked) for one in found]


async def replay(
    store: Store, actor: Actor, name: str, ids: Sequence[str] = (), *, most: int = REPLAYS_MOST
) -> int:
    """Let parked deliveries go again: these, or the `most` oldest; returns how many. Raises `NotFound`."""
    endpoint = await _read(store, name)
    if endpoint.disabled:
        raise Conflict(f"the endpoint {name} is disabled: {endpoint.disabled}", state="disabled")
    again = await store.run(queue.replay(name, ids, most))
    if again:
        await audit.record(store, actor, "event_endpoint.replay", name, new={"deliveries": again})
    return again


async def _read(store: Store, name: str) -> Endpoint:
    found = await read_endpoint(store, name)
    if found is None:
        raise NotFound("event endpoint", name)
    return found


async def _change(store: Store, name: str, how: Any) -> Endpoint:
    before = await endpoints.change(store, name, how)
    if before is None:
        raise NotFound("event endpoint", name)
    return before


def _audited(endpoint: Endpoint) -> dict[str, Any]:
    return {
        "url": endpoint.shown_url,
        "types": list(endpoint.types),
        "description": endpoint.description,
    }


def _shown(one: Listed, *, parked: bool) -> dict[str, Any]:
    delivery = one.delivery
    return {
        "id": delivery.id,
        "type": delivery.kind,
        "state": "parked" if parked else "waiting",
        "happened_at": round(delivery.at_ms / 1000, 3),
        "tries": delivery.tries,
        "last_answer": delivery.answer or None,
        "due_at": None if parked else round(one.at, 3),
        "parked_at": round(one.at, 3) if parked else None,
    }
