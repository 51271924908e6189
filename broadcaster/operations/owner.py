"""Giving an installation to another Twilio account."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from broadcaster.operations import audit
from broadcaster.operations.errors import Conflict
from broadcaster.store.owning import hand_over

if TYPE_CHECKING:
    from broadcaster.domain.owner import Owner
    from broadcaster.operations.actor import Actor
    from broadcaster.store.connection import Store


@dataclass(frozen=True, slots=True)
class Ownership:
    """Whose the installation is, whose it was before, and whether that changed just now."""

    now: Owner | None
    before: Owner | None
    changed: bool = False

    def summary(self) -> dict[str, Any]:
        """Return it in JSON's types."""
        return {
            "account": self.now.account if self.now else None,
            "host": self.now.host if self.now else None,
            "changed": self.changed,
        }


async def change(store: Store, actor: Actor, to: Owner) -> Ownership:
    """Give the installation to another account; from then on every process of before is refused everything.

    Raises Conflict, with all that is left, while anything is unsent or a worker runs; or a StoreError.
    """
    epoch = secrets.token_hex(8)
    done = await store.run(hand_over(to, epoch))
    if done.left:
        raise Conflict(
            f"this installation stays {done.before.told if done.before else 'as it is'}: there are "
            f"{', '.join(done.left)}. Let it end or cancel it, and stop all workers; then ask again. "
            "Nothing was changed",
            state="unsent",
        )
    if done.changed:
        await store.under(epoch).confirm()
        old = {"owner": str(done.before)} if done.before else None
        await audit.record(store, actor, "account.change", "everything", old=old, new={"owner": str(to)})
    return Ownership(to, done.before, done.changed)
