"""How many recipients a batch holds, so that little of what Redis' allocator gives it stays empty.

Redis keeps a batch as one string and its records as another. Its allocator, jemalloc, gives each a size of
its own list, which has four sizes from one doubling to the next (jemalloc's manual, "Implementation notes"):
of a string just too long for one of them up to a fifth is empty. A batch of a few recipients less may fit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broadcaster.domain.record import RECORD_BYTES
from broadcaster.store.batches import pack_batch

if TYPE_CHECKING:
    from broadcaster.intake.batches import BatchRows

#: Smaller batches stay as they are: of few, each one is packed in a few bytes more or less.
_LEAST_FITTED: Final = 90
#: A batch has at least this part of the recipients that it may have.
_LEAST: Final = 0.8
#: What batches of one size in one list differ by.
_MARGIN: Final = 1.01
#: After so many batches of a size one is packed again to see how long they are now.
_LOOK_EVERY: Final = 64
#: What Redis puts around a string: its length, what was allocated, its kind, a zero (sds.h), by length.
_AROUND: Final = ((1 << 8, 4), (1 << 16, 6), (1 << 32, 10))
#: What a batch takes beside its two strings: keys, objects, entries of tables.
_BESIDE: Final = 200


def allocated(length: int) -> int:
    """Return the bytes that jemalloc gives a string of Redis of so many bytes."""
    wanted = length + next(around for below, around in _AROUND if length < below)
    step = max(16, 1 << max(0, (wanted - 1).bit_length() - 3))
    return -(-wanted // step) * step


def fitting(most: int, bytes_each: float) -> int:
    """Return how many recipients, `most` or a little less, take the least for each one.

    `bytes_each` is what a recipient is packed in; what batches differ by is added here.
    """

    def taken_by_each(count: int) -> float:
        packed = int(count * bytes_each * _MARGIN)
        return (allocated(packed) + allocated(count * RECORD_BYTES) + _BESIDE) / count

    return min(range(most, int(most * _LEAST), -1), key=taken_by_each)


class Fit:
    """What fits of a list, by how many a batch may hold: few are packed worse than many."""

    def __init__(self) -> None:
        self._cut: dict[int, int] = {}
        self._holds: dict[int, int] = {}

    def of(self, rows: BatchRows, start: int, most: int) -> int:
        """Return how many of `rows`, of which `most` or more are left from `start` on, are the next batch."""
        if most < _LEAST_FITTED:
            return most
        cut = self._cut.get(most, 0)
        if cut % _LOOK_EVERY == 0:
            packed = pack_batch(rows.part(start, start + most).recipients)
            self._holds[most] = fitting(most, len(packed) / most)
        self._cut[most] = cut + 1
        return self._holds[most]
