"""Calls of Python functions, ours and others': a measure of work that no other process can disturb."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROOT: Final = Path(__file__).parents[1]
_OURS: Final = (str(_ROOT / "broadcaster"), str(_ROOT / "workers"))


@dataclass(slots=True)
class Calls:
    """How many calls of our own functions there were, and of functions that are written in C."""

    ours: int = 0
    built_in: int = 0


@contextlib.contextmanager
def counting_calls() -> Iterator[Calls]:
    """Count this thread's calls within the block; a coroutine that goes on counts, too."""
    made = Calls()

    def note(frame: Any, event: str, _: Any) -> None:
        if frame.f_code.co_filename.startswith(_OURS):
            if event == "call":
                made.ours += 1
            elif event == "c_call":
                made.built_in += 1

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield made
    finally:
        sys.setprofile(before)
