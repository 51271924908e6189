"""Whose an installation is, kept in it: `owner`."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from broadcaster.domain.owner import Owner
from broadcaster.store.errors import OtherAccount
from broadcaster.store.scripts import Call, text

if TYPE_CHECKING:
    from broadcaster.store.connection import Store


class HandedOver(NamedTuple):
    """Whose it was, whether that changed, and what forbids it ("3 messages queued (of b-1)")."""

    before: Owner | None
    changed: bool
    left: tuple[str, ...]


async def own(store: Store, asks: Owner) -> None:
    """Return if the installation is the asker's, which nobody's becomes.

    Raises OtherAccount or another StoreError.
    """
    found = Owner.read(await store.run(Call("owner", (str(asks),), text)))
    if found != asks:
        raise OtherAccount(found, asks)


async def owner_of(store: Store) -> Owner | None:
    """Return whose it is; None: nobody's yet. Raises redis' errors."""
    found = await store.redis.get(store.keys.plain("owner"))
    return Owner.read(found.decode()) if found else None


def hand_over(to: Owner, epoch: str) -> Call[HandedOver]:
    """Give it to another account, under this new epoch, if nothing is left to send and no worker lives.

    Where replicas confirm, that is to be asked of them under the new epoch (`Store.under`).
    """
    return Call("hand_over", (str(to), epoch), _handed_over)


def _handed_over(reply: list[object]) -> HandedOver:
    before, changed, left = reply
    assert isinstance(before, bytes)  # noqa: S101 - Lua's own strings
    assert isinstance(left, list)  # noqa: S101
    was = Owner.read(before.decode()) if before else None
    return HandedOver(was, bool(changed), tuple(one.decode() for one in left))
