"""Why an act was refused.

OperationError
├── NotFound     there is no such broadcast, message, sender, key, endpoint
├── Conflict     its state forbids it, now
├── Invalid      what was asked for breaks rules: every fault, each with its place
├── Refused      Twilio read it and said no
├── Limited      a limit of Twilio's is reached
├── UnderWay     another request with this idempotency key is being carried out
├── KeyReused    the idempotency key belongs to another request
└── InDoubt      no good answer of Twilio's: it may have been done
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


class OperationError(Exception):
    """An act that was refused: nothing was changed, but where it is `InDoubt`."""


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


class Refused(OperationError):  # noqa: N818
    """Twilio's own refusal: its `code`, 0 where it told none, in our words."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Limited(Refused):
    """Twilio does no more of it now: `limit` says which limit, `retry_after_seconds` when to ask again."""

    def __init__(self, message: str, code: int, limit: str, retry_after_seconds: float) -> None:
        super().__init__(message, code)
        self.limit = limit
        self.retry_after_seconds = retry_after_seconds


class UnderWay(OperationError):  # noqa: N818
    """The first request with this idempotency key has `retry_after_seconds` left to be answered."""

    def __init__(self, message: str, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class KeyReused(OperationError):  # noqa: N818
    """The idempotency key was first used for something else."""

    def __init__(self) -> None:
        super().__init__(
            "the idempotency key belongs to another request (person or list, content or options): use "
            "another key, or ask for what it was first used for"
        )


class InDoubt(OperationError):  # noqa: N818
    """It may have been done: nobody knows. `began_at`: unix second at which Twilio was asked."""

    def __init__(self, message: str, began_at: int) -> None:
        super().__init__(message)
        self.began_at = began_at
