"""Exporter processes: one is killed and the other takes over; a signal ends one in good order."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from driving import LANE
from loading import load
from scraping import Scraped

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.store.connection import Store


@contextmanager
def process(store: Store, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run an exporter; its address is the second."""
    running = subprocess.Popen(
        [sys.executable, "-m", "broadcaster", "exporter", "--port", "0", *options],
        env={**os.environ, "REDIS_URL": store.url, "BROADCASTER_KEY_PREFIX": store.keys.prefix.rstrip(":")},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert running.stdout is not None
    try:
        yield running, json.loads(running.stdout.readline())["url"]
    finally:
        running.kill()
        running.wait()
        running.stdout.close()


async def page(url: str) -> Scraped:
    async with httpx.AsyncClient(trust_env=False, timeout=10) as http:
        answer = await http.get(f"{url}/metrics")
    answer.raise_for_status()
    found = Scraped(answer.text)
    found.check()
    return found


@pytest.mark.slow
async def test_a_killed_one_is_succeeded(store: Store, wait_until: Any) -> None:
    await load(store, {LANE: 7})
    with process(store) as (first, one), process(store) as (_, two):
        assert (await page(one))("exporter_active") == 1
        beside = await page(two)
        assert beside("exporter_active") == 0
        assert beside("queue_messages", state="queued") is None
        assert "process_cpu_seconds_total" in beside.samples
        first.send_signal(signal.SIGKILL)
        first.wait()

        async def active() -> bool:
            return (await page(two))("exporter_active") == 1

        await wait_until(active, timeout=30)
        assert (await page(two)).by("queue_messages", "state")["queued"] == 7


@pytest.mark.slow
async def test_one_that_is_stopped_and_goes_on_stands_by(store: Store, wait_until: Any) -> None:
    await load(store, {LANE: 7})
    with process(store) as (first, one), process(store) as (_, two):
        assert (await page(one))("exporter_active") == 1
        first.send_signal(signal.SIGSTOP)

        async def active() -> bool:
            return (await page(two))("exporter_active") == 1

        await wait_until(active, timeout=30)
        first.send_signal(signal.SIGCONT)
        shown = await asyncio.gather(*[page(url) for url in (one, two) * 5])
        assert [found("exporter_active") for found in shown] == [0, 1] * 5


@pytest.mark.slow
async def test_sigterm_ends_it_in_good_order(store: Store) -> None:
    with process(store) as (running, url):
        await page(url)
        assert await store.redis.exists(store.keys.plain("exporter"))
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 0
        assert not await store.redis.exists(store.keys.plain("exporter"))


@pytest.mark.slow
def test_what_it_can_not_start_with_is_said() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "broadcaster.exporter"],
        env={**os.environ, "BROADCASTER_EXPORTER_PORT": "many"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 2
    assert "BROADCASTER_EXPORTER_PORT" in done.stderr
