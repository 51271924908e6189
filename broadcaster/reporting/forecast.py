"""When a broadcast will have left: its longest lane's segments over its rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.store.connection import Store


class LaneLeft(msgspec.Struct, frozen=True, gc=False):
    """What a broadcast still has to send from one lane: messages and segments, by how far it has come."""

    lane: str
    recipients: float
    segments: float


class FlowLeft(msgspec.Struct, frozen=True, gc=False):
    """How far a flow has come: batch `head` of `batches`, which hold `recipients` and `segments`; retries.

    A stream knows neither of those two.
    """

    lane: str
    batches: int
    head: int
    recipients: int
    segments: int
    retries: int

    @property
    def ahead(self) -> float:
        """About how many messages it has left to give."""
        left = max(0, self.batches - self.head)
        fresh = self.recipients * left / self.batches if self.recipients and self.batches else left
        return fresh + self.retries

    @property
    def cost(self) -> float:
        """Segments a message."""
        return self.segments / self.recipients if self.recipients else 1.0


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
    flows = [
        FlowLeft(lane, *[int(field or 0) for field in fields], retries)  # type: ignore[call-arg]  # four fields
        for lane, fields, retries in zip(lanes, told[::2], told[1::2], strict=True)
    ]
    return share_out(flows, unsent)


def share_out(flows: Sequence[FlowLeft], unsent: int) -> list[LaneLeft]:
    """Return what is left of each lane, all together `unsent` messages, by how far each flow has come.

    The batch at the head is partly sent, and what is claimed stands in no flow. A stream's batches are
    counted alike.
    """
    rough = [flow.ahead for flow in flows]
    whole = sum(rough)
    if not whole:  # given to workers, or given back by them
        return [LaneLeft(f.lane, unsent / len(flows), unsent * f.cost / len(flows)) for f in flows]
    share = unsent / whole
    return [
        LaneLeft(flow.lane, left * share, left * share * flow.cost)
        for flow, left in zip(flows, rough, strict=True)
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
