"""Exporters beside each other, and Redis that is away, empty, another's, or takes no writes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from driving import LANE
from loading import load
from prometheus_client import CollectorRegistry
from redis.exceptions import ConnectionError as RedisConnectionError
from scraping import exporting, scrape

from broadcaster.exporter import scraping
from broadcaster.exporter.app import App
from broadcaster.exporter.scraping import Exporter
from broadcaster.reporting.installation.gathering import Gatherer
from broadcaster.store.connection import open_store
from broadcaster.telemetry.masking import Masking

if TYPE_CHECKING:
    import pytest

    from broadcaster.store.connection import Store

INACTIVE = {"broadcaster_exporter_active"}


async def test_of_two_one_is_active_and_the_other_shows_nothing_else(store: Store) -> None:
    await load(store, {LANE: 2})
    async with exporting(store) as second:
        async with exporting(store) as first:
            assert (await scrape(first))("exporter_active") == 1
            standing_by = await scrape(second)
            assert standing_by("exporter_active") == 0
            assert standing_by.samples.keys() == INACTIVE
            assert (await scrape(first)).by("queue_messages", "state")["queued"] == 2
        # the first has ended in good order: nobody waits for its lease
        assert (await scrape(second)).by("queue_messages", "state")["queued"] == 2


async def test_a_lease_that_ran_out_is_taken_over_and_not_taken_back(store: Store) -> None:
    async with exporting(store) as first, exporting(store) as second:
        await scrape(first)
        key = store.keys.plain("exporter")
        assert 0 < await store.redis.pttl(key) <= 15_000
        await store.redis.pexpire(key, 8_000)
        await scrape(first)
        assert await store.redis.pttl(key) <= 8_000, "it is not written again before half of it is over"
        await store.redis.pexpire(key, 7_000)
        await scrape(first)
        assert await store.redis.pttl(key) > 8_000
        await store.redis.delete(store.keys.plain("exporter"))  # as its end does, or a clock that jumped
        assert (await scrape(second))("exporter_active") == 1
        again = await scrape(first)
        assert again.samples.keys() == INACTIVE
        await first.close()  # gives nothing back that isn't its own
        assert await store.redis.get(store.keys.plain("exporter")) == second.name.encode()


async def test_one_that_was_stopped_while_it_read_shows_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process may be stopped between its lease and its answer for longer than the lease."""
    clock = [1000.0]
    monkeypatch.setattr("time.clock_gettime", lambda _: clock[0])
    read = Gatherer.read

    async def stopped(self: Gatherer, lease: Any) -> Any:
        found = await read(self, lease)
        clock[0] += 7.6
        return found

    async with exporting(store) as exporter:
        await scrape(exporter)
        monkeypatch.setattr(Gatherer, "read", stopped)
        assert (await scrape(exporter)).samples.keys() == INACTIVE


async def test_one_that_is_scraped_no_more_lets_go(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1000.0]
    monkeypatch.setattr("time.clock_gettime", lambda _: clock[0])
    async with exporting(store) as exporter:
        await scrape(exporter)
        clock[0] += 100
        await exporter._keep()
        assert await store.redis.get(store.keys.plain("exporter")) == exporter.name.encode()
        clock[0] += 100
        await exporter._keep()
        assert await store.redis.get(store.keys.plain("exporter")) is None


async def test_scrapes_at_the_same_time_share_a_reading(store: Store) -> None:
    async with exporting(store) as exporter:
        await exporter.scrape()
        before = (await store.redis.info("stats"))["total_commands_processed"]
        answers = await asyncio.gather(*[exporter.scrape() for _ in range(20)])
        after = (await store.redis.info("stats"))["total_commands_processed"]
        assert len(set(answers)) == 1
        assert after - before < 200, "commands within scripts are counted, too"


