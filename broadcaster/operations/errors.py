"""Why an act was refused.

OperationError
├── NotFound     there is no such broadcast, message, sender, key, endpoint
├── Conflict     its state forbids it, now
└── Invalid      what was asked for breaks rules: every fault, each with its place
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class OperationError(Exception):
    """An act that was refused: nothing was changed."""


class NotFound(OperationError):  # noqa: N818 - reads as what it says
    """There is no `what` called `name`."""

    def __init__(self, what: str, name: str) -> None:
        super().__init__(f"there is no {what} {name}")
        self.what = what
        self.name = name


class Conflict(OperationError):  # noqa: N818
    """What it is about is in `state`, which forbids it; after `retry_after_seconds` it may be otherwise."""

    def __init__(self, message: str, *, state: str = "", retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.state = state
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong. `pointer` is a JSON pointer (RFC 6901), `line` a line or item of a list."""

    detail: str
    pointer: str = ""
    line: int | None = None


class Invalid(OperationError):  # noqa: N818
    """What was asked for can't be taken; `faults` names everything that is wrong with it."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__("; ".join(fault.detail for fault in faults))
        self.faults = faults


def invalid(faults: Iterable[Fault]) -> None:
    """Raise `Invalid` if there are any."""
    found = tuple(faults)
    if found:
        raise Invalid(*found)
