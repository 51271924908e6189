"""What a worker gives back, as it came too late for its permits, is asked for again at once."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING, Any

from dispatching import dispatching
from loading import counts, load

from broadcaster.domain.failures import Kind, Outcome
from broadcaster.domain.record import State
from workers.plan import STALE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from broadcaster.store.connection import Store

    Wait = Callable[..., Awaitable[Any]]

LANE = "+15550000001"
RATE = 500.0
MANY = 200
STALLS = (MANY - 60, MANY - 35, MANY - 10)


class Twilio:
    """Accepts everything; while it takes some of the last ones the whole process stands still."""

    def __init__(self) -> None:
        self.numbers = itertools.count(1)

    async def post(self, _: bytes) -> Outcome:
        number = next(self.numbers)
        if number in STALLS:
            time.sleep(STALE_SECONDS * 3)  # noqa: ASYNC251 - that is the fault
        return Outcome(Kind.ACCEPTED, sid=f"SM{number:032x}", http_status=201)


async def test_a_stall_costs_a_broadcast_no_more_than_itself(store: Store, wait_until: Wait) -> None:
    """No renewal, which also tells of work, comes to its help: each is half a minute after the other."""
    bid = await load(store, {LANE: MANY}, rates={LANE: RATE})
    twilio = Twilio()

    async def done() -> bool:
        return await counts(store, bid) == {State.ACCEPTED: MANY}

    async with dispatching(store, twilio, renew_seconds=30.0, lease_seconds=90.0):
        await wait_until(done, timeout=5)
    assert next(twilio.numbers) == MANY + 1
