"""A worker that is stopped for longer than its lease with requests in flight, and wakes.

What its HTTP client had taken can't be recalled; it may leave after the wake, so it must not have been sent
again meanwhile. Anything else may leave only under a new lease.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

import msgpack
from deployment import Deployment, deployment
from kill_session import Session
from loading import counts, load, records
from tap import Tap, script_mark
from truth import MOVING

from broadcaster.domain.record import State
from broadcaster.store.batches import unpack_batch

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path

LANE: Final = "+15550000001"
IN_FLIGHT: Final = 64
RECIPIENTS: Final = 600
WARM_UP: Final = 50
PATIENCE_SECONDS: Final = 2.0
#: A lease of 2 s, 2 s until it is swept, then the patience: from here on a naive system sends again.
LEAST_SECONDS: Final = 8.5
SETTINGS: Final = {
    "BROADCASTER_READ_TIMEOUT_SECONDS": "40",
    "BROADCASTER_SETTLE_SECONDS": str(PATIENCE_SECONDS),
    "BROADCASTER_SETTLE_ALONE_SECONDS": str(PATIENCE_SECONDS + 1),
    "BROADCASTER_SETTLE_EVERY_SECONDS": "1",
}


@dataclass(frozen=True, slots=True)
class Stop:
    """One stop: for so long, and whether what was under way reaches Twilio only after the wake."""

    seconds: float
    held: bool


@dataclass(slots=True)
class Stopped:
    """What was seen at one stop. `resent` and `unleased` break the promise."""

    stop: Stop
    swept: bool = False
    sending: int = 0
    in_doubt: int = 0
    left_after: int = 0
    asked_in_vain: int = 0
    resent: list[str] = field(default_factory=list)
    unleased: list[str] = field(default_factory=list)
    seconds: float = 0.0


class _Worker:
    """A worker behind taps that note what it asks for."""

    def __init__(self, redis: Tap, twilio: Tap) -> None:
        self.redis, self.twilio = redis, twilio
        self.posts: list[str] = []
        self.posts_before_new: list[str] = []
        self.asked_in_vain = 0
        self.asked_anew = 0
        redis.watch, twilio.watch = self._asked, self._posted
        self.old = b""
        self.process: subprocess.Popen[bytes] | None = None

    def _asked(self, data: bytes) -> None:
        if script_mark("intent") in data and self.old:
            if self.old in data:
                self.asked_in_vain += 1
            else:
                self.asked_anew += 1

    def _posted(self, data: bytes) -> None:
        for part in data.split(b"POST /2010")[1:]:
            form = parse_qs(part.partition(b"\r\n\r\n")[2].decode())
            to = form.get("To", [""])[0]
            self.posts.append(to)
            if not self.asked_anew:
                self.posts_before_new.append(to)

    def forget(self, old: bytes) -> None:
        """Begin to note anew; `old` is the name whose lease will be lost."""
        self.old, self.asked_anew, self.asked_in_vain = old, 0, 0
        self.posts, self.posts_before_new = [], []


def stops(count: int, seed: int, longest_seconds: float) -> list[Stop]:
    """Draw so many stops."""
    chance = random.Random(seed)
    return [Stop(chance.uniform(LEAST_SECONDS, longest_seconds), held=i % 2 == 0) for i in range(count)]


async def stop_workers(folder: Path, some: list[Stop]) -> tuple[list[Stopped], Session]:
    """Stop a worker so often on one deployment, another one beside it; say what was seen."""
    session, sent, seen = Session([]), dict[str, int](), list[Stopped]()
    async with deployment(folder, workers=0, latency_ms=150) as run, AsyncExitStack() as stack:
        port = int(run.simulator.url.rpartition(":")[2])
        both = []
        for _ in range(2):
            redis = await stack.enter_async_context(Tap(str(run.redis.socket_path)))
            worker = _Worker(redis, await stack.enter_async_context(Tap(port)))
            worker.process = run.start_worker(
                REDIS_URL=f"redis://127.0.0.1:{redis.port}/0",
                TWILIO_API_BASE_URL=f"http://127.0.0.1:{worker.twilio.port}",
                **SETTINGS,
            )
            both.append(worker)
        while await run.store.redis.zcard(run.store.keys.plain("workers")) < len(both):
            assert "Traceback" not in run.logs()
        for number, stop in enumerate(some):
            first = number * (WARM_UP + RECIPIENTS)
            sent[await _warmed_up(run, first)] = WARM_UP
            one, other = both[:: 1 if number % 2 else -1]
            bid = await load(run.store, {LANE: RECIPIENTS}, rates={LANE: 20_000.0}, first=first + WARM_UP)
            sent[bid] = RECIPIENTS
            seen.append(await _once(run, bid, stop, one, other))
        await session.tell(run, sent)
        session.crashed += sum(w.process is None or w.process.poll() is not None for w in both)
    return seen, session


async def _warmed_up(run: Deployment, first: int) -> str:
    """End the silence that the last stop may have left, and let both have all they can in flight."""
    bid = await load(run.store, {LANE: WARM_UP}, rates={LANE: 20_000.0}, first=first)
    await run.until(lambda c: c == {State.ACCEPTED: WARM_UP}, bid, timeout=60)
    account = run.store.keys.plain("account")
    # a worker whose turn it is would set it back: its turn is over
    limit = {"limit": 4 * IN_FLIGHT, "turn": "", "remembered": ""}
    await run.store.redis.hset(account, mapping=limit)
    await asyncio.sleep(1.5)  # each hears of it when it renews
    return bid


async def _once(run: Deployment, bid: str, stop: Stop, one: _Worker, other: _Worker) -> Stopped:
    assert one.process is not None
    found, began = Stopped(stop), time.monotonic()
    one.forget(await _name(run, one.process.pid))
    if stop.held:
        one.twilio.hold()
    # held requests are in flight for the worker alone, so they are counted as they leave it
    while len(one.posts) < IN_FLIGHT:
        assert time.monotonic() < began + 20, f"only {len(one.posts)} in flight"
        await asyncio.sleep(0.002)
    one.process.send_signal(signal.SIGSTOP)
    sending = await _sending(run, bid, one.old.decode())
    found.sending = len(sending)
    other.posts.clear()
    await asyncio.sleep(stop.seconds)
    found.resent = sorted(sending & set(other.posts))
    found.in_doubt = (await counts(run.store, bid)).get(State.IN_DOUBT, 0)
    found.swept = await run.store.redis.zscore(run.store.keys.plain("workers"), one.old) is None
    one.forget(one.old)
    one.process.send_signal(signal.SIGCONT)
    one.twilio.release()
    open_ = MOVING | {State.IN_DOUBT}
    await run.until(lambda c: not open_ & c.keys(), bid, timeout=60)
    found.left_after = len(sending & set(one.posts_before_new))
    found.asked_in_vain = one.asked_in_vain
    found.unleased = sorted(set(one.posts_before_new) - sending)
    await _name(run, one.process.pid)  # it has a lease before the next stop
    found.seconds = time.monotonic() - began
    return found


async def _name(run: Deployment, pid: int) -> bytes:
    """Return the name of the worker's lease; waits until there is one."""
    while True:
        for raw in await run.store.redis.zrange(run.store.keys.plain("workers"), 0, -1):
            if f"-{pid}-".encode() in raw:
                return bytes(raw)
        await asyncio.sleep(0.02)


async def _sending(run: Deployment, bid: str, worker: str) -> set[str]:
    """Return to whom this worker is sending: whose intent is its own."""
    store, found = run.store, set[str]()
    ledger = await records(store, bid)
    for raw in (await store.redis.hgetall(store.keys.worker(worker, ":claims"))).values():
        broadcast, _, batch, items = map(str, msgpack.unpackb(raw))
        if broadcast != bid:
            continue
        to = unpack_batch(await store.redis.get(store.keys.batch(bid, batch))).to
        rows = (int(item.partition(":")[0]) for item in items.split(","))
        found |= {to[row] for row in rows if ledger[batch, row].state is State.SENDING}
    return found
