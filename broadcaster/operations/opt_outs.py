"""Opt-outs: added, and forgotten, with what the audit says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broadcaster.ledger.optouts import EVERYWHERE, opt_in, opt_out
from broadcaster.operations import audit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.operations.actor import Actor
    from broadcaster.store.connection import Store

AT_ONCE: Final = 1000
#: So many numbers an audit entry names, masked.
_NAMED: Final = 20


async def add(
    store: Store,
    actor: Actor,
    addresses: Sequence[str],
    *,
    scope: str = EVERYWHERE,
    source: str = "",
    what: str = "opt_out.add",
) -> int:
    """Write to these addresses (as `parse_address` gives them) no more; return how many are new.

    `scope` is a sender's name, or `*` for all of them; `source` is kept with each, for whoever asks
    how we know.
    """
    changed = 0
    for some in _parts(addresses):
        changed += await store.run(opt_out(some, source or actor.where, scope))
    if changed:
        await audit.record(store, actor, what, _target(addresses), new=_told(addresses, scope, changed))
    return changed


async def remove(store: Store, actor: Actor, addresses: Sequence[str], *, scope: str = EVERYWHERE) -> int:
    """Forget opt-outs; return how many there were. Twilio keeps its own list, which START changes."""
    changed = 0
    for some in _parts(addresses):
        changed += await store.run(opt_in(some, scope))
    if changed:
        old = _told(addresses, scope, changed)
        await audit.record(store, actor, "opt_out.remove", _target(addresses), old=old)
    return changed


def _parts(addresses: Sequence[str]) -> list[Sequence[str]]:
    return [addresses[start : start + AT_ONCE] for start in range(0, len(addresses), AT_ONCE)]


def _target(addresses: Sequence[str]) -> str:
    return addresses[0] if len(addresses) == 1 else f"{len(addresses):,} numbers"


def _told(addresses: Sequence[str], scope: str, changed: int) -> dict[str, Any]:
    return {"sender": scope, "changed": changed, "numbers": list(addresses[:_NAMED])}
