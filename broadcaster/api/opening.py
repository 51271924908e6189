"""What an API process works with, opened in order and closed in reverse."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from broadcaster.api.admission import Admission
from broadcaster.api.cursors import Cursors
from broadcaster.api.parts import Parts
from broadcaster.api.webhooks.opening import webhook_parts
from broadcaster.intake.singles import SingleMessages
from broadcaster.intake.windows import Windows
from broadcaster.ledger.optouts import OptOuts
from broadcaster.operations import audit
from broadcaster.reporting.clock import watch_clock
from broadcaster.reporting.counting import counting
from broadcaster.runtime import opened_store, signing_keys, twilio_rest
from broadcaster.settings import SettingsError
from broadcaster.twilio.rest import TwilioUnreachable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broadcaster.ledger.pools import PoolReader
    from broadcaster.settings import Settings
    from broadcaster.telemetry.metrics import Metrics
    from broadcaster.twilio.rest import TwilioRest

#: Starts and checks of verifications, at once; they wait for no list or template that Twilio is slow with.
_VERIFY_CONNECTIONS: Final = 64


@contextlib.asynccontextmanager
async def opened_parts(settings: Settings, redis_url: str, metrics: Metrics) -> AsyncIterator[Parts]:
    """Open everything. Raises a `StoreError`; without Twilio's credentials what needs none still works."""
    async with contextlib.AsyncExitStack() as stack:
        store = await stack.enter_async_context(opened_store(settings, redis_url))
        store.tell(counting(metrics))
        await audit.keep(store, settings.audit_days)
        stack.push_async_callback(_ended, asyncio.create_task(watch_clock(store, metrics), name="clock"))
        twilio = verify = None
        with contextlib.suppress(SettingsError):
            twilio = await stack.enter_async_context(twilio_rest(settings))
            verify = await stack.enter_async_context(twilio_rest(settings, connections=_VERIFY_CONNECTIONS))
        keys = await signing_keys(settings, store)
        webhooks = webhook_parts(settings, store, metrics, keys)
        stack.push_async_callback(webhooks.writer.close)
        windows = Windows(store, twilio)
        singles = SingleMessages(
            store,
            settings,
            _pools_of(twilio),
            checks=(windows.of_request,),
            verified=twilio.trial.known if twilio else None,
            metrics=metrics,
        )
        stack.push_async_callback(singles.close)
        yield Parts(
            store=store,
            settings=settings,
            admission=Admission(store),
            cursors=Cursors(keys),
            metrics=metrics,
            twilio=twilio,
            verify=verify,
            singles=singles,
            opt_outs=OptOuts(),
            windows=windows,
            webhooks=webhooks,
        )


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _pools_of(twilio: TwilioRest | None) -> PoolReader:
    """Return what reads a Messaging Service's senders."""
    if twilio is not None:
        return twilio.service_pool

    async def unread(service: str) -> list[str]:
        raise TwilioUnreachable(f"the pool of {service} can't be read without Twilio's credentials")

    return unread
