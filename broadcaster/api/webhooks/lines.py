"""The canonical line of a batch of callbacks, `callbacks.done`; and, sampled at debug, one of each."""

from __future__ import annotations

import logging
from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog

from broadcaster.telemetry.bounded import SUM_SECONDS, LineBudget

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.ledger.callbacks import Status
    from broadcaster.ledger.recording import Recorded
    from broadcaster.telemetry.bounded import Sample

log = structlog.get_logger("callbacks")
_plain: Final = logging.getLogger("callbacks")


class CallbackLog:
    """Writes them; batches beyond the budget wait for the next line and are in its sums."""

    def __init__(self, sample: Sample | None = None) -> None:
        self._sample = sample
        self._budget = LineBudget()
        self._begin()

    def _begin(self) -> None:
        self._batches = self._statuses = self._recorded = self._dropped = 0
        self._longest = 0.0
        self._since = monotonic()

    def written(self, statuses: Sequence[Status], told: Recorded, seconds: float) -> None:
        """Take a batch that Redis has."""
        if not _plain.isEnabledFor(logging.INFO):
            return
        now = monotonic()
        if not self._batches:
            self._since = now
        self._batches += 1
        self._statuses += len(statuses)
        self._recorded += told.changed
        self._dropped += told.missing
        self._longest = max(self._longest, seconds)
        if self._sample is not None:
            self._trace(self._sample, statuses)
        if self._budget.take(now) or now - self._since > SUM_SECONDS:
            self.write_all()

    def write_all(self) -> None:
        """Write what has no line yet."""
        if not self._batches:
            return
        log.info(
            "callbacks.done",
            batches=self._batches,
            statuses=self._statuses,
            recorded=self._recorded,
            unchanged=self._statuses - self._recorded - self._dropped,
            dropped=self._dropped,
            longest_seconds=round(self._longest, 4),
        )
        self._begin()

    def _trace(self, sample: Sample, statuses: Sequence[Status]) -> None:
        for one in statuses:
            if sample.takes(one.broadcast, one.batch, one.row):
                log.debug(
                    "message.status",
                    broadcast=one.broadcast,
                    batch=one.batch,
                    row=one.row,
                    attempt=one.attempt,
                    sid=one.sid,
                    state=one.status,
                    code=one.code,
                )
