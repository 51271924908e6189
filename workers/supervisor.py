"""One worker process: the dispatcher, and arq's Worker built anew around it whenever Redis comes back.

arq's Worker runs where the lease puts the process on duty: in two of an installation's workers.

Stops in reverse order within one budget: the dispatcher's drain (requests in flight end or are given up to
doubt) is the longest part, `Limits.drain_seconds`; arq's jobs are cut off at once, since each can be run
again.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import structlog
from arq.connections import ArqRedis
from arq.worker import Worker
from redis.exceptions import RedisError

from broadcaster.store.connection import client
from broadcaster.store.ending import end
from broadcaster.store.errors import StoreError
from broadcaster.store.jobs import deserialize, queue_name, serialize
from workers.exhausted import end_if_exhausted, watch
from workers.jobs import MESSAGES_KEPT_SECONDS, RETENTION_DAYS, crons, functions, without_arq
from workers.owner import watch_owners

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from broadcaster.events.courier import Courier
    from broadcaster.store.connection import Store
    from broadcaster.twilio.content import Templates
    from workers.dispatcher import Dispatcher
    from workers.duty import Duty
    from workers.following import Follower
    from workers.inboxes import Inboxes
    from workers.polling import Poller
    from workers.pools import Pools
    from workers.recalling import Recaller
    from workers.settling import Settler

log = structlog.get_logger("supervisor")

REBUILD_SECONDS: Final = 1.0
CLOSE_SECONDS: Final = 3.0
MOVED_SECONDS: Final = 2.0
SLEPT_SECONDS: Final = 3.0
JOBS_AT_ONCE: Final = 10
JOB_EXPIRES_MS: Final = 86_400_000


async def serve(
    store: Store,
    dispatcher: Dispatcher,
    stop: asyncio.Event,
    *,
    settler: Settler | None = None,
    poller: Poller | None = None,
    recaller: Recaller | None = None,
    courier: Courier | None = None,
    follower: Follower | None = None,
    templates: Templates | None = None,
    inboxes: Inboxes | None = None,
    pools: Pools | None = None,
    job_expires_ms: int = JOB_EXPIRES_MS,
    messages_kept_seconds: int = MESSAGES_KEPT_SECONDS,
    retention_days: int = RETENTION_DAYS,
) -> None:
    """Serve lanes and jobs until `stop` is set. Raises `EpochChanged` when the installation is gone.

    Without a `settler` what is in doubt stays so, without a `poller` nobody asks for final states; without a
    `courier` no endpoint is told of events, without a `follower` nothing follows from failed deliveries;
    without `templates` what is scheduled starts unchecked, without `inboxes` only replies say who wrote,
    and without `pools` a service's senders are those that were there when it was first used.
    """
    context = {
        "store": store,
        "settler": settler,
        "poller": poller,
        "recaller": recaller,
        "courier": courier,
        "follower": follower,
        "templates": templates,
        "inboxes": inboxes,
        "pools": pools,
        "messages_kept_seconds": messages_kept_seconds,
        "retention_days": retention_days,
    }
    dispatching = watch(asyncio.create_task(dispatcher.run(), name="dispatcher"))
    beside = [
        watch(asyncio.create_task(_run_jobs(context, job_expires_ms, dispatcher.duty), name="jobs")),
    ]
    if settler is not None:
        owners = watch_owners(store, settler.how.owner_gone_seconds)
        beside.append(watch(asyncio.create_task(owners, name="owners")))
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({dispatching, stopping}, return_when=asyncio.FIRST_COMPLETED)
        dispatcher.stop()
        if courier is not None:
            courier.leave()
        await dispatching
    finally:
        await end((stopping, *beside))
        if courier is not None:
            await courier.close()


async def _run_jobs(context: dict[str, Any], job_expires_ms: int, duty: Duty) -> None:
    while True:
        await duty.begins()
        worker = _build(context, job_expires_ms)
        running = watch(asyncio.create_task(_outcome(worker.main())))
        beside = asyncio.create_task(_out_of_time()), asyncio.create_task(duty.ends())
        try:
            await asyncio.wait({running, *beside}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end((running, *beside))
            await _outcome(worker.close(), CLOSE_SECONDS)
        await without_arq(context["store"], context.get("courier"), context.get("templates"))
        await asyncio.sleep(REBUILD_SECONDS)


async def _out_of_time() -> None:
    """Return when arq's cron is out of time, as it goes from one second to the next by its own count.

    The wall clock was set: it would wait for the old time to come again. Or this process was stopped: it
    would catch up on seconds that others have long served, two of them a second, and serve none of its own.
    """
    ahead, looked = time.time() - time.monotonic(), time.monotonic()
    while True:
        await asyncio.sleep(1)
        moved, slept = time.time() - time.monotonic() - ahead, time.monotonic() - looked
        if abs(moved) >= MOVED_SECONDS or slept >= SLEPT_SECONDS:
            log.warning(
                "jobs.out_of_time", clock_moved_seconds=round(moved, 1), slept_seconds=round(slept, 1)
            )
            return
        looked = time.monotonic()


async def _outcome(part: Coroutine[Any, Any, None], seconds: float | None = None) -> None:
    """Run a part of arq's worker to its end, or so long, and log how it failed.

    In a task of its own: arq cancels the jobs it is busy with and then raises what they raise, and that
    CancelledError would end the one that builds the next worker.
    """
    task = asyncio.create_task(part)
    try:
        await asyncio.wait({task}, timeout=seconds)
    finally:
        await end([task])
    if not task.cancelled() and (error := task.exception()):
        end_if_exhausted(error)
        expected = isinstance(error, RedisError | OSError | StoreError)
        (log.warning if expected else log.error)("jobs.interrupted", error=str(error) or repr(error))


def _build(context: dict[str, Any], job_expires_ms: int) -> Worker:
    store: Store = context["store"]
    settler: Settler | None = context["settler"]
    redis = ArqRedis(
        client(store.url).connection_pool,
        job_serializer=serialize,
        job_deserializer=deserialize,
        default_queue_name=queue_name(store.keys.prefix),
        expires_extra_ms=job_expires_ms,
    )
    settings: dict[str, Any] = {
        "functions": functions(),
        "cron_jobs": crons(settler.how.every_seconds) if settler else crons(),
        "redis_pool": redis,
        "queue_name": queue_name(store.keys.prefix),
        "handle_signals": False,
        "keep_result": 0,
        "max_jobs": JOBS_AT_ONCE,
        "job_serializer": serialize,
        "job_deserializer": deserialize,
        "expires_extra_ms": job_expires_ms,
        "log_results": False,
        "ctx": dict(context),
    }
    return Worker(**settings)
