"""An API process shows how far Redis' clock is from its host's: urgent messages are judged by both."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import pytest

from broadcaster.reporting import clock
from broadcaster.telemetry.metric import Role
from broadcaster.telemetry.metrics import Metrics

if TYPE_CHECKING:
    from broadcaster.store.connection import Store


@pytest.mark.parametrize("off", [0.0, 6.0, -6.0])
async def test_an_api_host_whose_clock_is_off_is_shown(
    store: Store, monkeypatch: pytest.MonkeyPatch, wait_until: Any, off: float
) -> None:
    metrics = Metrics(Role.API)
    now = time.time
    monkeypatch.setattr(clock, "AGAIN_SECONDS", 0.01)
    monkeypatch.setattr("time.time", lambda: now() + off)
    task = asyncio.create_task(clock.watch_clock(store, metrics))
    name, labels = "broadcaster_clock_skew_seconds", {"clock": "redis"}

    async def shown() -> bool:
        return metrics.registry.get_sample_value(name, labels) is not None

    await wait_until(shown)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert metrics.registry.get_sample_value(name, labels) == pytest.approx(-off, abs=0.5)
