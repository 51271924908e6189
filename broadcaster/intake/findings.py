"""What was found out about a broadcast by asking others, before its list is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """`warnings` stop nothing. `verified`: the numbers that a trial account may write to, None for any.

    `limits`: how many people a sender may begin to write to in 24 hours, by its name, where one is known.
    """

    warnings: tuple[str, ...] = ()
    verified: frozenset[str] | None = None
    limits: Mapping[str, int] = field(default_factory=dict)

    def __or__(self, other: Findings) -> Findings:
        """Return both."""
        return Findings(
            warnings=(*self.warnings, *(text for text in other.warnings if text not in self.warnings)),
            verified=self.verified if other.verified is None else other.verified,
            limits={**self.limits, **other.limits},
        )

    def over_limits(self, recipients: Mapping[str, int]) -> list[str]:
        """Return warnings about senders whose share of the list (`recipients`) is beyond their limit."""
        return [
            f"{sender} may begin to write to {limit:,} people in 24 hours, and this list has "
            f"{recipients[sender]:,} for it: Twilio refuses the rest (63018) until a day is over"
            for sender, limit in self.limits.items()
            if recipients.get(sender, 0) > limit
        ]


NOTHING_FOUND = Findings()
