"""Who changed what, when, from where, old → new. Entries are only ever added; the oldest leave by age."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from broadcaster.ledger.people_key import OtherKey, hashed, is_hashed, people_key
from broadcaster.telemetry.masking import Masking

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from broadcaster.operations.actor import Actor
    from broadcaster.store.connection import Store

COLUMNS: Final = ("id", "at", "who", "where", "what", "target", "old", "new")
KEPT_DAYS: Final = 400
_AT_ONCE: Final = 500
_masking: Final = Masking()


@dataclass(frozen=True, slots=True)
class Entry:
    """One change. `id` sorts by time; `at` is in unix seconds; `old` and `new` are JSON's types."""

    id: str
    at: float
    who: str
    where: str
    what: str
    target: str
    old: Any
    new: Any

    def summary(self) -> dict[str, Any]:
        """Return it in JSON's types."""
        return {
            "id": self.id,
            "at": round(self.at, 3),
            "who": self.who,
            "where": self.where,
            "what": self.what,
            "target": self.target,
            "old": self.old,
            "new": self.new,
        }


async def record(
    store: Store, actor: Actor, what: str, target: str, *, old: Any = None, new: Any = None
) -> None:
    """Add an entry: `what` is a verb like `broadcast.pause`, `target` what it was done to.

    Numbers are masked; what is done to somebody names them by `person`: the audit outlives people's data.
    """
    entry = {
        "who": actor.who,
        "where": actor.where,
        "what": what,
        "target": _target(what, target),
        "old": msgspec.json.encode(_masking.value(old)),
        "new": msgspec.json.encode(_masking.value(new)),
    }
    oldest = int((time.time() - await _kept_seconds(store)) * 1000)
    await store.redis.xadd(store.keys.plain("audit"), entry, minid=f"{max(0, oldest)}-0", approximate=True)


def _target(what: str, target: str) -> str:
    # a worker's name may end in digits only, which is no number
    return str(
        _masking.mapping({"worker": target})["worker"]
        if what.startswith("worker.")
        else _masking.text(target)
    )


async def person(store: Store, address: str) -> str:
    """Return what stands for somebody in an entry: a keyed hash of the number, of whatever channel.

    Eight digits of a number that are shown leave a thousand people at most; this names nobody without the
    key, and says of two entries whether they are about the same person. Raises redis' errors.
    """
    if is_hashed(address):
        return address
    try:
        return hashed(await people_key(store), address.removeprefix("whatsapp:"))
    except OtherKey:
        return "a person"


async def _kept_seconds(store: Store) -> float:
    days = await store.redis.hget(store.keys.plain("account"), "audit_days")
    return float(days or KEPT_DAYS) * 86400


async def keep(store: Store, days: int) -> None:
    """Set for how many days entries are kept."""
    await store.redis.hset(store.keys.plain("account"), "audit_days", days)


async def page(store: Store, *, before: str = "", limit: int = 50, what: str = "") -> list[Entry]:
    """Return the newest entries first, those before entry `before` if given; only of one verb, if given."""
    found: list[Entry] = []
    async for entry in newest_first(store, before=before):
        if not what or entry.what == what or entry.what.startswith(f"{what}."):
            found.append(entry)
        if len(found) >= limit:
            break
    return found


async def newest_first(store: Store, *, before: str = "") -> AsyncIterator[Entry]:
    """Yield every entry, the newest first."""
    last = f"({before}" if before else "+"
    while some := await store.redis.xrevrange(store.keys.plain("audit"), max=last, min="-", count=_AT_ONCE):
        for raw, fields in some:
            yield _entry(raw.decode(), {name.decode(): value for name, value in fields.items()})
        last = f"({some[-1][0].decode()}"


def _entry(name: str, fields: dict[str, bytes]) -> Entry:
    return Entry(
        id=name,
        at=int(name.partition("-")[0]) / 1000,
        who=fields["who"].decode(),
        where=fields["where"].decode(),
        what=fields["what"].decode(),
        target=fields["target"].decode(),
        old=msgspec.json.decode(fields["old"]),
        new=msgspec.json.decode(fields["new"]),
    )
