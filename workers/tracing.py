"""Lines about single messages, for a sample of them, at debug: no number, no text, just what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from broadcaster.domain.failures import Outcome
    from broadcaster.domain.record import Reason
    from broadcaster.lanes.claims import Item
    from broadcaster.telemetry.bounded import Sample
    from workers.outgoing import Message
    from workers.plan import Held

log = structlog.get_logger("messages")


def trace_sent(sample: Sample, message: Message, outcome: Outcome) -> None:
    """Tell how a request ended."""
    slice_, item = message.held.slice, message.item
    if not sample.takes(slice_.broadcast, slice_.batch, item.row):
        return
    log.debug(
        "message.sent",
        broadcast=slice_.broadcast,
        batch=slice_.batch,
        row=item.row,
        attempt=item.attempt + 1,
        lane=slice_.lane,
        outcome=outcome.kind.value,
        sid=outcome.sid,
        code=outcome.code,
        status=outcome.http_status,
        detail=outcome.detail,
        segments=item.segments,
    )


def trace_skipped(sample: Sample, held: Held, item: Item, reason: Reason) -> None:
    """Tell that a message was not asked for at the gate."""
    slice_ = held.slice
    if sample.takes(slice_.broadcast, slice_.batch, item.row):
        log.debug(
            "message.skipped",
            broadcast=slice_.broadcast,
            batch=slice_.batch,
            row=item.row,
            reason=reason.name.lower(),
        )
