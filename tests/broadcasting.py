"""Asking the API for broadcasts, and reading its lists page by page."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx
    from hosting import Hosted


def number(place: int) -> str:
    return f"+1415555{place:04d}"


async def post(api: Hosted, path: str, key: str = "", **given: Any) -> httpx.Response:
    headers = {"Idempotency-Key": key} if key else {}
    return await api.client.post(path, json=given, headers=headers)


def pointers(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 422, answer.text
    return [error["pointer"] for error in answer.json()["errors"]]


def multipart(spec: Any, rows: str, filename: str = "people.csv") -> list[tuple[str, Any]]:
    """Return the parts of an upload, as httpx sends them."""
    return [("spec", (None, json.dumps(spec), "application/json")), ("recipients", (filename, rows))]


async def pages(api: Hosted, path: str, **query: Any) -> list[dict[str, Any]]:
    """Return everything that a list holds, page by page."""
    found: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        answer = await api.client.get(path, params={**query, **({"cursor": cursor} if cursor else {})})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += page["data"]
        cursor = page["next"]
        assert ("link" in answer.headers) == (cursor is not None)
    return found