async def test_an_emptied_redis_is_said_and_a_new_installation_is_joined(store: Store) -> None:
    await load(store, {LANE: 2})
    async with exporting(store) as exporter:
        assert (await scrape(exporter))("installation_changes_total") == 0
        await store.redis.flushall()
        empty = await scrape(exporter)
        assert (empty("redis_up"), empty("installation_found"), empty("exporter_active")) == (1, 0, 0)
        assert empty("queue_messages", state="queued") is None
        assert await store.redis.keys("*") == [], "who reads begins nothing"
        another = await open_store(store.url, store.keys.prefix)
        await load(another, {LANE: 3})
        found = await scrape(exporter)
        assert found("installation_found") == found("installation_changes_total") == 1
        assert found.by("queue_messages", "state")["queued"] == 3
        await another.close()


async def test_a_redis_that_is_gone_leaves_nothing_stale_and_comes_back(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    await load(store, {LANE: 2})
    async with exporting(store) as exporter:
        assert (await scrape(exporter))("redis_up") == 1
        with monkeypatch.context() as patch:
            patch.setattr(exporter._redis.connection_pool, "get_connection", _refused)
            gone = await scrape(exporter)
            assert gone.samples.keys() == {"broadcaster_exporter_active", "broadcaster_redis_up"}
            assert gone("redis_up") == gone("exporter_active") == 0
            assert not await exporter.ready()
        assert (await scrape(exporter)).by("queue_messages", "state")["queued"] == 2
        assert await exporter.ready()


async def _refused(*_: Any, **__: Any) -> Any:
    raise RedisConnectionError("refused")


async def test_a_reading_that_takes_too_long_is_given_up(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with exporting(store) as exporter:
        await scrape(exporter)
        monkeypatch.setattr(scraping, "PATIENCE_SECONDS", 0.1)
        await store.redis.client_pause(400)
        assert (await scrape(exporter))("redis_up") == 0
        await store.redis.ping()
        monkeypatch.undo()
        assert (await scrape(exporter))("redis_up") == 1


async def test_a_redis_that_takes_no_writes_is_shown_by_all(store: Store) -> None:
    await load(store, {LANE: 2})
    async with exporting(store) as first, exporting(store) as second:
        await scrape(first)
        await store.redis.execute_command("REPLICAOF", "127.0.0.1", "1")
        try:
            for exporter in (first, second):
                found = await scrape(exporter)
                assert (found("redis_up"), found("redis_writable"), found("exporter_active")) == (1, 0, 0)
                assert found("queue_messages", state="queued") is None
        finally:
            await store.redis.execute_command("REPLICAOF", "NO", "ONE")
        assert (await scrape(first))("redis_writable") == 1


async def test_a_full_redis_is_read_all_the_same(store: Store) -> None:
    await load(store, {LANE: 2})
    async with exporting(store) as exporter:
        await scrape(exporter)
        await store.redis.config_set("maxmemory", "1mb")
        found = await scrape(exporter)
        assert (found("exporter_active"), found("redis_writable")) == (1, 0)
        assert found("redis_memory_max_bytes") == 1 << 20
        assert found.by("queue_messages", "state")["queued"] == 2


async def test_it_starts_without_redis() -> None:
    exporter = Exporter("redis://127.0.0.1:1", "bc:", Masking())
    assert (await scrape(exporter))("redis_up") == 0
    await exporter.close()


async def test_what_it_answers_over_http() -> None:
    exporter = Exporter("redis://127.0.0.1:1", "bc:", Masking())
    app = App(exporter, CollectorRegistry())

    async def ask(path: str, method: str = "GET") -> tuple[int, bytes]:
        sent: list[dict[str, Any]] = []

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await app({"type": "http", "method": method, "path": path}, None, send)
        return sent[0]["status"], sent[1]["body"]

    assert (await ask("/healthz"))[0] == 200
    assert (await ask("/readyz"))[0] == 503
    assert (await ask("/metrics")) == (200, (await exporter.scrape()))
    assert (await ask("/metrics", "HEAD")) == (200, b"")
    assert (await ask("/metrics", "POST"))[0] == 405
    assert (await ask("/"))[0] == 404
    await exporter.close()
