"""Which Messaging Service a sender belongs to: it spends that one's permits, and shares its opt-outs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broadcaster.store.scripts import Call, packed

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Field of a service's lane: the names in its pool, one a line, as they were last read.
POOL_FIELD: Final = "members"


def share_pool(lane: str, service: str) -> Call[int]:
    """Note that a sender is in the pool of a service; 1 if that is news."""
    return Call("pool", (service, packed([lane]), 0), int, lasting=True)


def keep_pool(service: str, pool: Sequence[str]) -> Call[int]:
    """Note all of a service's senders, as Twilio lists them; answers how many came or went."""
    return Call("pool", (service, packed(list(pool)), 1), int, lasting=True)
