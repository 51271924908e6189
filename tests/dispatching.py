"""A worker's dispatcher beside the test, in its own process."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from broadcaster.domain.failures import Kind, Outcome
from broadcaster.ledger.outcomes import RetryPolicy
from broadcaster.store.ending import end
from broadcaster.telemetry.metrics import Metrics
from workers.dispatcher import Dispatcher
from workers.lease import Limits

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broadcaster.store.connection import Store
    from workers.outgoing import Sends


class Accepting:
    """Twilio, which takes everything, a turn of the event loop later."""

    def __init__(self) -> None:
        self.sent = 0

    async def post(self, _form: bytes) -> Outcome:
        await asyncio.sleep(0)
        self.sent += 1
        return Outcome(kind=Kind.ACCEPTED, sid=f"SM{self.sent:032x}", http_status=201)


@asynccontextmanager
async def dispatching(
    store: Store, twilio: Sends, metrics: Metrics | None = None, **limits: Any
) -> AsyncIterator[asyncio.Task[None]]:
    """Run it until the block ends, or it is asked to drain."""
    chosen = Limits(**{"concurrency": 8, "renew_seconds": 0.05, "drain_seconds": 5.0} | limits)
    dispatcher = Dispatcher(store, twilio, chosen, RetryPolicy(base_seconds=0.1), metrics or Metrics())
    dispatcher.on_drain = dispatcher.stop
    task = asyncio.create_task(dispatcher.run())
    try:
        yield task
        dispatcher.stop()
        await task
    finally:
        await end([task])
