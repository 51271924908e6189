"""Messages in doubt, read from the ledger and put as questions to Twilio's list."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgpack
import msgspec

from broadcaster.domain.broadcast import BroadcastSpec, OnDoubt
from broadcaster.domain.content import RenderError, compile_content
from broadcaster.domain.evidence import Question
from broadcaster.domain.record import RECORD_BYTES, Reason, Record, State
from broadcaster.domain.shown import Shown, goes_elsewhere, shown
from broadcaster.ledger.pools import POOL_FIELD
from broadcaster.store.batches import Recipients, unpack_batch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broadcaster.store.connection import Store

AT_MOST: Final = 5000
#: Of one broadcast, however many others there are: the longest batch.
SHARE_AT_LEAST: Final = 500


@dataclass(frozen=True, slots=True)
class Doubt:
    """One message in doubt. `owner_until` is when its owner counts as gone, None once that is known.

    `earlier` are attempts that were given up as absent, `explained` SIDs that its own history knows.
    `trusted`: the list can show its absence; `hold`: it may not be sent again.
    """

    lane: str
    broadcast: str
    batch: str
    row: int
    record: Record
    question: Question
    earlier: tuple[Question, ...]
    explained: frozenset[str]
    owner_until: float | None
    trusted: bool
    hold: bool

    @property
    def key(self) -> tuple[str, str, int, int]:
        """What tells this doubt from others."""
        return self.broadcast, self.batch, self.row, self.record.attempt


@dataclass(frozen=True, slots=True)
class _Source:
    """One broadcast's part in every question of it."""

    spec: BroadcastSpec
    shown: Shown

    @classmethod
    def of(cls, raw: bytes) -> _Source:
        spec = msgspec.msgpack.decode(raw, type=BroadcastSpec)
        return cls(spec, shown(spec.content))

    def trusted(self, pool: Sequence[str]) -> bool:
        """Whether Twilio shows whom a message went to; `pool` are the senders of its service."""
        return Shown.OTHER_ADDRESS not in self.shown and not goes_elsewhere(pool)

    def route(self, lane: str) -> tuple[str | None, str | None]:
        """Return the sender that was named and the service, as `shared_pairs` sends them."""
        return (None, lane) if lane.startswith("MG") else (lane, self.spec.messaging_service_sid)

    def bodies(self, recipients: Recipients) -> Callable[[int], str | None]:
        """Return what makes the text that was sent to one of a batch; None where it isn't compared."""
        if self.spec.content.body is None or Shown.OTHER_BODY in self.shown:
            return lambda _: None
        render = compile_content(self.spec.content).over_rows(recipients.columns)

        def body(row: int) -> str | None:
            try:
                return render([column[row] for column in recipients.values]).body
            except RenderError:
                return None

        return body


async def read_doubts(store: Store, owner_gone_seconds: float, at_most: int = AT_MOST) -> list[Doubt]:
    """Read what is in doubt, at most so many. Raises redis' errors.

    Where there is more, chance decides: those that have to wait must not keep others from being looked at.
    """
    found: list[Doubt] = []
    names = sorted(await store.redis.smembers(store.keys.plain("doubtful")))
    random.shuffle(names)
    share = max(SHARE_AT_LEAST, at_most // max(1, len(names)))
    for raw in names:
        if len(found) < at_most:
            room = min(share, at_most - len(found))
            found += await _of_broadcast(store, raw.decode(), owner_gone_seconds, room)
    return found


async def _of_broadcast(store: Store, bid: str, owner_gone_seconds: float, at_most: int) -> list[Doubt]:
    keys, found = store.keys, list[Doubt]()
    spec, lanes, batches = await _pipe(
        store, [("hget", keys.broadcast(bid), "spec"), ("lrange", keys.broadcast(bid, ":lanes"), 0, -1),
                ("hkeys", keys.broadcast(bid, ":doubt"))]
    )  # fmt: skip
    if spec is None:
        return found
    source = _Source.of(spec)
    random.shuffle(batches)
    for raw in batches:
        batch = raw.decode()
        lane = lanes[int(batch.partition(".")[0])].decode()
        ledger, packed = await _pipe(
            store, [("get", keys.ledger(bid, batch)), ("get", keys.batch(bid, batch))]
        )
        if ledger is None or packed is None:
            continue
        rows = [i for i, head in enumerate(ledger[::RECORD_BYTES]) if head & 15 == State.IN_DOUBT]
        rows = rows[: at_most - len(found)]
        records = [Record.unpack(ledger, row * RECORD_BYTES) for row in rows]
        lines = await _pipe(store, [("lrange", keys.history(bid, batch, row), 0, -1) for row in rows])
        histories = [[msgpack.unpackb(line, raw=True) for line in some] for some in lines]
        owners = await _gone(store, records, histories, owner_gone_seconds)
        recipients = unpack_batch(packed)
        body, (sender, service) = source.bodies(recipients), source.route(lane)
        trusted = source.trusted(await _pool(store, None if sender else service))
        for row, record, history, (gone, until) in zip(rows, records, histories, owners, strict=True):
            question = Question(
                to=recipients.to[row],
                sender=sender,
                service=service,
                body=body(row),
                began=record.began,
                attempt=record.attempt,
                in_flight_until=gone,
            )
            found.append(
                Doubt(
                    lane,
                    bid,
                    batch,
                    row,
                    record,
                    question,
                    _earlier(question, history),
                    frozenset(_sids(history)),
                    until,
                    trusted,
                    source.spec.on_doubt is OnDoubt.HOLD,
                )
            )
        if len(found) >= at_most:
            break
    return found


async def _pool(store: Store, service: str | None) -> list[str]:
    """Return the senders of a service as they were last read; none for no service."""
    raw = await store.redis.hget(store.keys.lane(service), POOL_FIELD) if service else None
    return _text(raw).split("\n") if raw else []


async def _gone(
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
                (_text(e[6]) for e in reversed(history) if e[0] == record.attempt and _text(e[7]) == "lease"),
                "",
            )
        asked.append(owner)
    names = sorted({owner for owner in asked if owner})
    facts = await _pipe(store, [("hmget", store.keys.worker(name), "gone", "seen") for name in names])
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
        owner = _text(name).removeprefix("owner:")
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


def _earlier(question: Question, history: list[Any]) -> tuple[Question, ...]:
    """Return the attempts before that were sent again because the list did not show them."""
    began = {int(e[0]): int(e[3]) for e in history if _text(e[7]) != "late"} | {
        question.attempt: question.began
    }
    known = {int(e[0]) for e in history if _text(e[7]) == "late"}
    given_up = {int(e[0]) for e in history if _text(e[7]) == "absent" and int(e[0]) < question.attempt}
    return tuple(
        Question(
            to=question.to,
            sender=question.sender,
            service=question.service,
            body=question.body,
            began=began[attempt],
            attempt=attempt,
            before=min(at for number, at in began.items() if number > attempt),
        )
        for attempt in sorted(given_up - known)
    )


def _sids(history: list[Any]) -> list[str]:
    found: list[str] = []
    for e in history:
        found += [kind + e[5].hex() for kind in ("SM", "MM")] if any(e[5]) else []
    return found


def _text(value: bytes) -> str:
    return value.decode()


async def _pipe(store: Store, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    if not commands:
        return []
    async with store.redis.pipeline(transaction=False) as pipe:
        for name, *arguments in commands:
            getattr(pipe, name)(*arguments)
        replies: list[Any] = await pipe.execute()
        return replies
