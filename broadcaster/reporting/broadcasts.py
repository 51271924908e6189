"""A broadcast as everybody sees it: API, command line, dashboard and log show the same object."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import msgspec

from broadcaster.domain.broadcast import BroadcastSpec
from broadcaster.domain.openings import closed_words, ends_by, opens_at, read_openings
from broadcaster.domain.opt_out_hints import warnings_about
from broadcaster.domain.record import State
from broadcaster.reporting.awaiting import Awaiting, read_awaiting
from broadcaster.reporting.doubt import SearchState, read_search
from broadcaster.reporting.fallbacks import FallbackCounts, fallback_streams
from broadcaster.reporting.forecast import read_left, seconds_left
from broadcaster.reporting.replicas import missing_replicas
from broadcaster.reporting.waits import (
    Everything,
    LaneStanding,
    Sending,
    lacks,
    lane_waits,
    moves,
    stops_all,
    stops_everything,
)
from broadcaster.twilio.codes import explain_reason

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

_STATES: Final = tuple(State)


@dataclass(frozen=True, slots=True)
class CodeCount:
    """How many recipients ended in `state` with `code`."""

    state: State
    code: int
    count: int


@dataclass(frozen=True, slots=True)
class BroadcastView:
    """One broadcast now. Counts by state add up to `total`; times are unix seconds, None if not yet.

    `rate` is accepted segments a second since the start; `eta_seconds` is the longest lane's segments over
    its rate, None while that waits. `waits_for` says in words what each lane with something left waits for.
    `search` says what its messages in doubt wait for, None where nobody has looked yet; `awaiting` what those
    that Twilio has taken wait for. `rejected` rows of
    the list were faulty and left out. `windows` are the next openings of its send window (`domain/openings`).
    `removed_at` is since when its messages are gone, and only counts stay. `fallbacks` are the SMS in place
    of its WhatsApp messages, None while there was none.
    """

    id: str
    name: str
    state: str
    state_reason: str
    total: int
    counts: dict[State, int]
    codes: tuple[CodeCount, ...]
    senders: tuple[str, ...]
    spec: BroadcastSpec
    retried: int
    created_at: int
    started_at: int | None
    finished_at: int | None
    rate: float | None = None
    eta_seconds: float | None = None
    waits_for: dict[str, str] = field(default_factory=dict)
    search: SearchState | None = None
    rejected: int = 0
    windows: str = ""
    awaiting: Awaiting | None = None
    removed_at: int | None = None
    fallbacks: FallbackCounts | None = None
    found: tuple[str, ...] = ()

    @property
    def in_doubt(self) -> int:
        """Recipients whose send was never answered and isn't settled."""
        return self.counts.get(State.IN_DOUBT, 0)

    @property
    def unsent(self) -> int:
        """Recipients that still may be sent to: queued, or waiting for another try."""
        return self.counts.get(State.QUEUED, 0) + self.counts.get(State.RETRY, 0)

    @property
    def settled(self) -> bool:
        """Whether nothing moves any more by itself: all ended, or only doubt is left."""
        return not (self.unsent or self.counts.get(State.SENDING, 0)) or self.state in ("canceled", "failed")

    def summary(self) -> dict[str, Any]:
        """Return the object of `send --json`, `broadcasts show --json` and the API, in JSON's types."""
        return {
            "id": self.id,
            "name": self.name,
            "state": self.state,
            "state_reason": self.state_reason or None,
            "total": self.total,
            "counts": {state.label: self.counts.get(state, 0) for state in _STATES},
            "codes": [{"state": c.state.label, "code": c.code, "count": c.count} for c in self.codes],
            "senders": list(self.senders),
            "waits_for": self.waits_for,
            "in_doubt": self.search.summary(self.in_doubt) if self.search and self.in_doubt else None,
            "awaiting": None if self.awaiting is None else self.awaiting.summary(),
            "retried": self.retried,
            "rejected": self.rejected,
            "fallbacks": None if self.fallbacks is None else self.fallbacks.summary(),
            "rate": None if self.rate is None else round(self.rate, 2),
            "eta": None if self.eta_seconds is None else round(self.eta_seconds),
            "created_at": self.created_at,
            "purpose": self.spec.purpose.value,
            "consent": None if self.spec.consent is None else str(self.spec.consent),
            "warnings": [*warnings_about(self.spec.purpose, self.spec.content), *self.found],
            "send_window": None if self.spec.send_window is None else str(self.spec.send_window),
            "schedule_at": None if self.spec.schedule_at is None else int(self.spec.schedule_at),
            "scheduler": self.spec.scheduler.value,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "removed_at": self.removed_at,
        }


