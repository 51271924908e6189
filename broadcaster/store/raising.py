"""The data format of an installation is raised with the first use of what a newer one brought.

Older processes are kept out by the epoch, which every script checks first: the raising gives the installation
another one, and only who knows the new format finds out which (`Store.follow`). It is refused while a worker
that is older has its lease, as what that one has in flight could not be recorded any more.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Final, NamedTuple

import structlog

from broadcaster.store.errors import EpochChanged, OlderWorkers, Unconfirmed
from broadcaster.store.scripts import Call

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

log = structlog.get_logger("format")

#: A worker may live though its lease was over for so long: Redis may have stalled.
GRACE_SECONDS: Final = 10.0
#: Whoever reads the old format just before it is raised has joined after so long.
PAUSE_SECONDS: Final = 1.0
#: Replicas are asked for their word so often, each time for as long as they may take (CONFIRM_MS).
UNCONFIRMED_TRIES: Final = 5
_MICRO: Final = 1_000_000


class Raised(NamedTuple):
    """'ok', 'older' or 'begun' (raise_format.lua), and the workers that are too old."""

    verdict: str
    workers: list[str]


def raise_format(
    needed: int, epoch: str, *, grace_seconds: float = GRACE_SECONDS, pause_seconds: float = PAUSE_SECONDS
) -> Call[Raised]:
    """Take one step towards a newer format, which ends under this new `epoch`."""
    arguments = (needed, epoch, int(grace_seconds * _MICRO), int(pause_seconds * _MICRO))
    return Call("raise_format", arguments, _raised, lasting=True)


async def need_format(store: Store, needed: int, *, pause_seconds: float = PAUSE_SECONDS) -> None:
    """Return once data of format `needed` may be written; costs nothing but the first time.

    Raises `OlderWorkers` while a worker lives that does not know it, or a `StoreError`. It may die anywhere:
    whoever needs the format next goes on from there.
    """
    if needed <= store.fenced:
        return
    epoch = secrets.token_hex(8)
    unconfirmed = 0
    while True:
        try:
            found = await store.run(raise_format(needed, epoch, pause_seconds=pause_seconds))
        except Unconfirmed:
            # at least once: what was to confirm the new epoch came under the old one
            unconfirmed += 1
            if unconfirmed >= UNCONFIRMED_TRIES:
                raise
            continue
        if found.verdict == "older":
            raise OlderWorkers(found.workers, needed)
        if found.verdict == "ok":
            break
        await asyncio.sleep(pause_seconds)
    # under the new epoch at once: should that be undone, so is what we know of it
    if not await store.follow():
        raise EpochChanged
    store.fenced = needed
    log.info("format.raised", format=needed)


def _raised(reply: list[object]) -> Raised:
    verdict, workers = reply
    assert isinstance(verdict, bytes)  # noqa: S101 - Lua's own strings
    assert isinstance(workers, list)  # noqa: S101
    return Raised(verdict.decode(), [worker.decode() for worker in workers])
