"""Single messages: their records read back together with who they were for.

A message's id is `BROADCAST.LANE.BATCH.INDEX`, where it lies. Finding a number unpacks only the batches that
the person index names.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import msgpack

from broadcaster.domain.fallback import FALLBACK_OF
from broadcaster.domain.purpose import CONSENT_GIVEN
from broadcaster.domain.record import RECORD_BYTES, Record, State
from broadcaster.ledger.people import find_places
from broadcaster.reporting.consents import terms_of
from broadcaster.reporting.due import retry_times
from broadcaster.reporting.fallbacks import fallback_streams
from broadcaster.store.batches import Recipients, unpack_batch
from broadcaster.twilio.codes import class_of, meaning

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Sequence

    from broadcaster.store.connection import Store

_ID_PARTS: Final = 4
_BATCHES_AT_ONCE: Final = 20
#: Where a history's line holds flags, in the few that have them.
_FLAGS: Final = 8


@dataclass(frozen=True, slots=True)
class MessageView:
    """One recipient of one broadcast: who, and what became of it.

    `retry_at` is the unix second from which one that waits for another try may go. `fallback_id` is that of
    the SMS that went in its place (only `read_message` tells), `fallback_of` whose place that took.
    """

    broadcast: str
    batch: str
    index: int
    to: str
    reference: str | None
    sender: str
    record: Record
    variables: dict[str, str] = field(default_factory=dict)
    consent: str | None = None
    retry_at: int | None = None
    fallback_of: str | None = None
    fallback_id: str | None = None

    @property
    def id(self) -> str:
        """The message's name."""
        return f"{self.broadcast}.{self.batch}.{self.index}"

    def summary(self) -> dict[str, Any]:
        """Return the object that the command line and the API show, in JSON's types."""
        record = self.record
        return {
            "id": self.id,
            "broadcast": self.broadcast,
            "to": self.to,
            "reference": self.reference,
            "sender": self.sender,
            "state": record.state.label,
            "code": record.code or None,
            "meaning": meaning(record.code) or None,
            "class": class_of(record.code),
            "sid": record.sid,
            "attempts": record.attempt,
            "segments": record.segments,
            "evidence": record.evidence.label or ("answer" if record.sid else None),
            "fallback": "sms" if record.fell_back else "template" if record.by_template else None,
            "attempted_at": record.began or None,
            "changed_at": record.changed or None,
            "retry_at": self.retry_at,
            "consent": self.consent,
            "fallback_id": self.fallback_id,
            "fallback_of": self.fallback_of,
        }


@dataclass(frozen=True, slots=True)
class Attempt:
    """One line of a message's history. Times are unix seconds; `sid` is Twilio's, if it gave one."""

    attempt: int
    state: State
    code: int
    began: int
    ended: int
    evidence: str
    sid: str | None = None

    def summary(self) -> dict[str, Any]:
        """Return it in JSON's types."""
        return {
            "attempt": self.attempt,
            "state": self.state.label,
            "code": self.code or None,
            "meaning": meaning(self.code) or None,
            "class": class_of(self.code),
            "sid": self.sid,
            "began_at": self.began,
            "ended_at": self.ended,
            "evidence": self.evidence or None,
        }


async def list_messages(
    store: Store, broadcast: str, states: Iterable[State] = (), *, codes: Iterable[int] = ()
) -> AsyncIterator[MessageView]:
    """Yield a broadcast's messages, a lane's in the list's order; only `states` and `codes`, if given."""
    marked = None
    wanted = frozenset(states)
    if wanted and wanted <= {State.DEAD, State.IN_DOUBT}:
        marked = await _marked_batches(store, broadcast, wanted)
    async for lane, batches in batches_of(store, broadcast):
        names = [name for name in batches if marked is None or name in marked]
        for start in range(0, len(names), _BATCHES_AT_ONCE):
            some = [(broadcast, lane, name) for name in names[start : start + _BATCHES_AT_ONCE]]
            async for view in _read(store, some):
                if (not wanted or view.record.state in wanted) and (not codes or view.record.code in codes):
                    yield view


async def find_number(
    store: Store, broadcast: str | None, address: str, *, after: str = ""
) -> AsyncIterator[MessageView]:
    """Yield the messages to `address` (as `parse_address` gives it), of one broadcast or of all.

    The newest broadcast or stream first, and within it the newest batch; only those behind message `after`,
    if given (none if that is removed meanwhile). An import that isn't whole yet is left out. Raises redis'
    errors.
    """
    last = after.rpartition(".")
    places = [
        (place.broadcast, place.lane, place.batch)
        for place in (await find_places(store, [address]))[address]
        if broadcast in (None, place.broadcast)
    ]
    if after:
        names = [f"{where}.{batch}" for where, _, batch in places]
        places = places[names.index(last[0]) :] if last[0] in names else []
    for start in range(0, len(places), _BATCHES_AT_ONCE):
        async for view in _read(store, places[start : start + _BATCHES_AT_ONCE], only=address):
            if f"{view.broadcast}.{view.batch}" != last[0] or view.index > int(last[2]):
                yield view


