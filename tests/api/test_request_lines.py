"""One canonical line per request, callbacks and list; none of them with a number or a text in it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import structlog
from hosting import hosting

from broadcaster.api import request_log
from broadcaster.api.request_log import RequestLog
from broadcaster.telemetry.bounded import LineBudget

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.store.connection import Store

NUMBER = "+14155550123"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """What is logged in this process, before it is masked."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.DEBUG)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    structlog.reset_defaults()  # a command that ran before may have set what is logged at all
    monkeypatch.setattr(request_log.requests, "_budget", LineBudget(1e6, 1e6))
    with structlog.testing.capture_logs([structlog.contextvars.merge_contextvars]) as caught:
        yield caught
    root.setLevel(level)


def of(lines: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    return [line for line in lines if line["event"] == event]


async def test_each_request_has_its_line_and_its_id(store: Store, lines: list[dict[str, Any]]) -> None:
    async with hosting(store) as api:
        named = await api.client.get("/v1/broadcasts/none", headers={"X-Request-Id": "shop-4711/a"})
        assert named.headers["x-request-id"] == "shop-4711/a"
        odd = await api.client.get("/v1/broadcasts/none", headers={"X-Request-Id": "two words"})
        assert odd.headers["x-request-id"].isalpha()
        order = {"to": NUMBER, "body": "Hush"}
        first = await api.client.post("/v1/messages", json=order, headers={"Idempotency-Key": "k"})
        await api.client.post("/v1/messages", json=order, headers={"Idempotency-Key": "k"})
        await api.client.get("/healthz")
        async with httpx.AsyncClient(base_url=api.client.base_url, trust_env=False) as stranger:
            refused = await stranger.get("/v1/broadcasts")
    assert refused.status_code == 401
    assert refused.headers["x-request-id"]
    found = of(lines, "request.done")
    assert [line["status"] for line in found] == [404, 404, 202, 202, 200, 401]
    assert found[0]["request"] == "shop-4711/a"
    assert found[0]["route"] == "/v1/broadcasts/{id}"
    assert found[0]["parameters"] == {"id": "none"}
    assert [line["replayed"] for line in found[2:4]] == [False, True]
    assert found[2]["received_bytes"] > 20
    assert found[2]["sent_bytes"] == len(first.content)
    assert [line["log_level"] for line in found] == ["info"] * 4 + ["debug", "info"]
    assert [line.get("client") for line in found] == [None] * 5 + ["127.0.0.1"]
    assert found[0]["key"]
    assert found[5]["key"] is None
    assert not [line for line in lines if NUMBER in str(line) or "Hush" in str(line)]


async def test_what_exceeds_the_budget_is_in_sums(lines: list[dict[str, Any]]) -> None:
    log = RequestLog()
    scope = {"type": "http", "method": "POST", "path": "/v1/messages", "headers": []}
    for i in range(1000):
        noted = request_log.Noted(scope)
        noted.status = 202 if i % 10 else 503
        log.done(scope, noted, "k", 0.25)
    log.write_all()
    alone, sums = of(lines, "request.done"), of(lines, "requests.done")
    assert 200 <= len(alone) <= 400
    assert len(alone) + sum(line["count"] for line in sums) == 1000
    assert {(line["route"], line["status"]) for line in sums} <= {("-", 202), ("-", 503)}
    assert sums[0]["longest_seconds"] == sums[0]["mean_seconds"] == 0.25
