"""What follows from callbacks beside the ledger: opt-outs, stops, sending again; strays that are looked for.

record.lua has put failed deliveries into the list `failures` in the same step in which it wrote them, so each
is seen to once or, where a worker died on the way, once more: whatever is done here may be done twice.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgpack
import structlog

from broadcaster.domain.failures import Remedy
from broadcaster.domain.opt_out_scopes import MARKETING_OPT_OUTS
from broadcaster.domain.record import State
from broadcaster.domain.whatsapp_window import OUTSIDE
from broadcaster.lanes import control
from broadcaster.ledger import strays
from broadcaster.ledger.callbacks import write_statuses
from broadcaster.ledger.inbound import refused
from broadcaster.ledger.optouts import refused_by
from broadcaster.ledger.outcomes import QUEUE_FULL_SECONDS
from broadcaster.ledger.people_key import key_in_use
from broadcaster.reporting.completed import say_completed
from broadcaster.store.batches import unpack_batch
from broadcaster.twilio.codes import lookup, meaning
from workers.alone import alone_with
from workers.slowing import CHANNEL_LIMIT, slow_down

if TYPE_CHECKING:
    from broadcaster.store.connection import Store
    from broadcaster.store.scripts import Call
    from broadcaster.telemetry.metrics import Metrics

log = structlog.get_logger("following")

KEY: Final = "failures"
AT_ONCE: Final = 500
#: Codes that say that the sender can deliver to nobody. Others about senders depend on the recipient's
#: country or carrier, too (30023, 30027: daily limits of one carrier), and a Messaging Service has other
#: senders: of those the rule takes care that stops a failing campaign.
STOPS_LANE: Final = frozenset({30032, 30033, 30035, 63001, 63002, 63008, 63020, 63026, 63051, 63059})
#: How long a sender waits that sends faster than what is behind it takes.
HOLDS_LANE: Final[dict[int, float]] = {30001: QUEUE_FULL_SECONDS, 30022: 60.0}


class Failed(NamedTuple):
    """A delivery that failed: `state` undelivered or failed, `began` the unix second of its attempt.

    Where WhatsApp can't reach somebody, and an SMS follows, also one that Twilio refused (`dead`).
    `batch` is `LANE.BATCH`, `lane` the sender's name, `sid` SM… or MM….
    """

    broadcast: str
    batch: str
    row: int
    attempt: int
    state: State
    code: int
    sid: str
    began: int
    lane: str


#: What else follows from some of them: they go again, or an SMS goes. May be called twice with the same.
FollowUp = Callable[[Sequence[Failed]], Awaitable[None]]


class Follower:
    """Sees to what follows. `follow_ups` are told of every failed delivery that has a code, in order."""

    def __init__(self, store: Store, metrics: Metrics, *follow_ups: FollowUp) -> None:
        self._store = store
        self._metrics = metrics
        self._follow_ups = follow_ups

    async def round(self) -> None:
        """See to all that failed, and look for the strays whose turn it is. Raises redis' errors."""
        keys = self._store.keys
        if not await self._store.redis.exists(keys.plain(KEY), keys.plain(strays.KEY)):
            return
        async with alone_with(self._store, "following") as alone:
            while alone and await self._some_failures():
                pass
            while alone and await self._some_strays():
                pass

    # -- failed deliveries

    async def _some_failures(self) -> bool:
        """See to some; tells whether there may be more."""
        key = self._store.keys.plain(KEY)
        raws = await self._store.redis.lrange(key, 0, AT_ONCE - 1)
        failed = await self._read(raws)
        calls = [
            *await self._opt_outs(failed),
            *await self._windows(failed),  # before anything goes again: then the template does
            *await self._stops(failed),
        ]
        if calls:
            await self._store.run_all(calls)
        for follow_up in self._follow_ups if failed else ():
            await follow_up(failed)
        async with self._store.redis.pipeline(transaction=False) as pipe:
            for raw in raws:
                pipe.lrem(key, 1, raw)
            await pipe.execute()
        return len(raws) >= AT_ONCE

    async def _read(self, raws: Sequence[bytes]) -> list[Failed]:
        """Read entries of the list; those of broadcasts that are gone are left out."""
        entries = [msgpack.unpackb(raw, raw=True) for raw in raws]
        heads = [(entry[0].decode(), entry[1].decode()) for entry in entries]
        wanted = sorted({(bid, batch.partition(".")[0]) for bid, batch in heads})
        async with self._store.redis.pipeline(transaction=False) as pipe:
            for bid, number in wanted:
                pipe.lindex(self._store.keys.broadcast(bid, ":lanes"), int(number))
            told = await pipe.execute()
        lanes = {at: raw.decode() for at, raw in zip(wanted, told, strict=True) if raw is not None}
        found = []
        for (bid, batch), (_, _, row, attempt, state, code, sid, mm, began) in zip(
            heads, entries, strict=True
        ):
            lane = lanes.get((bid, batch.partition(".")[0]))
            if lane is not None:
                name = ("MM" if mm else "SM") + sid.hex()
                found.append(Failed(bid, batch, row, attempt, State(state), code, name, began, lane))
        return found

    async def _opt_outs(self, failed: Sequence[Failed]) -> list[Call[Any]]:
        """Return the calls that remember who wants nothing more of us."""
        refusing = await self._people([one for one in failed if opts_out(one.code)])
        if not refusing:
            return []
        key = await key_in_use(self._store)
        log.info("opt_outs.delivery", count=len(refusing))
        return [refused_by(one.lane, to, one.code, key=key) for one, to in refusing]

    async def _windows(self, failed: Sequence[Failed]) -> list[Call[Any]]:
        """Return the calls that remember whose 24 hours of WhatsApp were over, whatever we had thought."""
        outside = [one for one in failed if one.code == OUTSIDE and one.began]
        attempts: dict[str, dict[str, int]] = {}
        for one, to in await self._people(outside):
            of_lane = attempts.setdefault(one.lane, {})
            of_lane[to] = max(of_lane.get(to, 0), one.began)
        if attempts:
            log.warning("windows.closed", count=len(outside), lanes=sorted(attempts))
        return [call for lane, people in attempts.items() for call in refused(lane, people)]

    async def _people(self, failed: Sequence[Failed]) -> list[tuple[Failed, str]]:
        """Return whom they went to, without who was forgotten meanwhile."""
        batches = sorted({(one.broadcast, one.batch) for one in failed})
        if not batches:
            return []
        raws = await self._store.redis.mget([self._store.keys.batch(*at) for at in batches])
        people = {at: unpack_batch(raw).to for at, raw in zip(batches, raws, strict=True) if raw is not None}
        found = ((one, people.get((one.broadcast, one.batch), [])[one.row : one.row + 1]) for one in failed)
        return [(one, to[0]) for one, to in found if to and to[0].startswith(("+", "whatsapp:+"))]

    async def _stops(self, failed: Sequence[Failed]) -> list[Call[Any]]:
        """Return the calls that stop, or hold, what can deliver nothing; each once."""
        calls: dict[str, Call[Any]] = {}
        for one in failed:
            code, reason = one.code, f"{one.code}: {meaning(one.code)}"
            if lookup(code).remedy is Remedy.ACCOUNT:
                if f"account {code}" not in calls and await self._is_news(one, "account"):
                    log.error("account.stopped", reason=reason)
                    calls[f"account {code}"] = control.pause_account(reason)
            elif one.lane.startswith("MG"):
                continue
            elif code in STOPS_LANE:
                if one.lane not in calls and await self._is_news(one, f"lane:{one.lane}"):
                    log.error("lane.stop", lane=one.lane, reason=reason)
                    calls[one.lane] = control.pause_lane(one.lane, reason)
            elif code == CHANNEL_LIMIT and f"slow {one.lane}" not in calls:
                seconds, why = await slow_down(self._store, one.lane, one.began)
                if seconds:
                    reason = f"{reason} ({why})" if why else reason
                    log.warning("lane.hold", lane=one.lane, seconds=round(seconds), reason=reason)
                    calls[f"slow {one.lane}"] = control.hold_lane(one.lane, seconds, reason)
            elif code in HOLDS_LANE and f"hold {one.lane}" not in calls:
                log.warning("lane.hold", lane=one.lane, seconds=HOLDS_LANE[code], reason=reason)
                calls[f"hold {one.lane}"] = control.hold_lane(one.lane, HOLDS_LANE[code], reason)
        return list(calls.values())

    async def _is_news(self, failed: Failed, key: str) -> bool:
        """Whether it left after somebody let this go on: what left before must not stop it again."""
        resumed = await self._store.redis.hget(self._store.keys.plain(key), "resumed")
        return failed.began > int(resumed or 0)

    # -- strays

    async def _some_strays(self) -> bool:
        """Look for some; tells whether there may be more."""
        parked = await strays.due(self._store, AT_ONCE)
        if not parked:
            return False
        found = await strays.find(self._store, [one.stray for one in parked])
        if found:
            told = await self._store.run(write_statuses(found.values()))
            for broadcast in told.completed:
                await say_completed(self._store, broadcast)
        done = [one for one in parked if one.stray in found]
        dropped = await strays.unpark(self._store, done, [one for one in parked if one.stray not in found])
        self._metrics.callbacks_ended("found", len(done))
        self._metrics.callbacks_ended("dropped", dropped)
        return len(parked) >= AT_ONCE


def opts_out(code: int) -> bool:
    """Whether a code says that its recipient wants no more messages, or no more marketing."""
    return code in MARKETING_OPT_OUTS or lookup(code).remedy is Remedy.OPT_OUT
