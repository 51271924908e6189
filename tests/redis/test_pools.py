"""Pools of Messaging Services: when they were read, and what is read anew before it decides."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from driving import ask, join, result, take, tell
from loading import counts, load

from broadcaster.domain.evidence import Patience
from broadcaster.domain.record import State
from broadcaster.domain.senders import NoSenderError, parse_sender
from broadcaster.intake.senders import POOL_OLD_SECONDS, resolve_lanes
from broadcaster.lanes import control
from broadcaster.ledger.pools import Pool, keep_pool, pool_of
from broadcaster.telemetry.metrics import Metrics
from broadcaster.twilio.resources import MessagePage
from broadcaster.twilio.rest import TwilioError
from workers.pools import EVERY_SECONDS, Pools
from workers.settling import Settler, Settling

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broadcaster.store.connection import Store

SERVICE, OTHER = "MG" + "a" * 32, "MG" + "b" * 32
PLAIN, RCS, WHATSAPP = "+14155550100", "rcs:agent", "whatsapp:+14155550100"


class Twilio:
    """Twilio's pools, and an empty list of messages."""

    def __init__(self, *names: str) -> None:
        self.names = list(names)
        self.error: TwilioError | None = None
        self.asked: list[str] = []

    async def read(self, service: str) -> list[str]:
        self.asked.append(service)
        if self.error is not None:
            raise self.error
        return self.names

    async def message_pages(self, **_: Any) -> AsyncIterator[MessagePage]:
        yield MessagePage()


async def test_an_older_reading_changes_nothing(store: Store) -> None:
    told = [
        (keep_pool(SERVICE, [PLAIN], 100), 1, Pool((PLAIN,), 100, 100)),
        (keep_pool(SERVICE, [PLAIN], 100), 0, Pool((PLAIN,), 100, 100)),
        (keep_pool(SERVICE, [PLAIN, RCS], 99), 0, Pool((PLAIN,), 100, 100)),
        (keep_pool(SERVICE, [PLAIN, WHATSAPP], 200), 1, Pool((PLAIN, WHATSAPP), 200, 100)),
        (keep_pool(SERVICE, [PLAIN, RCS], 300), 2, Pool((PLAIN, RCS), 300, 0)),
        (keep_pool(SERVICE, [PLAIN], 400), 1, Pool((PLAIN,), 400, 400)),
        (keep_pool(SERVICE, [], 500), 1, Pool((), 500, 400)),
    ]
    assert await pool_of(store, SERVICE) == Pool()
    for call, changed, known in told:
        assert (await store.run(call), await pool_of(store, SERVICE)) == (changed, known)
    await store.redis.hset(store.keys.lane(OTHER), "members", PLAIN)  # as a version before kept it
    await store.run(keep_pool(OTHER, [PLAIN], 300))
    assert await pool_of(store, OTHER) == Pool((PLAIN,), 300, 1)


async def test_a_pool_is_read_where_it_never_was_or_long_ago(store: Store) -> None:
    """An operator has set the service's rate, or it was the sum of a pool of last month."""
    twilio, now = Twilio(PLAIN, RCS), (await store.redis.time())[0]
    await store.run(control.set_rate(SERVICE, 50))
    senders = [parse_sender(SERVICE)]
    for read_before, asked in ((0, 1), (now - POOL_OLD_SECONDS - 9, 2), (now - 60, 2)):
        if read_before:
            await store.run(keep_pool(SERVICE, [PLAIN], read_before))
        (lane,) = await resolve_lanes(senders, store, twilio.read)
        assert len(twilio.asked) == asked
        assert (lane.rate, lane.origin) == (50, "set")
        assert lane.pool == ((PLAIN,) if read_before == now - 60 else (PLAIN, RCS))
    await store.redis.hset(store.keys.lane(SERVICE), "members_at", 1)
    twilio.error = TwilioError(503)
    (lane,) = await resolve_lanes(senders, store, twilio.read)
    assert (lane.rate, lane.pool, lane.pool_read) == (50, (PLAIN,), 1), "what is known holds"
    twilio.error = TwilioError(404, 20404)
    with pytest.raises(NoSenderError):
        await resolve_lanes(senders, store, twilio.read)


async def test_workers_read_pools_anew_and_leave_alone_what_cannot_be_read(store: Store) -> None:
    twilio, now = Twilio(PLAIN), (await store.redis.time())[0]
    for lane in (SERVICE, OTHER, PLAIN):
        await store.redis.sadd(store.keys.plain("lanes"), lane)
    await store.run(keep_pool(OTHER, [PLAIN], now - EVERY_SECONDS + 60))
    pools = Pools(store, twilio.read)
    for _ in range(2):
        await pools.round()
    assert twilio.asked == [SERVICE]
    assert (await pool_of(store, SERVICE)).names == (PLAIN,)
    await store.redis.hset(store.keys.lane(OTHER), "members_at", 1)
    twilio.error = TwilioError(403, 20003)
    for _ in range(2):
        await pools.round()
    assert twilio.asked == [SERVICE, OTHER]
    assert await pool_of(store, OTHER) == Pool((PLAIN,), 1, now - EVERY_SECONDS + 60)


@pytest.mark.parametrize(
    ("before", "now_in", "error", "ends"),
    [
        ([PLAIN], [PLAIN], None, State.RETRY),
        ([PLAIN], [PLAIN, RCS], None, State.DEAD),  # it joined since the pool was read
        ([PLAIN, RCS], [PLAIN], None, State.DEAD),  # it has left since
        (None, [PLAIN], None, State.DEAD),  # nobody knows what it was
        ([PLAIN], [], TwilioError(503), State.IN_DOUBT),
    ],
)
async def test_absence_counts_where_the_pool_was_plain_before_and_after(
    store: Store,
    before: list[str] | None,
    now_in: list[str],
    error: TwilioError | None,
    ends: State,
) -> None:
    bid = await load(store, {SERVICE: 1})
    if before is not None:
        await store.run(keep_pool(SERVICE, before, 1))
    epoch = (await join(store)).optout_epoch
    (held,) = await take(store, horizon_seconds=5)
    assert (await ask(store, held, optout_epoch=epoch)).yes == "1"
    await tell(store, held, [result(0, 1, State.IN_DOUBT, code=503, spend=1)])
    twilio = Twilio(*now_in)
    twilio.error = error
    how = Settling(Patience(0.0, 0.0))
    await Settler(store, twilio, how, Metrics(), Pools(store, twilio.read)).round()
    assert await counts(store, bid) == {ends: 1}
    assert len(twilio.asked) == (before == [PLAIN]), "asked only where it may help"
