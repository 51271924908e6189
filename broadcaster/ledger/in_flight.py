"""When a POST whose answer never came can last have been under way: what Redis tells of its owner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from broadcaster.domain.record import Reason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.domain.record import Record
    from broadcaster.store.connection import Store


async def in_flight_until(
    store: Store, records: Sequence[Record], histories: Sequence[list[Any]], owner_gone_seconds: float
) -> list[tuple[float | None, float | None]]:
    """Return, for each record, the last moment its POST can have been in flight, or until when that is open.

    A request that ended as unknown had ended when that was written. One whose owner lost its lease has ended
    when the owner is gone; of an owner that Redis has forgotten only the loss of the lease is known.
    """
    rewound = await _rewound(store, owner_gone_seconds) if _any_rewound(records) else None
    asked = []
    for record, history in zip(records, histories, strict=True):
        owner = None
        if record.code == Reason.LEASE_LOST:
            owner = next(
                (
                    text_of(e[6])
                    for e in reversed(history)
                    if e[0] == record.attempt and text_of(e[7]) == "lease"
                ),
                "",
            )
        asked.append(owner)
    names = sorted({owner for owner in asked if owner})
    facts = await piped(store, [("hmget", store.keys.worker(name), "gone", "seen") for name in names])
    known = dict(zip(names, facts, strict=True))
    found: list[tuple[float | None, float | None]] = []
    for record, owner in zip(records, asked, strict=True):
        if rewound is not None and record.code == Reason.REWOUND:
            found.append((max(rewound[0], record.changed) if rewound[0] else None, rewound[1]))
            continue
        if owner is None and record.code != Reason.REWOUND:
            found.append((float(record.changed), None))
            continue
        gone, seen = known.get(owner or "", (None, None))
        if gone is not None:
            found.append((float(gone), None))
        elif seen is not None:
            found.append((None, int(seen) + owner_gone_seconds))
        else:
            until, (now, _) = record.changed + owner_gone_seconds, await store.redis.time()
            found.append((until, None) if until <= now else (None, until))
    return found


def _any_rewound(records: Sequence[Record]) -> bool:
    return any(record.code == Reason.REWOUND for record in records)


async def _rewound(store: Store, owner_gone_seconds: float) -> tuple[float | None, float | None] | None:
    """Return the same for all that was put in doubt because Redis had lost writes: anybody may have sent it.

    A worker is done with it when it said that nothing of before was in flight (`guard.lua`), or is gone.
    None where no loss was noticed, but an outcome was told of an attempt that Redis doesn't know
    (`record.lua`).
    """
    keys = store.keys
    raw = await store.redis.hgetall(keys.plain("rewound"))
    if not raw:
        return None
    at = float(raw.get(b"at", 0))
    done, until = [at], 0.0
    for name, said in raw.items():
        owner = text_of(name).removeprefix("owner:")
        if owner == "at":
            continue
        gone, seen = await store.redis.hmget(keys.worker(owner), "gone", "seen")
        if said or gone:
            done.append(float(said or gone))
        else:
            until = max(until, float(seen or at) + owner_gone_seconds, at + owner_gone_seconds)
    now, _ = await store.redis.time()
    if until > now:
        return None, until
    return max([*done, until]), None


def text_of(value: bytes) -> str:
    """Return what Redis keeps as text."""
    return value.decode()


async def piped(store: Store, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Run commands at once; each is its name and arguments. Raises redis' errors."""
    if not commands:
        return []
    async with store.redis.pipeline(transaction=False) as pipe:
        for name, *arguments in commands:
            getattr(pipe, name)(*arguments)
        replies: list[Any] = await pipe.execute()
        return replies
