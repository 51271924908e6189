"""arq's part: jobs and cron.

Each finds its work in our own keys, so that a lost job, an expired one or one run twice changes nothing.
"""

from __future__ import annotations

import contextlib
import functools
from typing import TYPE_CHECKING, Any, Final, cast

import structlog
from arq.cron import cron
from arq.worker import func
from redis.exceptions import RedisError

from broadcaster.domain.openings import closed_words
from broadcaster.domain.record import Reason
from broadcaster.intake.load import abandon, remove_data
from broadcaster.intake.streams import remove_streams
from broadcaster.lanes import claims, control
from broadcaster.lanes.windows import keep_ahead
from broadcaster.ledger.rewinding import rewind
from broadcaster.operations.retention import remove_old
from broadcaster.store.errors import StoreError
from workers import starting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from arq.cron import CronJob
    from arq.typing import WorkerCoroutine
    from arq.worker import Function

    from broadcaster.events.courier import Courier
    from broadcaster.store.connection import Store
    from broadcaster.twilio.content import Templates
    from workers.following import Follower
    from workers.inboxes import Inboxes
    from workers.polling import Poller
    from workers.pools import Pools
    from workers.recalling import Recaller
    from workers.settling import Settler

    Job = Callable[[dict[str, Any]], Awaitable[None]]

log = structlog.get_logger("jobs")

SWEEP_PATIENCE_SECONDS: Final = 2.0
SKIPS_AT_ONCE: Final = 20
EVERY_SECOND: Final = set(range(60))
EVERY_FIVE_SECONDS: Final = set(range(0, 60, 5))
#: Three seconds a million unsent, for each worker that is at it; and `rewinding.WORKERS_SECONDS`.
REWIND_SECONDS: Final = 600
#: Some hundred thousand from Twilio's list, or what it does not show one by one, at a pace.
POLL_SECONDS: Final = 3600
#: How long single messages are kept after the last change of any in their stream.
MESSAGES_KEPT_SECONDS: Final = 86_400
#: How long people of a broadcast are known after its end.
RETENTION_DAYS: Final = 30
_rewinding: Final[set[Store]] = set()


async def sweep_leases(ctx: dict[str, Any]) -> None:
    """Take back the claims of workers whose lease ran out."""
    store: Store = ctx["store"]
    left = 1
    while left:
        swept = await store.run(claims.sweep(ctx.get("patience_seconds", SWEEP_PATIENCE_SECONDS)))
        left = sum(lost.left for lost in swept)
        for lost in swept:
            log.warning("worker.lost", worker=lost.worker, claims=lost.ended, in_doubt=lost.doubts)


async def rewind_lost(ctx: dict[str, Any]) -> None:
    """Where Redis has lost writes: put in doubt what was unsent, then let the rest go on.

    Once at a time in each process: of millions that takes longer than the second until it is called again,
    and ever more of them would leave each other no time to come to an end.
    """
    store: Store = ctx["store"]
    if store in _rewinding:
        return
    _rewinding.add(store)
    try:
        done = await rewind(store)
    finally:
        _rewinding.discard(store)
    if done is not None:
        log.warning("redis.rewound", since=done.since, broadcasts=done.broadcasts, in_doubt=done.messages)


async def start_due(ctx: dict[str, Any]) -> None:
    """Start scheduled broadcasts whose time has come."""
    await starting.start_due(ctx["store"], ctx.get("templates"))


async def keep_windows(ctx: dict[str, Any]) -> None:
    """Keep ahead when broadcasts may send, and say once of each that it waits for its hours, or goes on."""
    for one in await keep_ahead(ctx["store"]):
        if one.opens is None:
            log.info("broadcast.window_open", broadcast=one.broadcast, window=str(one.window))
        else:
            reason = closed_words(one.window, one.opens)
            log.info("broadcast.window_closed", broadcast=one.broadcast, reason=reason)


async def end_expired(ctx: dict[str, Any]) -> None:
    """Find broadcasts past their time, and canceled ones, whose unsent records still wait to be skipped."""
    store: Store = ctx["store"]
    now, _ = await store.redis.time()
    for raw in await store.redis.smembers(store.keys.plain("active")):
        expires, queued, retry = await store.redis.hmget(
            store.keys.broadcast(raw.decode()), "expires", "n0", "n2"
        )
        if expires and float(expires) <= now and int(queued or 0) + int(retry or 0) > 0:
            await skip_unsent(ctx, raw.decode())
    for raw in await store.redis.smembers(store.keys.plain("skipping")):
        await skip_unsent(ctx, raw.decode())


async def skip_unsent(ctx: dict[str, Any], broadcast: str) -> None:
    """Skip all unsent records of a canceled or expired broadcast, batch by batch."""
    store: Store = ctx["store"]
    keys = store.keys
    state = await store.redis.hget(keys.broadcast(broadcast), "state")
    reason = Reason.CANCELED if state == b"canceled" else Reason.EXPIRED
    calls = []
    skipped = 0
    for i, raw in enumerate(await store.redis.lrange(keys.broadcast(broadcast, ":lanes"), 0, -1)):
        lane = raw.decode()
        for number in range(int(await store.redis.hget(keys.flow(broadcast, lane), "n") or 0)):
            calls.append(control.skip(broadcast, lane, f"{i}.{number}", reason))
            if len(calls) >= SKIPS_AT_ONCE:
                skipped += sum(await store.run_all(calls))
                calls = []
    skipped += sum(await store.run_all(calls)) if calls else 0
    await store.redis.srem(keys.plain("skipping"), broadcast)
    if skipped:
        log.info("broadcast.skipped", broadcast=broadcast, records=skipped, reason=reason.name.lower())