def could_be_id(text: str) -> bool:
    """Whether `text` could be a broadcast's id; what else it could be is a part of a key's name."""
    return text.isascii() and text.replace("-", "").isalnum()


async def read_broadcast(store: Store, broadcast: str) -> BroadcastView | None:
    """Read one broadcast, or None if there is no such. Raises redis' errors."""
    if not could_be_id(broadcast):
        return None
    keys = store.keys
    async with store.redis.pipeline(transaction=False) as pipe:
        pipe.hgetall(keys.broadcast(broadcast))
        pipe.hgetall(keys.broadcast(broadcast, ":codes"))
        pipe.time()
        raw, codes, now = await pipe.execute()
    if not raw or b"spec" not in raw:
        return None
    fields = {name.decode(): value for name, value in raw.items()}
    view = _view(broadcast, fields, codes)
    if view.in_doubt:
        view = replace(view, search=await read_search(store, broadcast))
    if "removed" not in fields:
        view = replace(view, awaiting=await read_awaiting(store, broadcast, view.counts))
    if view.state in ("running", "paused", "scheduled"):
        view = await _with_lanes(store, view, now[0] + now[1] / 1e6)
    return await _with_fallbacks(store, view) if view.fallbacks else view


async def _with_fallbacks(store: Store, view: BroadcastView) -> BroadcastView:
    """Add what became of its SMS, and what those wait for that have yet to go."""
    streams = [await read_broadcast(store, name) for name in await fallback_streams(store, view.id)]
    counts: dict[State, int] = {}
    waits = dict(view.waits_for)
    for stream in filter(None, streams):
        for state, n in stream.counts.items():
            counts[state] = counts.get(state, 0) + n
        waits = stream.waits_for | waits
    total = view.fallbacks.total if view.fallbacks else 0
    return replace(view, fallbacks=FallbackCounts(total, counts), waits_for=waits)


async def list_broadcasts(store: Store, *, limit: int = 50) -> list[BroadcastView]:
    """Read the newest broadcasts, newest first."""
    ids = await store.redis.zrevrange(store.keys.plain("bcs"), 0, limit - 1)
    views = await asyncio.gather(*(read_broadcast(store, i.decode()) for i in ids))
    return [view for view in views if view is not None]


def _view(broadcast: str, fields: dict[str, bytes], codes: dict[bytes, bytes]) -> BroadcastView:
    spec = msgspec.msgpack.decode(fields["spec"], type=BroadcastSpec)
    counts = {state: int(fields.get(f"n{int(state)}", 0)) for state in _STATES}
    counted = []
    for name, count in codes.items():
        state, code = name.decode().split(":")
        if int(count) > 0:
            counted.append(CodeCount(State(int(state)), int(code), int(count)))
    started, finished = int(fields.get("started", 0)) or None, int(fields.get("finished", 0)) or None
    return BroadcastView(
        id=broadcast,
        name=fields["name"].decode(),
        state=fields["state"].decode(),
        state_reason=explain_reason(fields.get("reason", b"").decode()),
        total=int(fields.get("total", 0)),
        counts={state: n for state, n in counts.items() if n},
        codes=tuple(sorted(counted, key=lambda c: -c.count)),
        senders=spec.senders,
        spec=spec,
        retried=int(fields.get("retried", 0)),
        created_at=int(fields.get("created", 0)),
        started_at=started,
        finished_at=finished,
        rejected=int(fields.get("rejected", 0)),
        windows=fields.get("windows", b"").decode(),
        removed_at=int(fields.get("removed", 0)) or None,
        fallbacks=FallbackCounts(int(fields["fallbacks"])) if "fallbacks" in fields else None,
        found=msgspec.json.decode(fields.get("warnings", b"[]"), type=tuple[str, ...]),
    )


