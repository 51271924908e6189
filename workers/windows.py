"""WhatsApp's 24 hours, looked at once more just before free text goes: they may have ended in the queue.

One command for each slice and sender, and nothing at all for slices of anything else. From here to the POST
it takes a second or two (`outgoing.YES_SECONDS`), which the margin of a window covers.
"""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

from broadcaster.domain.whatsapp_window import is_whatsapp, may_meet, minds, together
from broadcaster.ledger.inbound import Asked, read_marks, senders_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from broadcaster.domain.broadcast import BroadcastSpec
    from broadcaster.lanes.claims import Slice
    from broadcaster.store.batches import Recipients
    from broadcaster.store.connection import Store
    from workers.contents import Batch

#: A Messaging Service's pool is read again after so long; so many are remembered.
_FRESH_SECONDS: Final = 5.0
_KEPT: Final = 1000


class Windows:
    """Finds the rows to which free text may not go now."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._senders: dict[str, tuple[float, tuple[str, ...]]] = {}

    async def closed(
        self, slices: Sequence[Slice], batches: Mapping[tuple[str, str], Batch]
    ) -> dict[str, frozenset[int]]:
        """Return closed rows by claim, of slices that have any. Raises redis' errors."""
        found = ((s, batches.get((s.broadcast, s.batch))) for s in slices)
        minding = [(s, batch) for s, batch in found if batch is not None and batch.window is not None]
        if not minding:
            return {}
        rows = [_rows(slice_, batch) for slice_, batch in minding]
        asked = [
            Asked(slice_.lane, await self._senders_of(slice_.lane), [batch.address(row) for row in some])
            for (slice_, batch), some in zip(minding, rows, strict=True)
        ]
        known = await read_marks(self._store, asked)
        shut: dict[str, frozenset[int]] = {}
        for (slice_, batch), some, marks in zip(minding, rows, known.marks, strict=True):
            at = max(known.now, batch.window or 0.0)
            closed = frozenset(row for row, of in zip(some, marks, strict=True) if together(of, at).shut)
            if closed:
                shut[slice_.claim] = closed
        return shut

    async def _senders_of(self, lane: str) -> tuple[str, ...]:
        known = self._senders.get(lane)
        if known is None or monotonic() - known[0] > _FRESH_SECONDS:
            if len(self._senders) >= _KEPT:
                self._senders.clear()
            known = self._senders[lane] = (monotonic(), await senders_of(self._store, lane))
        return known[1]


def _rows(slice_: Slice, batch: Batch) -> list[int]:
    """Return a slice's rows that have a window: a forgotten person, or a plain number, has none."""
    return [item.row for item in slice_.items if is_whatsapp(batch.address(item.row))]


def window_of(spec: BroadcastSpec, lane: str, recipients: Recipients) -> float | None:
    """Return by when people's 24 hours are judged, None where nothing depends on them."""
    if not minds(spec.content, spec.outside_window) or not may_meet(lane):
        return None
    if lane.startswith("MG") and not any(to and is_whatsapp(to) for to in recipients.to):
        return None
    return spec.send_at
