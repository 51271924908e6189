"""Messages in doubt, read from the ledger and put as questions to Twilio's list."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgpack

from broadcaster.domain.broadcast import OnDoubt
from broadcaster.domain.content import RenderError, compile_content
from broadcaster.domain.data_format import read_spec as read_whole
from broadcaster.domain.evidence import Question
from broadcaster.domain.handing import NEVER
from broadcaster.domain.record import RECORD_BYTES, Record, State
from broadcaster.domain.shown import Shown, shown
from broadcaster.ledger.in_flight import in_flight_until, piped, text_of
from broadcaster.ledger.people import find_places
from broadcaster.ledger.pools import Pool, pool_of
from broadcaster.ledger.specs import read_spec
from broadcaster.store.batches import Recipients, unpack_batch

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.domain.broadcast import BroadcastSpec
    from broadcaster.store.connection import Store

AT_MOST: Final = 5000
#: Of one broadcast, however many others there are: the longest batch.
SHARE_AT_LEAST: Final = 500
#: States of an attempt whose message may be with Twilio although no answer has told its SID.
_UNANSWERED: Final = frozenset({State.SENDING, State.IN_DOUBT})


@dataclass(frozen=True, slots=True)
class Doubt:
    """One message in doubt. `owner_until` is when its owner counts as gone, None once that is known.

    `earlier` are attempts that were given up as absent, `explained` SIDs that its own history knows.
    `trusted`: the list can show its absence; `hold`: it may not be sent again. `stale` is the service whose
    pool, read anew, may show that the list can be trusted: what is known of it is older than the attempt.
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
    stale: str = ""

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
    def of(cls, spec: BroadcastSpec) -> _Source:
        return cls(spec, shown(spec.content))

    def trusted(self, pool: Pool | None, question: Question) -> bool:
        """Whether Twilio shows whom a message went to; `pool` is the one of the service that chose."""
        if Shown.OTHER_ADDRESS in self.shown:
            return False
        until = question.in_flight_until or question.began
        return pool is None or pool.was_plain(question.began, until)

    def may_be_trusted(self, pool: Pool | None, question: Question) -> bool:
        """Whether it would be, were its service's pool now what it was when last seen."""
        return pool is not None and self.trusted(pool._replace(read=NEVER), question)

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
    What another version wrote, and this one can't read, stays in doubt.
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


async def doubts_to(store: Store, address: str, owner_gone_seconds: float) -> list[Doubt]:
    """Read every attempt to `address` whose answer may still never come: in doubt, or being sent.

    `address` is as `parse_address` gives it. Raises redis' errors, and NewerSpecError where that can't be told.
    """
    found: list[Doubt] = []
    sources: dict[str, _Source | None] = {}

    def wanted(to: str, state: int) -> bool:
        return to == address and state in _UNANSWERED

    for place in (await find_places(store, [address]))[address]:
        if place.broadcast not in sources:
            sources[place.broadcast] = await _source(store, place.broadcast)
        source = sources[place.broadcast]
        if source is not None:
            where = _Where(place.lane, place.broadcast, place.batch)
            found += await _of_batch(store, where, source, owner_gone_seconds, wanted)
    return found


async def _source(store: Store, bid: str) -> _Source | None:
    spec = await store.redis.hget(store.keys.broadcast(bid), "spec")
    return None if spec is None else _Source.of(read_whole(spec))


async def _of_broadcast(store: Store, bid: str, owner_gone_seconds: float, at_most: int) -> list[Doubt]:
    keys, found = store.keys, list[Doubt]()
    raw_spec, lanes, batches = await piped(
        store, [("hget", keys.broadcast(bid), "spec"), ("lrange", keys.broadcast(bid, ":lanes"), 0, -1),
                ("hkeys", keys.broadcast(bid, ":doubt"))]
    )  # fmt: skip
    spec = read_spec(bid, raw_spec)
    if spec is None:
        return found
    source = _Source.of(spec)
    random.shuffle(batches)
    for raw in batches:
        batch = raw.decode()
        where = _Where(lanes[int(batch.partition(".")[0])].decode(), bid, batch)
        found += await _of_batch(
            store, where, source, owner_gone_seconds, _in_doubt, at_most=at_most - len(found)
        )
        if len(found) >= at_most:
            break
    return found


class _Where(NamedTuple):
    lane: str
    broadcast: str
    batch: str


def _in_doubt(_: str, state: int) -> bool:
    return state == State.IN_DOUBT


async def _of_batch(
    store: Store,
    where: _Where,
    source: _Source,
    owner_gone_seconds: float,
    wanted: Callable[[str, int], bool],
    *,
    at_most: int = AT_MOST,
) -> list[Doubt]:
    """Read those of a batch that are `wanted` by their address and state."""
    lane, bid, batch = where
    ledger, packed = await piped(
        store, [("get", store.keys.ledger(bid, batch)), ("get", store.keys.batch(bid, batch))]
    )
    if ledger is None or packed is None:
        return []
    recipients = unpack_batch(packed)
    heads = zip(recipients.to, ledger[::RECORD_BYTES], strict=False)
    rows = [row for row, (to, head) in enumerate(heads) if wanted(to, head & 15)][:at_most]
    records = [Record.unpack(ledger, row * RECORD_BYTES) for row in rows]
    lines = await piped(store, [("lrange", store.keys.history(bid, batch, row), 0, -1) for row in rows])
    histories = [[msgpack.unpackb(line, raw=True) for line in some] for some in lines]
    owners = await in_flight_until(store, records, histories, owner_gone_seconds)
    body, (sender, service) = source.bodies(recipients), source.route(lane)
    pool = await pool_of(store, service) if service and not sender else None
    found: list[Doubt] = []
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
                trusted := source.trusted(pool, question),
                source.spec.on_doubt is OnDoubt.HOLD,
                service if service and not trusted and source.may_be_trusted(pool, question) else "",
            )
        )
    return found


def _earlier(question: Question, history: list[Any]) -> tuple[Question, ...]:
    """Return the attempts before that were sent again because the list did not show them."""
    began = {int(e[0]): int(e[3]) for e in history if text_of(e[7]) != "late"} | {
        question.attempt: question.began
    }
    known = {int(e[0]) for e in history if text_of(e[7]) == "late"}
    given_up = {int(e[0]) for e in history if text_of(e[7]) == "absent" and int(e[0]) < question.attempt}
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