def _closed(view: BroadcastView, now: float) -> str:
    """Say that its send window is closed, and until when; '' while it isn't, or nothing is left to send."""
    window = view.spec.hours
    if window is None or view.state != "running" or not view.unsent:
        return ""
    opens = opens_at(window, now)
    return "" if opens is None else closed_words(window, opens)


async def _with_lanes(store: Store, view: BroadcastView, now: float) -> BroadcastView:
    """Add pace, forecast, and what each lane waits for."""
    keys = store.keys
    async with store.redis.pipeline(transaction=False) as pipe:
        pipe.hmget(keys.plain("account"), "paused", "rewind", "silent", "rate")
        pipe.zcount(keys.plain("workers"), now * 1e6, "+inf")
        for lane in view.senders:
            pipe.hmget(keys.lane(lane), "rate", "paused", "hold", "hold_reason")
            pipe.hmget(keys.flow(view.id, lane), "head", "n")
            pipe.zrange(keys.flow(view.id, lane, ":retry"), 0, 0, withscores=True)
            pipe.llen(keys.flow(view.id, lane, ":back"))
        (paused, rewind, silent, most), workers, *told = await pipe.execute()
    everything = Everything(
        paused=(paused or b"").decode(),
        rewind=int(rewind or 0),
        silent=(silent or b"").decode(),
        rate=float(most or 0),
        workers=workers,
    )
    if not stops_everything(everything):
        everything = replace(everything, missing=await missing_replicas(store))
    closed = _closed(view, now)
    sending = Sending(view.state, view.state_reason, view.unsent, view.in_doubt, view.spec.rate, closed)
    lanes = {lane: _standing(*told[number * 4 : number * 4 + 4]) for number, lane in enumerate(view.senders)}
    account = stops_everything(everything)
    running = view.state == "running" and not account
    eta = None
    if running and workers and not silent:
        rates = {lane: standing.rate for lane, standing in lanes.items() if moves(standing, now)}
        left = await read_left(store, view.id, view.senders, view.unsent)
        eta = seconds_left(left, rates, sending.rate, everything.rate)
        if eta is not None and view.windows:
            eta = ends_by(read_openings(view.windows), now, eta)
    sent = view.total - view.unsent - view.counts.get(State.SKIPPED, 0)
    elapsed = now - view.started_at if view.started_at else 0.0
    return replace(
        view,
        waits_for=_waits(everything, sending, lanes, now),
        rate=sent / elapsed if elapsed > 0 and running else None,
        eta_seconds=eta,
        state_reason=view.state_reason or closed,
    )


def _waits(
    everything: Everything, sending: Sending, lanes: dict[str, LaneStanding], now: float
) -> dict[str, str]:
    """Say what each lane waits for; those that wait for nothing are left out."""
    stop = stops_all(everything, sending)
    waits: dict[str, str] = {}
    for lane, standing in lanes.items():
        if waiting := lane_waits(everything, sending, standing, now):
            waits[lane] = waiting.words
    if not waits:
        stop = stop or lacks(everything, sending)
    if stop is not None:
        waits = dict.fromkeys(lanes, stop.words)
    return {lane: why for lane, why in waits.items() if why}


def _standing(lane: list[Any], flow: list[Any], retries: list[Any], back: int) -> LaneStanding:
    rate, paused, hold, why = lane
    head, batches = flow
    return LaneStanding(
        rate=float(rate or 0),
        paused=(paused or b"").decode(),
        hold=float(hold or 0),
        hold_reason=(why or b"").decode(),
        ahead=int(head or 0) < int(batches or 0) or back > 0,
        first_retry=retries[0][1] if retries else 0.0,
    )
