"""The canonical line of callbacks, `callbacks.done`, once in some seconds; at debug, sampled, one of each.

They come one or two at a time, a line for each would be most of what is logged.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING, Final

import structlog

from broadcaster.telemetry.bounded import SUM_SECONDS, SUMS_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.ledger.callbacks import Status
    from broadcaster.ledger.recording import Recorded
    from broadcaster.telemetry.bounded import Sample

log = structlog.get_logger("callbacks")
_plain: Final = logging.getLogger("callbacks")
#: Broadcasts that are counted by name until a line is written; statuses of more are counted together.
_KEPT: Final = 1000


class CallbackLog:
    """Writes them: a line has all batches since the first that came after the line before."""

    def __init__(self, sample: Sample | None = None) -> None:
        self._sample = sample
        self._due: asyncio.TimerHandle | None = None
        self._begin()

    def _begin(self) -> None:
        self._batches = self._statuses = self._recorded = self._dropped = 0
        self._longest = 0.0
        self._by: Counter[str] = Counter()
        self._of_others = 0

    def written(self, statuses: Sequence[Status], told: Recorded, seconds: float) -> None:
        """Take a batch that Redis has, in a running event loop."""
        if not _plain.isEnabledFor(logging.INFO):
            return
        self._batches += 1
        self._statuses += len(statuses)
        self._recorded += told.changed
        self._dropped += told.missing
        self._longest = max(self._longest, seconds)
        if self._sample is not None:
            self._trace(self._sample, statuses)
        for one in statuses:
            if one.broadcast in self._by or len(self._by) < _KEPT:
                self._by[one.broadcast] += 1
            else:
                self._of_others += 1
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(SUM_SECONDS, self.write_all)

    def write_all(self) -> None:
        """Write what has no line yet."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        if not self._batches:
            return
        named = dict(self._by.most_common(SUMS_AT_ONCE))
        others = self._statuses - sum(named.values())
        log.info(
            "callbacks.done",
            batches=self._batches,
            statuses=self._statuses,
            recorded=self._recorded,
            unchanged=self._statuses - self._recorded - self._dropped,
            dropped=self._dropped,
            broadcasts=named,
            **({"of_other_broadcasts": others} if others else {}),
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
