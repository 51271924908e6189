"""arq's cron counts seconds by itself: who was stopped for some must begin to count anew."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from workers import supervisor

if TYPE_CHECKING:
    import pytest


async def test_who_was_stopped_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "SLEPT_SECONDS", 1.2)
    watching = asyncio.create_task(supervisor._out_of_time())
    await asyncio.sleep(0)
    time.sleep(1.3)  # noqa: ASYNC251 - as SIGSTOP does it
    await asyncio.wait_for(watching, 10)


async def test_a_clock_that_was_set_does_so_too(monkeypatch: pytest.MonkeyPatch) -> None:
    wall, ahead = time.time, 0.0
    monkeypatch.setattr(time, "time", lambda: wall() + ahead)
    watching = asyncio.create_task(supervisor._out_of_time())
    await asyncio.sleep(0)
    ahead = -3600.0
    await asyncio.wait_for(watching, 10)
