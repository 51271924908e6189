"""Unpacked batches that are at hand: those in use, and those used last.

Bounded by what they hold, not by their number: a lane at 1/s has 30 recipients in a batch, a fast one 500.
A number that suits the fast ones is too small for thousands of slow lanes, whose every message would have its
batch unpacked anew.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from workers.contents import Batch

#: Addresses and variables, about 70 bytes each: enough for 10,000 lanes at 1/s with two variables.
TEXTS_KEPT: Final = 1_000_000
#: What a batch costs besides, in texts.
_EACH: Final = 16

Name = tuple[str, str]


class Kept:
    """Batches by (broadcast, batch)."""

    def __init__(self) -> None:
        self._batches: OrderedDict[Name, Batch] = OrderedDict()
        self._texts = 0

    def get(self, name: Name) -> Batch | None:
        """Return a batch, which counts as used now."""
        found = self._batches.get(name)
        if found is not None:
            self._batches.move_to_end(name)
        return found

    def put(self, name: Name, batch: Batch) -> None:
        """Keep a batch; those that were not used for longest go where there are too many."""
        self.drop(name)
        self._batches[name] = batch
        self._texts += _EACH + batch.texts
        while self._texts > TEXTS_KEPT and len(self._batches) > 1:
            _, oldest = self._batches.popitem(last=False)
            self._texts -= _EACH + oldest.texts

    def drop(self, name: Name) -> None:
        """Let go of a batch, if it is there."""
        gone = self._batches.pop(name, None)
        if gone is not None:
            self._texts -= _EACH + gone.texts

    def __len__(self) -> int:
        return len(self._batches)
