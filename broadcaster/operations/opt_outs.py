"""Opt-outs: added, imported, and forgotten, with what the audit says of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broadcaster.domain.opt_out_scopes import EVERYWHERE, scope_for, sender_of_scope
from broadcaster.domain.senders import SenderKind, parse_sender
from broadcaster.ledger.optouts import OptOut, opt_in, opt_out_each
from broadcaster.ledger.people_key import people_key
from broadcaster.operations import audit
from broadcaster.operations.errors import Fault, invalid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.operations.actor import Actor
    from broadcaster.store.connection import Store

AT_ONCE: Final = 1000
#: So many people an audit entry names, each by a hash.
_NAMED: Final = 20


def scope_named(sender: str | None, service: str | None = None, purpose: str | None = None) -> str:
    """Return the scope that is named: of a sender or service, else of all; of a purpose, else of every one.

    Raises `Invalid` where both are named or the service is none, AddressError for a sender that is none.
    """
    if sender and service:
        invalid([Fault("name a sender or a service, not both", "/service")])
    if service:
        named = parse_sender(service)
        if named.kind is not SenderKind.SERVICE:
            invalid([Fault(f"{service!r} is no Messaging Service: MG and 32 hexadecimal digits", "/service")])
        return scope_for(named.name, purpose)
    name = sender_of_scope(sender) if sender and sender != EVERYWHERE else EVERYWHERE
    return scope_for(name, purpose)


async def add(
    store: Store,
    actor: Actor,
    addresses: Sequence[str],
    *,
    scope: str = EVERYWHERE,
    source: str = "",
) -> int:
    """Write to these addresses (as `parse_address` gives them) no more; return how many are new.

    `source` is kept with each, for whoever asks how we know.
    """
    told = source or actor.where
    return await add_each(store, actor, [OptOut(one, scope, told) for one in addresses], what="opt_out.add")


async def add_each(
    store: Store, actor: Actor, entries: Sequence[OptOut], *, what: str = "opt_out.import"
) -> int:
    """Add opt-outs that say for themselves where, since when and how we know; return how many are new.

    Who is there keeps the first source and time, so that it may be done again from wherever it broke off.
    """
    changed, key = 0, await people_key(store)
    for start in range(0, len(entries), AT_ONCE):
        part = entries[start : start + AT_ONCE]
        changed += await store.run(opt_out_each(part, key, "hand" if what == "opt_out.add" else "list"))
    if changed:
        addresses = [entry.address for entry in entries]
        scopes = sorted({entry.scope for entry in entries})
        told = await _told(
            store, addresses, scopes[0] if len(scopes) == 1 else f"{len(scopes)} scopes", changed
        )
        await audit.record(store, actor, what, await _target(store, addresses), new=told)
    return changed


async def remove(store: Store, actor: Actor, addresses: Sequence[str], *, scope: str = EVERYWHERE) -> int:
    """Forget opt-outs; return how many there were. Twilio keeps its own list, which START changes."""
    changed, key = 0, await people_key(store)
    for start in range(0, len(addresses), AT_ONCE):
        changed += await store.run(opt_in(addresses[start : start + AT_ONCE], scope, key=key))
    if changed:
        old = await _told(store, addresses, scope, changed)
        await audit.record(store, actor, "opt_out.remove", await _target(store, addresses), old=old)
    return changed


async def _target(store: Store, addresses: Sequence[str]) -> str:
    return await audit.person(store, addresses[0]) if len(addresses) == 1 else f"{len(addresses):,} numbers"


async def _told(store: Store, addresses: Sequence[str], scope: str, changed: int) -> dict[str, Any]:
    people = [await audit.person(store, address) for address in addresses[:_NAMED]]
    return {"sender": scope, "changed": changed, "people": people}
