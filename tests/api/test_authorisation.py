"""Who may do what: every route there is, against every key that must not open it."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, NamedTuple

from asgi_api import api_here
from fastapi.routing import APIRoute, iter_route_contexts
from serving import TESTER, bearer, key_for

from broadcaster.api.gate import OPEN_PATHS, OPEN_PREFIXES, TWILIO_PREFIX
from broadcaster.api.parts import Needs
from broadcaster.domain.api_keys import Scope
from broadcaster.operations import keys

if TYPE_CHECKING:
    import httpx
    from fastapi import FastAPI

    from broadcaster.store.connection import Store

#: What any key opens.
FOR_ANY_KEY = ("/docs", "/openapi.json")


class Place(NamedTuple):
    method: str
    path: str
    scope: Scope | None


def places(app: FastAPI) -> list[Place]:
    """Return every route that wants a key; fail for one that nobody has said a scope of."""
    found = []
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        path = getattr(route, "path", "")
        if path in OPEN_PATHS or path.startswith(OPEN_PREFIXES):
            continue
        dependencies = route.dependencies if isinstance(route, APIRoute) else []
        scopes = [d.dependency.scope for d in dependencies if isinstance(d.dependency, Needs)]
        assert len(scopes) == 1 or path.startswith(FOR_ANY_KEY), f"{path} is not guarded"
        filled = re.sub(r"{[^}]*}", "x1", path)
        methods = sorted(getattr(route, "methods", None) or {"GET"})
        found += [Place(method, filled, scopes[0] if scopes else None) for method in methods]
    return found


async def ask(client: httpx.AsyncClient, place: Place, key: str) -> httpx.Response:
    headers = bearer(key) if key else {"Authorization": ""}
    if key and place.path.startswith(TWILIO_PREFIX):
        headers = {"Authorization": "Basic " + base64.b64encode(f"AC:{key}".encode()).decode()}
    return await client.request(place.method, place.path, headers=headers)


async def test_no_route_opens_to_a_key_without_its_scope(store: Store) -> None:
    async with api_here(store) as (client, app):
        every = places(app)
        assert len(every) > 20
        good = await key_for(store)
        bad = {
            "none": "",
            "nonsense": "nonsense",
            "wrong": good[:-1] + ("A" if good[-1] != "A" else "B"),
            "unknown": "bc_live_0000000000_" + good[-43:],
            "revoked": await key_for(store),
            "expired": await key_for(store, expires_in_seconds=-1),
        }
        await keys.revoke(store, TESTER, bad["revoked"].split("_")[2])
        single = {scope: await key_for(store, scope) for scope in Scope}
        for place in every:
            for why, key in bad.items():
                answer = await ask(client, place, key)
                assert answer.status_code == 401, (place, why)
                assert answer.headers["www-authenticate"].startswith(("Bearer", "Basic")), (place, why)
            for scope, key in single.items():
                opens = scope in (place.scope, Scope.ADMIN) or place.scope is None
                answer = await ask(client, place, key)
                assert answer.status_code not in (401, 500), (place, scope)
                assert (answer.status_code != 403) == opens, (place, scope)
                if not opens and place.scope and not place.path.startswith(TWILIO_PREFIX):
                    assert place.scope.value in answer.json()["detail"]
        lacking = [key_for(store, *(s for s in Scope if s not in (scope, Scope.ADMIN))) for scope in Scope]
        all_others = dict(zip(Scope, [await key for key in lacking], strict=True))
        for place in every:
            if place.scope is not None:
                assert (await ask(client, place, all_others[place.scope])).status_code == 403, place
