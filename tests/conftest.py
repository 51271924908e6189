"""What every test may ask for: a real server, a clean database, and waiting for a condition."""

from __future__ import annotations

import asyncio
import inspect
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import hypothesis
import pytest
from compiling import compile_share
from redis import Redis

from broadcaster.store.connection import Store, open_store
from broadcaster.store.embedded import EmbeddedServer
from broadcaster.store.server_binary import ServerBinary, bundled_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    type_of_wait = Callable[..., Awaitable[Any]]

#: A busy machine is no fault of what is tested, so time is no reason to fail. `thorough` looks at more.
_PATIENT: Any = {"deadline": None, "suppress_health_check": [hypothesis.HealthCheck.too_slow]}
hypothesis.settings.register_profile("quick", max_examples=40, **_PATIENT)
hypothesis.settings.register_profile("thorough", max_examples=400, **_PATIENT)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

#: Files that take longest, mostly because they wait for programs: what comes last is waited for alone.
_LONGEST: Final = ("test_once.py", "test_readme.py", "test_cli_send.py")
_LONG: Final = ("flow", "api")


def pytest_configure(config: pytest.Config) -> None:
    """Before one of several processes imports the tests."""
    if (process := getattr(config, "workerinput", None)) is not None:
        number = int(process["workerid"].removeprefix("gw"))
        compile_share(config, number=number % process["workercount"], of=process["workercount"])


@pytest.hookimpl(trylast=True)  # pytest-randomly comes before: the order stays random but for this
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order what several processes take, file by file (make test: --no-loadscope-reorder).

    Long and short ones are mixed, as many long ones at once make each other wait for the processor until
    their time-outs; the last fifth of the run has only short ones.
    """
    if not hasattr(config, "workerinput"):
        return
    files = dict.fromkeys(item.path for item in items)  # in their order
    long = [file for file in files if file.parent.name in _LONG]
    short = [file for file in files if file not in long]
    place = {file: n / len(short) for n, file in enumerate(short)}
    place |= {file: 0.8 * n / len(long) for n, file in enumerate(long)}
    items.sort(key=lambda item: -1 if item.path.name in _LONGEST else place[item.path])


def server_under_test() -> ServerBinary:
    """Return the server the run is about: BROADCASTER_TEST_SERVER's, else the bundled Valkey."""
    chosen = os.environ.get("BROADCASTER_TEST_SERVER")
    path = Path(chosen) if chosen else bundled_server()
    if path is None:
        pytest.fail("no server to test with: set BROADCASTER_TEST_SERVER to a redis-server or valkey-server")
    return ServerBinary.probe(path)


@pytest.fixture(scope="session")
def server_binary() -> ServerBinary:
    """The server program this run uses, for tests that start, kill and restart their own."""
    return server_under_test()


@pytest.fixture(scope="session")
def redis_server(
    tmp_path_factory: pytest.TempPathFactory, server_binary: ServerBinary
) -> Iterator[EmbeddedServer]:
    """One server for the whole run; tests that kill or pause a server start their own."""
    with EmbeddedServer(
        tmp_path_factory.mktemp("redis"),
        binary=server_binary,
        port=0,
        options={"enable-debug-command": "local"},
    ) as server:
        yield server


@pytest.fixture
def redis_url(redis_server: EmbeddedServer) -> str:
    """The run's server, emptied: data and settings a test may have left.

    Its scripts stay: the server would compile all of them for every test again, and that took longer than the
    tests. What happens on a server that does not know them is shown by tests that flush them.
    """
    with Redis.from_url(redis_server.url) as client:
        client.flushall()
        client.config_set("maxmemory", 0)
    return redis_server.url


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Store]:
    """A new installation on the emptied server."""
    opened = await open_store(redis_url)
    yield opened
    await opened.close()


@pytest.fixture
def wait_until() -> type_of_wait:
    """Wait for a condition instead of sleeping: `await wait_until(lambda: done, timeout=5)`."""
    return _wait_until


async def _wait_until(
    predicate: Callable[[], Any],
    timeout: float = 10.0,  # noqa: ASYNC109 - a test reads better so
    description: str = "",
) -> Any:
    """Return the first true value of `predicate`, plain or async; fail after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        value = predicate()
        if inspect.isawaitable(value):
            value = await value
        if value:
            return value
        if time.monotonic() > deadline:
            what = description or getattr(predicate, "__name__", "the condition")
            pytest.fail(f"{what}: not so after {timeout:g} s (last value {value!r})")
        await asyncio.sleep(0.005)
