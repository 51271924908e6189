"""Who may do what: every route there is, against every key that must not open it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
from typing import TYPE_CHECKING, Any, NamedTuple

from asgi_api import api_here
from fastapi.routing import APIRoute, iter_route_contexts
from serving import TESTER, key_for
from structlog.testing import capture_logs

from broadcaster.api.gate import OPEN_PATHS, OPEN_PREFIXES, TWILIO_PREFIX
from broadcaster.api.parts import Needs
from broadcaster.domain.api_keys import Scope
from broadcaster.operations import keys

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import FastAPI

    from broadcaster.store.connection import Store

#: What any key opens.
FOR_ANY_KEY = ("/docs", "/openapi.json")


@contextlib.asynccontextmanager
async def quiet() -> AsyncIterator[None]:
    """Let nothing be logged: a line a request takes longer than the request."""
    with capture_logs():
        yield


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


class Answer(NamedTuple):
    status: int
    headers: dict[bytes, bytes]
    body: bytes


async def ask(app: FastAPI, place: Place, key: str) -> Answer:
    """Make a request as the server would: a thousand of them through a client take seconds."""
    shown = f"Bearer {key}"
    if place.path.startswith(TWILIO_PREFIX):
        shown = "Basic " + base64.b64encode(f"AC:{key}".encode()).decode()
    body = b"" if place.method == "GET" else b"{}"  # JSON, as the express lane takes only that
    json = [(b"content-type", b"application/json")] if body else []
    scope = {
        "type": "http", "http_version": "1.1", "method": place.method, "scheme": "http", "root_path": "",
        "path": place.path, "raw_path": place.path.encode(), "query_string": b"",
        "headers": [(b"host", b"here"), *json, *([(b"authorization", shown.encode())] if key else [])],
        "client": ("192.0.2.7", 1), "server": ("here", 80), "state": {},
    }  # fmt: skip
    told: list[Any] = []
    coming = [{"type": "http.request", "body": body, "more_body": False}]
    answered = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if coming:
            return coming.pop()
        await answered.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        told.append(message)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            answered.set()

    await app(scope, receive, send)
    whole = b"".join(message.get("body", b"") for message in told[1:])
    return Answer(told[0]["status"], dict(told[0]["headers"]), whole)


async def test_no_route_opens_to_a_key_without_its_scope(store: Store) -> None:
    async with api_here(store) as (_, app), quiet():
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
                answer = await ask(app, place, key)
                assert answer.status == 401, (place, why)
                assert answer.headers[b"www-authenticate"].startswith((b"Bearer", b"Basic")), (place, why)
            for scope, key in single.items():
                opens = scope in (place.scope, Scope.ADMIN) or place.scope is None
                answer = await ask(app, place, key)
                assert answer.status not in (401, 500), (place, scope)
                assert (answer.status != 403) == opens, (place, scope)
                if not opens and place.scope and not place.path.startswith(TWILIO_PREFIX):
                    assert place.scope.value.encode() in answer.body
        lacking = [key_for(store, *(s for s in Scope if s not in (scope, Scope.ADMIN))) for scope in Scope]
        all_others = dict(zip(Scope, [await key for key in lacking], strict=True))
        for place in every:
            if place.scope is not None:
                assert (await ask(app, place, all_others[place.scope])).status == 403, place
