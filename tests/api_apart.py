"""A Redis and an API process for a module of tests that speak to it from outside, without an event loop."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from driving import LANE
from ended import ended
from serving import key_for, serving

from broadcaster.lanes.control import pause_lane, resume_lane
from broadcaster.reporting.lanes import lane_names
from broadcaster.store.connection import Store, open_store
from broadcaster.store.embedded import EmbeddedServer

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Sequence
    from pathlib import Path

    from broadcaster.domain.api_keys import Scope

T = TypeVar("T")


@dataclass
class Apart:
    """What runs: the API's address, a key that may do everything, the store behind it, the Twilio it has."""

    url: str
    key: str
    redis_url: str
    store: Store
    runner: asyncio.Runner
    twilio: str = ""

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something with the store."""
        return self.runner.run(work)

    def ended(self, codes: Sequence[int]) -> str:
        """Make a broadcast whose messages ended with these codes, from a sender that nobody else uses."""

        async def work() -> str:
            others = [name for name in await lane_names(self.store) if name != LANE]
            await self.store.run_all([pause_lane(name, "for a moment") for name in others])
            bid = await ended(self.store, codes)
            await self.store.run_all([resume_lane(name) for name in others])
            return bid

        return self.do(work())

    def key_of(self, *scopes: Scope, **more: Any) -> str:
        """Make another key."""
        return self.do(key_for(self.store, *scopes, **more))

    @property
    def port(self) -> int:
        """Where the API listens."""
        return int(self.url.rpartition(":")[2])


@contextlib.contextmanager
def api_apart(folder: Path, **variables: str) -> Iterator[Apart]:
    """Run them until the block ends."""
    with (
        EmbeddedServer(folder, port=0) as redis,
        asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner,
    ):
        stack = AsyncExitStack()

        async def begin() -> Apart:
            store = await open_store(redis.url)
            stack.push_async_callback(store.close)
            key = await key_for(store)
            api = await stack.enter_async_context(serving(store, key=key, **variables))
            return Apart(api.url, key, redis.url, store, runner)

        try:
            yield runner.run(begin())
        finally:
            runner.run(stack.aclose())
