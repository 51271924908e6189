"""Why something that was to be broadcast is not taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.domain.create_message import Fault


class SubmissionError(ValueError):
    """What was asked for can't be taken: the message says why and what to do. Nothing was queued."""


class ContentRefusedError(SubmissionError):
    """The request breaks rules of Create Message; `faults` names each with Twilio's parameter."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        told = [
            f"{f.parameter}: {f.rule}" + (f" (Twilio {f.twilio_code})" if f.twilio_code else "")
            for f in faults
        ]
        super().__init__("Twilio would refuse this: " + "; ".join(told))


class WindowMissedError(SubmissionError):
    """It would expire before its send window opens."""

    def __init__(self, waits: str) -> None:
        super().__init__(
            f"all of it would expire unsent: {waits}, and it expires before that. "
            "Let it expire later, or choose other hours"
        )


class HandedOutsideError(SubmissionError):
    """Twilio would send it at an hour outside its send window."""

    def __init__(self, waits: str) -> None:
        super().__init__(
            f"Twilio sends at the very time that is named, which is {waits}. Name a time within these hours, "
            "or let us keep it (scheduler broadcaster), who wait for them"
        )


class FullError(SubmissionError):
    """Redis has no room for it now."""


class UnderWayError(SubmissionError):
    """Another process imports a list with this idempotency key, as `broadcast`; or has just died of it."""

    def __init__(self, broadcast: str) -> None:
        self.broadcast = broadcast
        super().__init__(
            "the list with this idempotency key is being imported right now, as broadcast "
            f"{broadcast}: wait for it, then ask again"
        )


class KeyTakenError(SubmissionError):
    """The idempotency key belongs to `broadcast`, which is another one."""

    def __init__(self, key: str, broadcast: str) -> None:
        self.broadcast = broadcast
        super().__init__(
            f"the idempotency key {key!r} belongs to broadcast {broadcast}, which has another list, content "
            "or options: use another key, or what it was first used with"
        )


class NotConfirmedError(Exception):
    """Whoever was asked said no. Nothing was queued."""
