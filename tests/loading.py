"""Broadcasts of numbered recipients, loaded as intake loads them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from broadcaster.domain.broadcast import BroadcastSpec, OnDoubt, Priority, Scheduler
from broadcaster.domain.content import Content
from broadcaster.domain.purpose import Purpose
from broadcaster.domain.record import Record, State
from broadcaster.intake.batches import BatchRows
from broadcaster.intake.load import Loader, new_broadcast_id, reserve
from broadcaster.lanes.control import start

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.domain.send_window import SendWindow
    from broadcaster.store.connection import Store


def number(i: int) -> str:
    """The i-th recipient of a test."""
    return f"+1415{i:07d}"


async def load(
    store: Store,
    lanes: dict[str, int],
    *,
    rates: dict[str, float] | None = None,
    batch: int = 50,
    priority: Priority = Priority.NORMAL,
    body: str = "hello",
    segments: int = 1,
    begin: bool = True,
    schedule_in: float | None = None,
    first: int = 0,
    expires_at: float | None = None,
    rate: float | None = None,
    content: Content | None = None,
    on_doubt: OnDoubt = OnDoubt.RESEND,
    send_window: SendWindow | None = None,
    purpose: Purpose = Purpose.UTILITY,
    address: Callable[[int], str] = number,
    scheduler: Scheduler = Scheduler.BROADCASTER,
) -> str:
    """Load a broadcast with so many recipients for each lane; start it unless told not to, or when."""
    spec = BroadcastSpec(
        name="test",
        senders=tuple(lanes),
        content=content or Content(body=body),
        on_doubt=on_doubt,
        priority=priority,
        schedule_at=None if schedule_in is None else time.time() + schedule_in,
        expires_at=expires_at,
        rate=rate,
        send_window=send_window,
        purpose=purpose,
        scheduler=scheduler,
    )
    bid = new_broadcast_id()
    assert (await store.run(reserve(bid, spec))).verdict == "new"
    loader = Loader(store, bid, spec, rates or dict.fromkeys(lanes, 1000.0))
    at = first
    for lane, count in lanes.items():
        for begun in range(0, count, batch):
            size = min(batch, count - begun)
            await loader.add(
                BatchRows(
                    lane=lane,
                    to=[address(at + i) for i in range(size)],
                    references=None,
                    columns=(),
                    values=[],
                    states=bytes(size),
                    codes=[0] * size,
                    segments=bytes([segments]) * size,
                )
            )
            at += size
    await loader.seal(fingerprint="f", facts={})
    if begin and spec.starts_at is None:
        assert await store.run(start(bid)) == "ok"
    return bid


async def records(store: Store, bid: str) -> dict[tuple[str, int], Record]:
    """Read the whole ledger of a broadcast."""
    found = {}
    prefix = store.keys.ledger(bid, "")
    async for key in store.redis.scan_iter(f"{prefix}*", count=1000):
        raw = await store.redis.get(key)
        batch = key.decode()[len(prefix) :]
        for i in range(len(raw) // 32):
            found[batch, i] = Record.unpack(raw, i * 32)
    return found


async def counts(store: Store, bid: str) -> dict[State, int]:
    """Read a broadcast's counters, zeros left out."""
    fields = await store.redis.hgetall(store.keys.broadcast(bid))
    return {
        State(int(k[1:])): int(v) for k, v in fields.items() if k[:1] == b"n" and k[1:].isdigit() and int(v)
    }
