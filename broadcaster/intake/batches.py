"""What intake hands to the store: a batch of one lane's recipients, columnar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from broadcaster.store.batches import Recipients

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.intake.fitting import Fit

#: A batch is about this much of its lane's sending at one segment a message.
BATCH_SECONDS: Final = 30
MIN_BATCH: Final = 16
MAX_BATCH: Final = 500


class BatchRows(msgspec.Struct):
    """Up to 500 recipients of one broadcast for one lane; all lists have one entry per recipient.

    `values` holds one list per column of `columns`. `states` is a `State` per recipient (queued or
    skipped), `codes` its `Reason`, `segments` what one send costs, 1 to 255.
    """

    lane: str
    to: list[str]
    references: list[str | None] | None
    columns: tuple[str, ...]
    values: list[list[str]]
    states: bytes
    codes: list[int]
    segments: bytes

    def __len__(self) -> int:
        return len(self.to)

    @property
    def recipients(self) -> Recipients:
        """What of them is packed."""
        return Recipients(self.to, self.references, self.columns, self.values)

    def part(self, start: int, stop: int) -> BatchRows:
        """Return some of these rows in lists of their own."""
        return BatchRows(
            lane=self.lane,
            to=self.to[start:stop],
            references=None if self.references is None else self.references[start:stop],
            columns=self.columns,
            values=[column[start:stop] for column in self.values],
            states=self.states[start:stop],
            codes=self.codes[start:stop],
            segments=self.segments[start:stop],
        )

    def only(self, indexes: Sequence[int], lane: str) -> BatchRows:
        """Return the rows `indexes`, ascending, as rows of `lane`."""
        if len(indexes) == len(self.to):
            return msgspec.structs.replace(self, lane=lane)
        return BatchRows(
            lane=lane,
            to=[self.to[i] for i in indexes],
            references=None if self.references is None else [self.references[i] for i in indexes],
            columns=self.columns,
            values=[[column[i] for i in indexes] for column in self.values],
            states=bytes([self.states[i] for i in indexes]),
            codes=[self.codes[i] for i in indexes],
            segments=bytes([self.segments[i] for i in indexes]),
        )


def batch_size(rate: float) -> int:
    """Return how many recipients a batch of a lane of `rate` segments a second may hold, 16 to 500."""
    return max(MIN_BATCH, min(MAX_BATCH, int(BATCH_SECONDS * rate)))


class LaneRows:
    """Collects a lane's recipients until they fill a batch, whose size is cut to what fits in memory."""

    def __init__(self, lane: str, rate: float, fit: Fit) -> None:
        self.lane = lane
        self.size = batch_size(rate)
        self._fit = fit
        self._rows: BatchRows | None = None

    def add(self, rows: BatchRows) -> list[BatchRows]:
        """Take `rows`, any number of them, and return the batches that are full now."""
        full: list[BatchRows] = []
        waiting, size = self._rows, self.size
        if waiting is not None:
            if _alike(waiting, rows):
                _extend(waiting, rows)
                if len(waiting) < size:
                    return full
                rows = waiting
            else:
                full.append(waiting)
            self._rows = None
        start, count = 0, len(rows)
        while count - start >= size:
            stop = start + self._fit.of(rows, start, size)
            full.append(rows.part(start, stop))
            start = stop
        if start < count:
            self._rows = rows.part(start, count)
        return full

    def rest(self) -> BatchRows | None:
        """Return what has not filled a batch, and forget it."""
        rows, self._rows = self._rows, None
        return rows


def _alike(one: BatchRows, other: BatchRows) -> bool:
    return one.columns == other.columns and (one.references is None) == (other.references is None)


def _extend(rows: BatchRows, more: BatchRows) -> None:
    """Append `more` to `rows`, in place: a thousand lanes get two rows at a time."""
    rows.to += more.to
    if rows.references is not None and more.references is not None:
        rows.references += more.references
    for column, values in zip(rows.values, more.values, strict=True):
        column.extend(values)
    rows.states += more.states
    rows.codes += more.codes
    rows.segments += more.segments
