"""The description: committed as it is, whole, true of every route; and its pages need nobody else."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from fastapi.routing import APIRoute, iter_route_contexts
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
from serving import bearer, key_for, serving

from broadcaster.api.describing import ONCE
from broadcaster.api.description import text
from broadcaster.api.links import LINKS
from broadcaster.api.parts import Needs
from broadcaster.api.problems import PROBLEMS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.store.connection import Store

COMMITTED = Path(__file__).parents[2] / "deploy" / "openapi.json"
METHODS = ("get", "put", "post", "delete", "patch")


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text())
    return found


def operations(described: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, item in described["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method, item[method]


def resolved(described: dict[str, Any], node: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in node:
        found: Any = described
        for part in node["$ref"].removeprefix("#/").split("/"):
            found = found[part]
        node = found
    return node


def test_the_committed_description_is_this_one() -> None:
    assert COMMITTED.read_text(encoding="utf-8") == text() == text(), (
        "the API's description has changed. If that is meant: "
        "python -m broadcaster.api.description > deploy/openapi.json"
    )


def test_every_operation_says_who_may_and_how_it_fails(described: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(described)]
    assert len(names) == len(set(names)) > 25
    scopes = set(
        re.findall(r"`([a-z:-]+)`:", described["components"]["securitySchemes"]["key"]["description"])
    )
    for path, method, operation in operations(described):
        assert re.fullmatch(r"[a-z][a-z_]+", operation["operationId"]), path
        assert operation["tags"], path
        assert operation.get("description") or operation.get("summary"), path
        answers = {int(status) for status in operation["responses"] if status.isdigit()}
        if path.startswith("/v1/"):
            (security,) = operation["security"]
            assert set(security["key"]) <= scopes, path
            assert answers >= {401, 403, 429, 503}, (method, path)
        for status in answers:
            if status >= 400:
                answer = resolved(described, operation["responses"][str(status)])
                kind = "application/json" if path.startswith("/2010") else "application/problem+json"
                assert list(answer["content"]) == [kind], (path, status)
        if "requestBody" in operation:
            assert answers >= {400, 408, 413, 415}, (method, path)
            assert 422 in answers or not path.startswith("/v1/"), (method, path)
    assert "HTTPValidationError" not in json.dumps(described)


def test_every_reference_leads_somewhere(described: dict[str, Any]) -> None:
    found = set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(described)))
    assert len(found) > 50
    for reference in found:
        assert resolved(described, {"$ref": reference}), reference


def test_examples_are_valid_and_links_lead_somewhere(described: dict[str, Any]) -> None:
    checked = 0
    for name, schema in described["components"]["schemas"].items():
        for example in schema.get("examples", ()):
            whole = {"$ref": f"#/components/schemas/{name}", "components": described["components"]}
            problems = [error.message for error in Draft202012Validator(whole).iter_errors(example)]
            assert problems == [], name
            checked += 1
    assert checked > 10
    by_name = {operation["operationId"]: operation for _, _, operation in operations(described)}
    named = {source for source, _ in LINKS} | {to for links in LINKS.values() for to, _ in links.values()}
    assert named | ONCE <= set(by_name)
    links = 0
    for operation in by_name.values():
        for answer in operation["responses"].values():
            for link in answer.get("links", {}).values():
                taken = {parameter["name"] for parameter in by_name[link["operationId"]]["parameters"]}
                assert set(link["parameters"]) <= taken
                links += 1
    assert links >= 3
    assert set(described["webhooks"]) == {
        "message.accepted", "message.delivered", "message.failed", "message.in_doubt", "reply.received",
        "opt_out.changed", "broadcast.started", "broadcast.paused", "broadcast.completed",
    }  # fmt: skip


def test_swagger_ui_is_as_it_was_published() -> None:
    folder = resources.files("broadcaster.api") / "swagger"
    told = dict(re.findall(r"^([0-9a-f]{64})  (\S+[^z])$", (folder / "README.md").read_text(), re.MULTILINE))
    assert set(told.values()) == {"swagger-ui-bundle.js", "swagger-ui.css"}
    for digest, name in told.items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


def test_a_scope_is_on_the_route_that_names_it(described: dict[str, Any]) -> None:
    from broadcaster.api.app import create_app  # noqa: PLC0415

    for context in iter_route_contexts(create_app(lambda: None).routes):  # type: ignore[arg-type, return-value]
        route = context.original_route
        if (
            not isinstance(route, APIRoute)
            or not route.include_in_schema
            or not route.path.startswith("/v1/")
        ):
            continue
        scopes = [d.dependency.scope for d in route.dependencies if isinstance(d.dependency, Needs)]
        for method in route.methods or ():
            operation = described["paths"][route.path][method.lower()]
            assert operation["security"] == [{"key": [scope.value for scope in scopes]}]


@pytest.mark.slow
async def test_the_pages_come_from_here_and_to_whoever_has_a_key(store: Store) -> None:
    async with serving(store, BROADCASTER_API_STALL_SECONDS="0.2") as api:
        key = await key_for(store, *[])
        nobody = {"Authorization": ""}
        refused = await api.client.get("/docs", headers=nobody)
        assert (refused.status_code, refused.headers["www-authenticate"][:5]) == (401, "Basic")
        page = await api.client.get("/docs", headers=nobody, auth=("anything", key))
        assert page.status_code == 200
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert not re.search(r"unsafe|http|\*", policy)
        files = re.findall(r'(?:src|href)="([^"]+)"', page.text)
        assert len(files) == 3
        for file in files:
            answer = await api.client.get(f"/{file}", headers=bearer(key))
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith(("text/css", "text/javascript")), file
            assert (await api.client.get(f"/{file}", headers=nobody)).status_code == 401
        assert (await api.client.get("/openapi.json")).json() == json.loads(COMMITTED.read_text())

        # a body that stops coming
        port = int(api.url.rsplit(":", 1)[1])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = f"POST /v1/pause HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())
        told = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        assert told.startswith(b"HTTP/1.1 408 ")
        assert PROBLEMS["too-slow"].title.encode() in told