async def read_message(store: Store, name: str) -> tuple[MessageView, list[Attempt]] | None:
    """Read one message by its id, and its attempts, oldest first; None if there is no such."""
    parts = name.split(".")
    if len(parts) != _ID_PARTS or not all(part.isascii() and part.isdigit() for part in parts[1:]):
        return None
    broadcast, batch, index = parts[0], f"{parts[1]}.{parts[2]}", int(parts[3])
    lanes = await store.redis.lrange(store.keys.broadcast(broadcast, ":lanes"), 0, -1)
    if int(parts[1]) >= len(lanes):
        return None
    lane = lanes[int(parts[1])].decode()
    async for view in _read(store, [(broadcast, lane, batch)], only=index):
        fallback = await _fallback(store, view) if view.record.fell_back else None
        return replace(view, fallback_id=fallback), await read_history(store, view)
    return None


async def _fallback(store: Store, view: MessageView) -> str | None:
    """Return the id of the SMS that went in place of a message; None once its person is forgotten."""
    for stream in await fallback_streams(store, view.broadcast):
        async for sms in find_number(store, stream, view.to.removeprefix("whatsapp:")):
            if sms.fallback_of == view.id:
                return sms.id
    return None


async def read_history(store: Store, view: MessageView) -> list[Attempt]:
    """Return a message's attempts, oldest first. Raises redis' errors."""
    raw = await store.redis.lrange(store.keys.history(view.broadcast, view.batch, view.index), 0, -1)
    return attempts_of(view, raw)


def attempts_of(view: MessageView, raw: Sequence[bytes]) -> list[Attempt]:
    """Return what is written of its attempts; of most only the record tells, of the one that there was."""
    lines = [_attempt(msgpack.unpackb(line, raw=True), view.record) for line in raw]
    record = view.record
    if record.attempt and not (lines and lines[-1].state is record.state):
        evidence = view.summary()["evidence"] or ""
        lines.append(
            Attempt(
                record.attempt, record.state, record.code, record.began, record.changed, evidence, record.sid
            )
        )
    return lines


def _attempt(line: Sequence[Any], record: Record) -> Attempt:
    """Read a line of the history, as `remember` of prelude.lua writes it."""
    flags = int(line[_FLAGS]) if len(line) > _FLAGS else record.flags
    sid = bytes(line[5])
    return Attempt(
        attempt=int(line[0]),
        state=State(int(line[1])),
        code=int(line[2]),
        began=int(line[3]),
        ended=int(line[4]),
        evidence=bytes(line[7]).decode(),
        sid=("MM" if flags & 1 else "SM") + sid.hex() if any(sid) else None,
    )


async def batches_of(store: Store, broadcast: str) -> AsyncIterator[tuple[str, list[str]]]:
    """Yield each lane of a broadcast with the names of its batches."""
    keys = store.keys
    for number, raw in enumerate(await store.redis.lrange(keys.broadcast(broadcast, ":lanes"), 0, -1)):
        lane = raw.decode()
        count = int(await store.redis.hget(keys.flow(broadcast, lane), "n") or 0)
        yield lane, [f"{number}.{batch}" for batch in range(count)]


async def _marked_batches(store: Store, broadcast: str, states: frozenset[State]) -> set[str]:
    """Return the batches that hold dead letters or messages in doubt: those are marked."""
    marked: set[str] = set()
    for state, part in ((State.DEAD, ":dead"), (State.IN_DOUBT, ":doubt")):
        if state in states:
            found = await store.redis.hkeys(store.keys.broadcast(broadcast, part))
            marked.update(raw.decode() for raw in found)
    return marked


async def read_batches(
    store: Store, broadcast: str, lane: str, batches: list[str]
) -> AsyncIterator[MessageView]:
    """Yield every message of some batches of a lane; a batch that is not there has none."""
    async for view in _read(store, [(broadcast, lane, name) for name in batches]):
        yield view


async def _read(
    store: Store, batches: list[tuple[str, str, str]], *, only: str | int | None = None
) -> AsyncIterator[MessageView]:
    """Yield the messages of batches (broadcast, lane, name); `only` those to an address, or with an index."""
    if not batches:
        return
    keys = store.keys
    raws = await store.redis.mget(
        [key(broadcast, name) for broadcast, _, name in batches for key in (keys.batch, keys.ledger)]
    )
    terms = await terms_of(store, {broadcast for broadcast, _, _ in batches})
    for (broadcast, lane, name), packed, ledger in zip(batches, raws[::2], raws[1::2], strict=True):
        if packed is None or ledger is None:
            continue
        recipients: Recipients = unpack_batch(packed)
        due = await retry_times(store, broadcast, lane, name, ledger)
        for index in _chosen(recipients.to, only):
            reference = recipients.references[index] if recipients.references else None
            record = Record.unpack(ledger, index * RECORD_BYTES)
            variables = recipients.variables(index) if recipients.columns else {}
            consent = terms[broadcast].of(variables)
            variables.pop(CONSENT_GIVEN, None)
            parent = variables.pop(FALLBACK_OF, None) or None
            to = recipients.to[index]
            about = (variables, consent, due.get(index), parent)
            yield MessageView(broadcast, name, index, to, reference, lane, record, *about)


def _chosen(to: list[str], only: str | int | None) -> Sequence[int]:
    if only is None:
        return range(len(to))
    if isinstance(only, int):
        return [only] if only < len(to) else []
    return [index for index, address in enumerate(to) if address == only]


async def read_batch(store: Store, broadcast: str, batch: str) -> list[MessageView]:
    """Read the messages of one batch, `lane.number`; none if it is gone."""
    lane = await store.redis.lindex(store.keys.broadcast(broadcast, ":lanes"), int(batch.partition(".")[0]))
    return (
        []
        if lane is None
        else [view async for view in read_batches(store, broadcast, lane.decode(), [batch])]
    )
