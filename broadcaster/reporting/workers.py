"""The workers as people see them: where each runs, what it holds, and whether it lives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from broadcaster.store.scripts import unpacked

if TYPE_CHECKING:
    from broadcaster.store.connection import Store

_FIELDS: Final = ("about", "since", "seen", "version", "format", "draining", "peak")
_MICRO: Final = 1_000_000
#: Whoever lost its lease and did not come back is shown for so long, and by the exporter too (sweep.lua).
_LOST_SECONDS: Final = 86_400
_LOST_MOST: Final = 100


@dataclass(frozen=True, slots=True)
class WorkerView:
    """One worker that has a lease, or lost it within the last day. Times are unix seconds.

    `state` is `live`, `draining` (asked to end at `draining_since`) or `lost`: its lease has run out, others
    take back its claims, and it has not come back. `in_flight` is the most requests at once in the last
    second, `claims` are slices of work it holds, `share` how many requests it may have in flight. `version`
    is "" for one of a version that told none.
    """

    id: str
    host: str
    pid: int
    version: str
    format: int
    state: str
    since: int
    seen: int
    draining_since: int | None
    in_flight: int
    claims: int
    concurrency: int
    share: int

    def summary(self) -> dict[str, Any]:
        """Return the object that `workers list --json` and the API show, in JSON's types."""
        return {
            "id": self.id,
            "host": self.host,
            "pid": self.pid,
            "version": self.version or None,
            "format": self.format,
            "state": self.state,
            "since": self.since,
            "seen_at": self.seen,
            "draining_since": self.draining_since,
            "in_flight": self.in_flight,
            "claims": self.claims,
            "concurrency": self.concurrency,
            "share": self.share,
        }


async def list_workers(store: Store) -> list[WorkerView]:
    """Read every worker, by id: those with a lease, and the last hundred lost ones. Raises redis' errors."""
    keys = store.keys
    seconds, _ = await store.redis.time()
    oldest = (seconds - _LOST_SECONDS) * _MICRO
    async with store.redis.pipeline(transaction=False) as pipe:
        pipe.zrange(keys.plain("workers"), 0, -1, withscores=True)
        pipe.zrevrangebyscore(keys.plain("lost"), "+inf", oldest, start=0, num=_LOST_MOST)
        leases, lost = await pipe.execute()
    until_of = {raw.decode(): 0.0 for raw in lost} | {raw.decode(): until for raw, until in leases}
    names = sorted(until_of.items())
    async with store.redis.pipeline(transaction=False) as pipe:
        pipe.time()
        pipe.hget(keys.plain("account"), "limit")
        for name, _ in names:
            pipe.hmget(keys.worker(name), _FIELDS)
            pipe.hlen(keys.worker(name, ":claims"))
        (seconds, micro), limit, *rest = await pipe.execute()
    now = seconds * _MICRO + micro
    shares = _shares(float(limit or 0), [name for name, until in names if until >= now])
    return [
        _view(name, lives=until >= now, fields=fields, claims=claims, share=shares.get(name, 0))
        for (name, until), fields, claims in zip(names, rest[::2], rest[1::2], strict=True)
    ]


async def read_worker(store: Store, worker: str) -> WorkerView | None:
    """Read one of them. Raises redis' errors."""
    return next((view for view in await list_workers(store) if view.id == worker), None)


def _shares(limit: float, names: list[str]) -> dict[str, int]:
    """Return each live worker's share of the account's concurrency, as renew.lua gives it."""
    whole, count = int(limit), max(1, len(names))
    return {name: max(1, whole // count + (place < whole % count)) for place, name in enumerate(names)}


def _view(name: str, *, lives: bool, fields: list[bytes | None], claims: int, share: int) -> WorkerView:
    raw, since, seen, version, known, draining, peak = fields
    about = {_text(key): _text(value) for key, value in unpacked(raw).items()} if raw else {}
    concurrency = int(about.get("concurrency", 0))
    return WorkerView(
        id=name,
        host=str(about.get("host", "")),
        pid=int(about.get("pid", 0)),
        version=(version or b"").decode(),
        format=int(known or 1),
        state="lost" if not lives else "draining" if draining else "live",
        since=int(since or 0),
        seen=int(seen or since or 0),
        draining_since=int(draining) if draining else None,
        in_flight=int(peak or 0) if lives else 0,
        claims=int(claims),
        concurrency=concurrency,
        share=min(share, concurrency),
    )


def _text(value: Any) -> Any:
    return value.decode() if isinstance(value, bytes) else value
