"""What can go wrong with Redis.

StoreError
├── Unreachable         no answer; the command may or may not have been carried out
│   └── Unconfirmed     carried out, but too few replicas have it: a failover may undo it
├── WrongServer         too old, a Cluster, evicting
├── EpochChanged        the installation is gone or another one: nothing may be sent
│   └── NewerData       its data has a newer format than this program knows (a WrongServer too)
├── OtherAccount        the installation belongs to another Twilio account than this process has
├── OlderWorkers        a worker lives that is too old for what was asked
└── LeaseLost           this worker's lease was taken away: its claims are no longer its own
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.domain.owner import Owner


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
            "back, run `broadcaster restore`, then start workers, API and webhooks. If that was done, or a "
            "failover undid a raised data format: start this process again."
        )


class NewerData(EpochChanged, WrongServer):
    """The data has a newer format than this program knows: it may neither start nor go on."""

    def __init__(self, found: int, known: int) -> None:
        StoreError.__init__(
            self,
            f"The data in this Redis has format {found}; this program knows up to {known}. "
            "Upgrade the program. Nothing is sent by it until then.",
        )


class OtherAccount(StoreError):  # noqa: N818
    """The installation belongs to another Twilio account, or to what stands in Twilio's place."""

    def __init__(self, owner: Owner, asks: Owner) -> None:
        super().__init__(
            f"this installation belongs to {owner.told}, and what is set here is {asks.told}. What one has "
            "left is not for the other to send: nothing was sent. Set that account again; or begin another "
            "installation, by another BROADCASTER_KEY_PREFIX, REDIS_URL or (without REDIS_URL) "
            "BROADCASTER_DATA_DIR; or, when all workers are stopped and nothing is left unsent, give this "
            "one away: broadcaster config account --change"
        )


class OlderWorkers(StoreError):  # noqa: N818
    """It would be read wrongly by workers of an older version, which live; nothing was changed."""

    def __init__(self, workers: Sequence[str], needed: int) -> None:
        several = ", ".join(workers)
        super().__init__(
            f"this needs data format {needed}, and these workers are of a version that does not know it: "
            f"{several}. Replace each by one of this version (SIGTERM lets it finish what is in flight), "
            "then ask again; nothing was queued"
        )


class LeaseLost(StoreError):  # noqa: N818
    """This worker's lease ran out and its claims were taken back."""
