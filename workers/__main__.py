"""`python -m workers`: one worker process. `broadcaster worker` becomes this."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog
import uvloop

from broadcaster.domain.evidence import Patience
from broadcaster.domain.polling import PollTimes
from broadcaster.domain.resending import Resending
from broadcaster.events.courier import Courier
from broadcaster.events.serving import Pace
from broadcaster.intake.fallbacks import Fallbacks
from broadcaster.lanes.control import set_account_rate, set_stop_rule
from broadcaster.leaving import leave
from broadcaster.ledger.resending import Resender
from broadcaster.reporting.counting import counting
from broadcaster.runtime import (
    callback_urls,
    check_owner,
    message_sender,
    opened_store,
    postman,
    retry_policy,
    twilio_rest,
)
from broadcaster.settings import SettingsError, load_settings
from broadcaster.store.embedded import redis_for
from broadcaster.store.ending import end_rest
from broadcaster.store.errors import NewerData, OtherAccount, StoreError, Unreachable
from broadcaster.store.server_binary import EmbeddedServerError
from broadcaster.telemetry import logs
from broadcaster.telemetry.bounded import sample_of
from broadcaster.telemetry.metric import Role
from broadcaster.telemetry.metrics import Metrics
from broadcaster.telemetry.pulse import Pulse
from workers.dispatcher import Dispatcher
from workers.exhausted import on_loop_error
from workers.following import Follower
from workers.inboxes import Inboxes
from workers.lease import Limits
from workers.polling import Poller, Polling
from workers.pools import Pools
from workers.recalling import Recaller
from workers.settling import Settler, Settling
from workers.supervisor import serve

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.settings import Settings
    from broadcaster.telemetry.metrics_server import MetricsServer

log = structlog.get_logger("worker")

#: What still runs when all is done has so long to end.
LEFT_SECONDS: Final = 5.0
#: While Redis doesn't answer it is said so often.
SAY_AGAIN_SECONDS: Final = 30.0


def main() -> int:
    """Run a worker until SIGTERM, SIGINT, or it is asked to drain.

    Exit codes: 0 stopped or drained, 1 failed, 2 can't be set up, or the data is newer than this version,
    or another account's.
    """
    parser = argparse.ArgumentParser(prog="broadcaster worker", description="Send what is due.")
    parser.add_argument(
        "--concurrency", type=int, help="requests in flight at once (default: BROADCASTER_CONCURRENCY)"
    )
    parser.add_argument(
        "--metrics-port", type=int, help="port of /metrics (default: BROADCASTER_METRICS_PORT)"
    )
    options = parser.parse_args()
    try:
        settings = load_settings()
        logs.configure(settings.log_level, settings.log_format, secrets=settings.secrets)
        with redis_for(settings.redis_address, settings.data_dir) as redis_url:
            return uvloop.run(_run(settings, options, redis_url))
    except (SettingsError, EmbeddedServerError, NewerData, OtherAccount) as error:
        sys.stderr.write(f"broadcaster worker: {error}\n")
        return 2
    except StoreError as error:
        sys.stderr.write(f"broadcaster worker: {error}\n")
        return 1


async def _run(settings: Settings, options: argparse.Namespace, redis_url: str) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(on_loop_error)
    pulse = Pulse("worker")

    def leave_off() -> None:
        pulse.systemd.stopping()
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, leave_off)
    metrics = Metrics(Role.WORKER)
    concurrency = options.concurrency or settings.concurrency
    port = settings.metrics_port if options.metrics_port is None else options.metrics_port
    limits = Limits(
        concurrency=concurrency,
        lease_seconds=settings.lease_seconds,
        drain_seconds=settings.shutdown_seconds,
        account_most=settings.account_concurrency,
    )
    async with message_sender(settings, concurrency) as sender:
        await sender.self_test()
        with _metrics_served(metrics, settings.metrics_host, port, pulse) as served_port:
            await _redis_answers(settings, redis_url, stop, pulse)
            if stop.is_set():
                return 0
            async with opened_store(settings, redis_url, sends=True) as store:
                store.tell(counting(metrics))
                await store.guard.look()
                await check_owner(settings, store)
                await store.run(set_account_rate(settings.account_rate))
                stop_rule = set_stop_rule(
                    settings.stop_failure_share, after=settings.stop_after, window=settings.stop_window
                )
                await store.run(stop_rule)
                log.info("worker.started", pid=os.getpid(), concurrency=concurrency, metrics_port=served_port)
                callbacks = await callback_urls(settings, store)
                policy = retry_policy(settings)
                sample = sample_of(settings.log_sample, settings.log_level)
                dispatcher = Dispatcher(
                    store, sender, limits, policy, metrics, callbacks=callbacks, sample=sample, pulse=pulse
                )
                dispatcher.on_drain = leave_off
                pulse.systemd.ready()
                async with twilio_rest(settings) as twilio, postman(settings) as post:
                    pools = Pools(store, twilio.service_pool)
                    settler = Settler(store, twilio, _settling(settings), metrics, pools)
                    courier = Courier(store, post, metrics, Pace(retry_scale=settings.events_retry_scale))
                    await serve(
                        store,
                        dispatcher,
                        stop,
                        settler=settler,
                        poller=Poller(store, twilio, _polling(settings), metrics),
                        recaller=Recaller(store, twilio, metrics),
                        courier=courier,
                        templates=twilio.templates,
                        inboxes=Inboxes(store, twilio),
                        pools=pools,
                        follower=Follower(
                            store,
                            metrics,
                            Resender(store, _resending(settings)),
                            Fallbacks(
                                store,
                                settings,
                                twilio.service_pool,
                                verified=twilio.trial.known,
                                metrics=metrics,
                            ),
                        ),
                        messages_kept_seconds=settings.messages_kept_hours * 3600,
                        retention_days=settings.retention_days,
                    )
    if left := await end_rest(LEFT_SECONDS):
        log.warning("worker.left_over", tasks=left)
    log.info("worker.stopped", pid=os.getpid())
    return 0


async def _redis_answers(settings: Settings, redis_url: str, stop: asyncio.Event, pulse: Pulse) -> None:
    """Wait until Redis answers: it may be failing over, or come up later than this process."""
    said = -SAY_AGAIN_SECONDS
    while not stop.is_set():
        pulse.beat("start")
        try:
            async with opened_store(settings, redis_url):
                pulse.ended("start")
                pulse.systemd.status("")
                return
        except Unreachable as error:
            if monotonic() - said >= SAY_AGAIN_SECONDS:
                said = monotonic()
                log.warning("redis.awaited", error=str(error))
                pulse.systemd.status(f"waits for Redis: {error}")
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.5)


def _settling(settings: Settings) -> Settling:
    return Settling(
        Patience(settings.settle_seconds, max(settings.settle_seconds, settings.settle_alone_seconds)),
        owner_gone_seconds=settings.owner_gone_seconds,
        every_seconds=settings.settle_every_seconds,
        max_attempts=settings.max_attempts,
        at_once=settings.settle_concurrency,
    )


def _polling(settings: Settings) -> Polling:
    times = PollTimes(settings.poll_after(settings.public_url), settings.poll_until_hours * 3600.0)
    return Polling(times, rate=settings.poll_rate)


def _resending(settings: Settings) -> Resending:
    return Resending(settings.resent_codes, settings.max_attempts)


@contextlib.contextmanager
def _metrics_served(metrics: Metrics, host: str, port: int, pulse: Pulse) -> Iterator[int | None]:
    """Answer /metrics and /healthz; where the port is taken (a second worker on one host) any free one does.

    Yields the port: None where there is none.
    """
    server: MetricsServer | None = None
    for candidate in (port, 0):
        try:
            server = metrics.serve(candidate, host, pulse)
            break
        except OSError as error:
            log.warning("metrics.port_taken", port=candidate, error=str(error))
    try:
        yield server.port if server else None
    finally:
        if server:
            server.close()


if __name__ == "__main__":
    leave(main())
