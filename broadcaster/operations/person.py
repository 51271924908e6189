"""All that is known of one person, for whoever asks what is kept of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from broadcaster.domain.opt_out_scopes import parts_of_scope
from broadcaster.events.forgetting import events_about
from broadcaster.intake.rejects import names_person, read_reject_rows
from broadcaster.ledger.answers import strays_about
from broadcaster.ledger.people_key import hashed, people_key
from broadcaster.operations import audit
from broadcaster.reporting.bodies import read_spec
from broadcaster.reporting.messages import find_number, read_history
from broadcaster.reporting.replies import page as page_of_replies
from broadcaster.reporting.said import Said

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.operations.actor import Actor
    from broadcaster.store.connection import Store

_REPLIES_AT_ONCE: Final = 200


async def show(store: Store, actor: Actor, addresses: Sequence[str]) -> dict[str, Any]:
    """Return everything in JSON's types: messages with texts, replies, opt-outs, rejected rows.

    And how many callbacks that wait for their message, and events on their way to endpoints, name them.
    `addresses` are the person's (`addresses_of`). The audit knows who asked. Raises redis' errors.
    """
    await audit.record(store, actor, "recipient.show", await audit.person(store, addresses[0]))
    messages: list[dict[str, Any]] = []
    said: dict[str, Said] = {}
    for address in addresses:
        async for view in find_number(store, None, address):
            if view.broadcast not in said:
                said[view.broadcast] = Said(await read_spec(store, view.broadcast))
            history = [attempt.summary() for attempt in await read_history(store, view)]
            messages.append(said[view.broadcast].whole(view) | {"history": history})
    replies = [reply for address in addresses for reply in await _replies(store, address)]
    return {
        "number": addresses[0],
        "messages": messages,
        "replies": replies,
        "opt_outs": await opt_outs_of(store, addresses),
        "rejected": await _rejected(store, addresses[0]),
        "waiting": {
            "callbacks": len(await strays_about(store, addresses[0])),
            "events": await events_about(store, addresses[0]),
        },
    }


async def _replies(store: Store, address: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after: Sequence[Any] | None = None
    while True:
        views, spot = await page_of_replies(store, limit=_REPLIES_AT_ONCE, after=after, people=[address])
        found += [view.summary() for view in views]
        if spot is None:
            return found
        after = spot


async def opt_outs_of(store: Store, addresses: Sequence[str]) -> list[dict[str, Any]]:
    """Return what the person is opted out of, also where only a hash of them is left."""
    key = await people_key(store)
    found = []
    scopes = sorted(raw.decode() for raw in await store.redis.smembers(store.keys.plain("optouts:scopes")))
    for scope in scopes:
        for address in addresses:
            for name, known in ((address, False), (hashed(key, address), True)):
                value = await store.redis.hget(store.keys.plain("optouts"), f"{scope}|{name}")
                if value is not None:
                    source, _, since = value.decode().rpartition("|")
                    sender, purpose = parts_of_scope(scope)
                    found.append(
                        {"address": address, "sender": sender, "purpose": purpose, "since": int(since or 0),
                         "source": source, "forgotten": known}
                    )  # fmt: skip
    return found


async def _rejected(store: Store, number: str) -> list[dict[str, Any]]:
    """Return rows that were not taken and name the person, whatever the spelling."""
    found = []
    for raw in await store.redis.zrevrange(store.keys.plain("bcs"), 0, -1):
        async for columns, (line, reason, values) in read_reject_rows(store, raw.decode()):
            if names_person(number, (reason, *values)):
                row = dict(zip(columns, values, strict=False))
                found.append({"broadcast": raw.decode(), "line": line, "reason": reason, "row": row})
    return found
