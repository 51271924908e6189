"""Start-up proof that the HTTP engine still marks its failures the way `answers.outcome_of_failure` reads them."""

from __future__ import annotations


class TransportMarksError(RuntimeError):
    """The HTTP engine reports failures otherwise than it did: nothing may be sent with it."""


async def check_marks() -> None:
    """Raise `TransportMarksError` unless the marks are as expected."""