async def abandon_imports(ctx: dict[str, Any]) -> None:
    """End imports whose process died, and remove what they had written."""
    store: Store = ctx["store"]
    for raw in await store.redis.smembers(store.keys.plain("importing")):
        broadcast = raw.decode()
        reason = "the importing process ended before the list was complete"
        if await store.run(abandon(broadcast, reason)) in ("ok", "failed", "gone"):
            removed = await remove_data(store, broadcast)
            log.warning("import.abandoned", broadcast=broadcast, keys=removed)


async def remove_old_streams(ctx: dict[str, Any]) -> None:
    """Remove streams of single messages of which nothing has changed for a day."""
    store: Store = ctx["store"]
    removed = await remove_streams(store, ctx.get("messages_kept_seconds", MESSAGES_KEPT_SECONDS))
    if removed:
        log.info("streams.removed", count=removed)


async def remove_old_people(ctx: dict[str, Any]) -> None:
    """Remove people's data of broadcasts that ended long enough ago."""
    store: Store = ctx["store"]
    removed = await remove_old(store, ctx.get("retention_days", RETENTION_DAYS))
    if any(removed):
        log.info("people.removed", **removed._asdict())


async def settle_doubt(ctx: dict[str, Any]) -> None:
    """Look for what became of messages whose answer never came."""
    settler: Settler | None = ctx.get("settler")
    if settler is not None:
        await settler.round()


async def poll_states(ctx: dict[str, Any]) -> None:
    """Ask Twilio what became of messages of which nobody has told it."""
    poller: Poller | None = ctx.get("poller")
    if poller is not None:
        await poller.round()


async def recall_handed(ctx: dict[str, Any]) -> None:
    """Cancel at Twilio what waits there for its hour, where people opted out or a broadcast was canceled."""
    recaller: Recaller | None = ctx.get("recaller")
    if recaller is not None:
        await recaller.round()


async def read_inboxes(ctx: dict[str, Any]) -> None:
    """Ask Twilio who wrote, where free text on WhatsApp waits for its turn."""
    inboxes: Inboxes | None = ctx.get("inboxes")
    if inboxes is not None:
        await inboxes.round()


async def read_pools(ctx: dict[str, Any]) -> None:
    """Ask Twilio which senders are in the pools of services, where that was long ago."""
    pools: Pools | None = ctx.get("pools")
    if pools is not None:
        await pools.round()


async def deliver_events(ctx: dict[str, Any]) -> None:
    """Let endpoints of events out be served that have something due."""
    courier: Courier | None = ctx.get("courier")
    if courier is not None:
        await courier.round()


async def follow_callbacks(ctx: dict[str, Any]) -> None:
    """See to what follows from failed deliveries, and look for the messages of strays."""
    follower: Follower | None = ctx.get("follower")
    if follower is not None:
        await follower.round()


async def without_arq(
    store: Store, courier: Courier | None = None, templates: Templates | None = None
) -> None:
    """Do once what is done every second: a Redis whose memory is full takes no jobs, but all of this."""
    with contextlib.suppress(RedisError, OSError, StoreError):
        for job in (rewind_lost, sweep_leases, end_expired, keep_windows, start_due):
            await job({"store": store, "courier": courier, "templates": templates})


def _again_soon(job: Job) -> Job:
    """Let a job that Redis broke off, or refused, begin again at its turn, without arq's traceback."""

    @functools.wraps(job)
    async def run(ctx: dict[str, Any]) -> None:
        try:
            await job(ctx)
        except (RedisError, StoreError, OSError) as error:
            log.warning("job.broken_off", job=job.__name__, error=str(error))

    return run


def functions() -> list[Function]:
    """Return the jobs that can be enqueued."""
    return [func(skip_unsent, keep_result=0, max_tries=1)]


def crons(settle_every_seconds: float = 5.0) -> list[CronJob]:
    """Return what runs by the clock, on one worker at a time."""
    settling = set(range(0, 60, max(1, int(settle_every_seconds))))
    return [
        _at(EVERY_SECOND, rewind_lost, REWIND_SECONDS),
        *(_at(EVERY_SECOND, job, 120) for job in (sweep_leases, start_due, end_expired, deliver_events)),
        _at(EVERY_SECOND, follow_callbacks, 120),
        _at(settling, settle_doubt, 120),
        _at(EVERY_FIVE_SECONDS, poll_states, POLL_SECONDS),
        _at(EVERY_FIVE_SECONDS, recall_handed, POLL_SECONDS),
        *(_at(EVERY_FIVE_SECONDS, job, 600) for job in (read_inboxes, read_pools)),
        *(_at(EVERY_FIVE_SECONDS, job, 60) for job in (abandon_imports, keep_windows)),
        _at({0}, remove_old_streams, 3000, minute=17),
        _at({0}, remove_old_people, 3400, minute=37, at_startup=True),
    ]


def _at(
    seconds: set[int], job: Job, timeout: int, *, minute: int | None = None, at_startup: bool = False
) -> CronJob:
    run = cast("WorkerCoroutine", _again_soon(job))
    return cron(
        run,
        second=seconds,
        minute=minute,
        keep_result=0,
        max_tries=1,
        timeout=timeout,
        run_at_startup=at_startup,
    )
