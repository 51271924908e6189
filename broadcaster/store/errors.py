"""What can go wrong with Redis.

StoreError
├── Unreachable         no answer; the command may or may not have been carried out
│   └── Unconfirmed     carried out, but too few replicas have it: a failover may undo it
├── WrongServer         too old, a Cluster, evicting, or data of a newer version
├── EpochChanged        the installation is gone or another one: nothing may be sent
└── LeaseLost           this worker's lease was taken away: its claims are no longer its own
"""

from __future__ import annotations


class StoreError(Exception):
    """The root of all that Redis can do to us."""


class Unreachable(StoreError):  # noqa: N818 - reads as the state it names
    """No answer from Redis. What was asked may have been done: ask again, scripts are idempotent."""


class Unconfirmed(Unreachable):
    """Carried out by the primary, but fewer replicas have it than must: if that dies now, it never was."""


class WrongServer(StoreError):  # noqa: N818
    """The server answers but can't be used; the message says why and what to do."""


class EpochChanged(StoreError):  # noqa: N818
    """The installation this process started with is no longer in this Redis. Nothing may be sent."""

    def __init__(self) -> None:
        super().__init__(
            "EPOCH: the installation that this process joined is no longer in this Redis, which was emptied, "
            "is another one, or was restored from a backup. Nothing is sent. To go on from a backup: put it "
            "back, run `broadcaster restore`, then start the workers."
        )


class LeaseLost(StoreError):  # noqa: N818
    """This worker's lease ran out and its claims were taken back."""
