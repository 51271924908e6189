"""Making a broadcast of a list: the one way, for the command line and the API."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

import structlog

from broadcaster.intake.findings import NOTHING_FOUND
from broadcaster.intake.submit import check, is_known, submit
from broadcaster.lanes import control
from broadcaster.ledger.pools import keep_pool, share_pool
from broadcaster.operations import audit
from broadcaster.operations.preflight import Asked, preflight

if TYPE_CHECKING:
    from broadcaster.intake.peek import Peeked
    from broadcaster.intake.rejects import StoredRejects
    from broadcaster.intake.submit import Submission, Submitted
    from broadcaster.intake.summary import Summary
    from broadcaster.intake.windows import Windows
    from broadcaster.ledger.optouts import OptOuts
    from broadcaster.ledger.pools import PoolReader
    from broadcaster.operations.actor import Actor
    from broadcaster.operations.orders import Order
    from broadcaster.settings import Settings
    from broadcaster.store.connection import Store
    from broadcaster.store.scripts import Call
    from broadcaster.twilio.rest import TwilioRest

log = structlog.get_logger("imports")
#: Of a list shared by thousands of senders its line names some.
_LANES_SHOWN: Final = 20


async def create(
    store: Store,
    actor: Actor,
    order: Order,
    reader: Peeked,
    *,
    settings: Settings,
    read_pool: PoolReader,
    twilio: TwilioRest | None = None,
    idempotency_key: str = "",
    rejects: StoredRejects | None = None,
    opt_outs: OptOuts | None = None,
    windows: Windows | None = None,
) -> Submitted:
    """Take a list and begin to send to it, unless it is a draft or has its time.

    Raises what `submit`, `preflight` and `Order.lanes` raise; nothing stays queued then, but by a
    `StoreError` from the very end, which the same request with the same idempotency key gets over.
    """
    lanes = await order.lanes(settings, store, read_pool, reader.channels)
    submission = order.submission(lanes, idempotency_key)
    found = NOTHING_FOUND
    if not await is_known(store, idempotency_key):
        check(submission, time.time())
        asked = Asked(order=order, lanes=lanes, channels=reader.channels, settings=settings, twilio=twilio)
        found = await preflight(asked)
    done = await submit(
        store, reader, submission, rejects=rejects, opt_outs=opt_outs, windows=windows, found=found
    )
    await begin(store, actor, submission, done, draft=order.draft)
    return done


async def begin(
    store: Store, actor: Actor, submission: Submission, done: Submitted, *, draft: bool = False
) -> None:
    """Let senders share the permits of their services, then start; a draft and a scheduled one wait.

    It may be done again: what was begun and broken off is ended.
    """
    await _note(store, actor, submission, done.broadcast)
    if done.summary is not None and not done.known:
        _say_done(done.broadcast, done.summary)
    lanes = submission.lanes
    calls: list[Call[Any]] = [share_pool(lane.name, lane.shares) for lane in lanes if lane.shares]
    calls += [keep_pool(lane.name, lane.pool, lane.pool_read) for lane in lanes if lane.pool_read]
    if not draft:
        calls.append(control.start(done.broadcast, from_states=("draft",)))
    answers = await store.run_all(calls) if calls else []
    if not draft and answers[-1] == "ok":
        old, new = {"state": "draft"}, {"state": "running"}
        await audit.record(store, actor, "broadcast.start", done.broadcast, old=old, new=new)
        log.info("broadcast.started", broadcast=done.broadcast, actor=actor.who, was="draft")


def _say_done(broadcast: str, summary: Summary) -> None:
    """Write the canonical line of a list that was taken."""
    log.info(
        "import.done",
        broadcast=broadcast,
        rows=summary.rows,
        recipients=summary.recipients,
        duplicates=summary.duplicates,
        opted_out=summary.opted_out,
        unverified=summary.unverified,
        rejected=summary.rejected,
        segments=summary.segments,
        batches=summary.batches,
        lanes={name: lane.recipients for name, lane in list(summary.lanes.items())[:_LANES_SHOWN]},
        seconds=round(time.monotonic() - summary.began, 3),
    )


async def _note(store: Store, actor: Actor, submission: Submission, broadcast: str) -> None:
    """Write into the audit who made it, unless that was done: the mark that says so comes after the entry."""
    key = store.keys.broadcast(broadcast)
    made_by, total, rejected = await store.redis.hmget(key, "by", "total", "rejected")
    if made_by:
        return
    new: dict[str, Any] = {
        "name": submission.name,
        "senders": [lane.name for lane in submission.lanes],
        "recipients_total": int(total or 0),
        "priority": str(submission.priority),
        "on_doubt": str(submission.on_doubt),
        "schedule_at": submission.schedule_at,
        "rate": submission.rate,
        "rejected_total": int(rejected or 0),
    }
    given = {name: value for name, value in new.items() if value is not None}
    await audit.record(store, actor, "broadcast.create", broadcast, new=given)
    await store.redis.hset(key, "by", actor.who)
