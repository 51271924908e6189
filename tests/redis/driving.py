"""A worker's part, played by hand: claim, ask the gate, report. And a way to see everything Redis holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broadcaster.domain.record import State
from broadcaster.lanes import claims
from broadcaster.lanes.claims import Group, Item, Slice, Standing, Verdict
from broadcaster.ledger.recording import Recorded, Result, Results, record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broadcaster.store.connection import Store

LANE = "+14155550100"
OTHER = "+14155550101"
SID = bytes(range(16))


async def join(store: Store, worker: str = "w1", *, lease_seconds: float = 60.0) -> Standing:
    """Take a lease."""
    return await store.run(claims.join(worker, {"host": "h"}, lease_seconds=lease_seconds, initial=100))


_nonces = iter(range(1_000_000))


async def take(
    store: Store,
    worker: str = "w1",
    *,
    lanes: int = 200,
    records: int = 1000,
    horizon_seconds: float = 0.05,
) -> list[Slice]:
    """Claim once, with a nonce of its own."""
    call = claims.claim(
        worker, f"n{next(_nonces)}", lanes=lanes, records=records, horizon_seconds=horizon_seconds
    )
    return (await store.run(call)).slices


def group(held: Slice, items: Iterable[Item] | None = None) -> Group:
    """Word the question to the gate for some or all records of a slice."""
    chosen = held.items if items is None else items
    return Group(
        held.claim,
        held.lane,
        held.broadcast,
        held.batch,
        [value for item in chosen for value in (item.row, item.attempt)],
    )


async def ask(
    store: Store,
    held: Slice,
    items: Iterable[Item] | None = None,
    *,
    worker: str = "w1",
    optout_epoch: str = "0",
) -> Verdict:
    """Ask the gate about one group."""
    (verdict,) = await store.run(claims.intend(worker, optout_epoch, [group(held, items)]))
    return verdict


def result(
    row: int,
    attempt: int,
    state: State,
    *,
    code: int = 0,
    sid: bytes = b"",
    flags: int = 0,
    spend: int = 0,
    delay_us: int = 0,
    content: int = 0,
) -> Result:
    """One outcome, with the usual for what is not said."""
    return Result(row, attempt, state, code, sid, flags, spend, delay_us, content)


async def tell(
    store: Store, held: Slice, outcomes: Sequence[Result], *, worker: str = "w1", twice: bool = False
) -> Recorded:
    """Record outcomes of one batch; `twice` also records them again and wants that to change nothing."""
    call = record(worker, [Results(held.lane, held.broadcast, held.batch, list(outcomes))])
    told = await store.run(call)
    if twice:
        before = await everything(store)
        again = await store.run(call)
        assert (again.changed, again.caused, again.paused) == (0, 0, [])
        assert await everything(store) == before
    return told


async def send_all(store: Store, worker: str = "w1") -> int:
    """Claim, ask and accept until nothing is due; returns how many were accepted."""
    sent = 0
    while slices := await take(store, worker):
        for held in slices:
            verdict = await ask(store, held, worker=worker)
            going = [item for item, yes in zip(held.items, verdict.yes, strict=False) if yes == "1"]
            await tell(
                store,
                held,
                [result(i.row, i.attempt + 1, State.ACCEPTED, sid=SID) for i in going],
                worker=worker,
            )
            await store.run(claims.release(worker, [held.claim]))
            sent += len(going)
    return sent


async def overdue(store: Store, worker: str, *, xx: bool = False) -> None:
    """Let a worker's lease be over; `xx`: if it has one."""
    await store.redis.zadd(store.keys.plain("workers"), {worker: 1}, xx=xx)


async def everything(store: Store) -> dict[str, Any]:
    """Return all keys under the store's prefix with their values, but for the wake list and `seen` times."""
    redis: Any = store.redis
    keys = sorted([key async for key in redis.scan_iter(f"{store.keys.prefix}*", count=1000)])
    async with redis.pipeline(transaction=False) as pipe:
        for key in keys:
            pipe.type(key)
        kinds = await pipe.execute()
        for key, kind in zip(keys, kinds, strict=True):
            match kind:
                case b"hash":
                    pipe.hgetall(key)
                case b"zset":
                    pipe.zrange(key, 0, -1, withscores=True)
                case b"set":
                    pipe.smembers(key)
                case b"list":
                    pipe.lrange(key, 0, -1)
                case b"stream":
                    pipe.xrange(key)
                case _:
                    pipe.get(key)
        values = await pipe.execute()
    found = {key.decode(): value for key, value in zip(keys, values, strict=True)}
    found.pop(store.keys.plain("wake"), None)
    for value in found.values():
        if isinstance(value, dict):
            value.pop(b"seen", None)
    return found
