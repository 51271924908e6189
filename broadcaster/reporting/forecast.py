"""When a broadcast will have left: its longest lane's segments over its rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.store.connection import Store


@dataclass(frozen=True, slots=True)
class LaneLeft:
    """What a broadcast still has to send from one lane: messages and segments, by how far it has come."""

    lane: str
    recipients: float
    segments: float


async def read_left(store: Store, broadcast: str, lanes: Sequence[str], unsent: int) -> list[LaneLeft]:
    """Return what is left of each lane, all together `unsent` messages. Raises redis' errors.

    How far a lane has come is known by its batches, which are alike in size; segments are taken to be spread
    evenly over them.
    """
    async with store.redis.pipeline(transaction=False) as pipe:
        for lane in lanes:
            pipe.hmget(store.keys.flow(broadcast, lane), "n", "head", "recipients", "segments")
            pipe.zcard(store.keys.flow(broadcast, lane, ":retry"))
        told = await pipe.execute()
    rough: list[tuple[float, float]] = []
    for fields, retries in zip(told[::2], told[1::2], strict=True):
        batches, head, recipients, segments = (int(field or 0) for field in fields)
        ahead = recipients * max(0, batches - head) / batches if batches else 0.0
        rough.append((ahead + retries, segments / recipients if recipients else 1.0))
    whole = sum(left for left, _ in rough)
    share = unsent / whole if whole else 0.0  # the batch at the head is partly sent
    return [
        LaneLeft(lane, left * share, left * share * cost)
        for lane, (left, cost) in zip(lanes, rough, strict=True)
    ]


def seconds_left(left: Sequence[LaneLeft], rates: dict[str, float], *bounds: float | None) -> float | None:
    """Return the seconds until the longest lane is done; `bounds` are rates of all lanes together, if any.

    None where a lane with something left has no rate.
    """
    waits: list[float] = []
    for lane in left:
        if lane.segments <= 0:
            continue
        rate = rates.get(lane.lane, 0.0)
        if rate <= 0:
            return None
        waits.append(lane.segments / rate)
    total = sum(lane.segments for lane in left)
    waits += [total / bound for bound in bounds if bound]
    return max(waits, default=0.0)
