"""Is it there, can it work, what does it count: for probes and Prometheus; no key is asked for."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import BaseModel
from redis.exceptions import RedisError

from broadcaster.api.parts import parts_of
from broadcaster.api.problems import PROBLEMS, Problem, unavailable
from broadcaster.store.errors import EpochChanged, Unreachable

PATIENCE_SECONDS: Final = 2.0


class Health(BaseModel):
    """Whether it is well."""

    status: str = "ok"


health = APIRouter(tags=["health"])
counting = APIRouter(tags=["health"])


@health.get("/healthz", operation_id="get_health")
async def healthz() -> Health:
    """Answer that this process runs; says nothing of Redis, so that a stalled one restarts nobody."""
    return Health()


@health.get("/readyz", operation_id="get_readiness", responses={503: {"description": "Not ready"}})
async def readyz(request: Request) -> Health:
    """Answer whether requests can be served now: Redis answers and holds the installation we know."""
    store = parts_of(request).store
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await store.check_epoch()
    except EpochChanged as error:
        raise unavailable(str(error)) from None
    except (RedisError, OSError, TimeoutError, Unreachable):
        raise unavailable("Redis does not answer.") from None
    return Health()


@counting.get("/metrics", operation_id="get_metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Return the process's metrics in Prometheus' text format."""
    return Response(parts_of(request).metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


@health.get("/problems/{slug}", operation_id="get_problem", response_class=HTMLResponse)
async def problem(slug: str) -> Any:
    """Explain a problem's `type`."""
    if slug not in PROBLEMS:
        raise Problem("not-found", "There is no problem of that name.")
    kind = PROBLEMS[slug]
    page = f"<title>{kind.title}</title><h1>{kind.status} {kind.title}</h1><p>{kind.meaning}</p>"
    return HTMLResponse(f"<!doctype html>{page}")
