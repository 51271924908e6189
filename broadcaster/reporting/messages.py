"""Single messages: their records read back together with who they were for.

A message's id is `BROADCAST.LANE.BATCH.INDEX`, where it lies. Finding a number unpacks only batches whose
fingerprints hold it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import msgpack

from broadcaster.domain.record import RECORD_BYTES, Record, State
from broadcaster.store.batches import Recipients, fingerprint, has_fingerprint, unpack_batch
from broadcaster.twilio.codes import meaning

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from broadcaster.store.connection import Store

_ID_PARTS: Final = 4
_BATCHES_AT_ONCE: Final = 20


@dataclass(frozen=True, slots=True)
class MessageView:
    """One recipient of one broadcast: who, and what became of it."""

    broadcast: str
    batch: str
    index: int
    to: str
    reference: str | None
    sender: str
    record: Record
    variables: dict[str, str] = field(default_factory=dict)

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
            "sid": record.sid,
            "attempts": record.attempt,
            "segments": record.segments,
            "evidence": record.evidence.label or ("answer" if record.sid else None),
            "attempted_at": record.began or None,
            "changed_at": record.changed or None,
        }


@dataclass(frozen=True, slots=True)
class Attempt:
    """One line of a message's history. Times are unix seconds."""

    attempt: int
    state: State
    code: int
    began: int
    ended: int
    evidence: str

    def summary(self) -> dict[str, Any]:
        """Return it in JSON's types."""
        return {
            "attempt": self.attempt,
            "state": self.state.label,
            "code": self.code or None,
            "meaning": meaning(self.code) or None,
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
    async for lane, batches in _batches(store, broadcast):
        names = [name for name in batches if marked is None or name in marked]
        for start in range(0, len(names), _BATCHES_AT_ONCE):
            async for view in read_batches(store, broadcast, lane, names[start : start + _BATCHES_AT_ONCE]):
                if (not wanted or view.record.state in wanted) and (not codes or view.record.code in codes):
                    yield view


async def find_number(store: Store, broadcast: str, address: str) -> AsyncIterator[MessageView]:
    """Yield the messages of a broadcast to `address` (as `parse_address` gives it)."""
    sought = fingerprint(address)
    keys = store.keys
    async for lane, batches in _batches(store, broadcast):
        for start in range(0, len(batches), _BATCHES_AT_ONCE):
            some = batches[start : start + _BATCHES_AT_ONCE]
            prints = await store.redis.mget([keys.fingerprints(broadcast, name) for name in some])
            hits = [n for n, raw in zip(some, prints, strict=True) if raw and has_fingerprint(raw, sought)]
            async for view in read_batches(store, broadcast, lane, hits):
                if view.to == address:
                    yield view


async def read_message(store: Store, name: str) -> tuple[MessageView, list[Attempt]] | None:
    """Read one message by its id, and its further attempts; None if there is no such."""
    parts = name.split(".")
    if len(parts) != _ID_PARTS or not all(part.isdigit() for part in parts[1:]):
        return None
    broadcast, batch, index = parts[0], f"{parts[1]}.{parts[2]}", int(parts[3])
    lanes = await store.redis.lrange(store.keys.broadcast(broadcast, ":lanes"), 0, -1)
    if int(parts[1]) >= len(lanes):
        return None
    async for view in read_batches(store, broadcast, lanes[int(parts[1])].decode(), [batch]):
        if view.index == index:
            return view, await _history(store, view)
    return None


async def _history(store: Store, view: MessageView) -> list[Attempt]:
    raw = await store.redis.lrange(store.keys.history(view.broadcast, view.batch, view.index), 0, -1)
    lines = [msgpack.unpackb(line, raw=True) for line in raw]
    return [
        Attempt(int(e[0]), State(int(e[1])), int(e[2]), int(e[3]), int(e[4]), bytes(e[7]).decode())
        for e in lines
    ]


async def _batches(store: Store, broadcast: str) -> AsyncIterator[tuple[str, list[str]]]:
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
    if not batches:
        return
    keys = store.keys
    async with store.redis.pipeline(transaction=False) as pipe:
        for name in batches:
            pipe.get(keys.batch(broadcast, name))
            pipe.get(keys.ledger(broadcast, name))
        replies = await pipe.execute()
    for number, name in enumerate(batches):
        packed, ledger = replies[2 * number], replies[2 * number + 1]
        if packed is None or ledger is None:
            continue
        recipients: Recipients = unpack_batch(packed)
        for index, to in enumerate(recipients.to):
            reference = recipients.references[index] if recipients.references else None
            record = Record.unpack(ledger, index * RECORD_BYTES)
            variables = recipients.variables(index) if recipients.columns else {}
            yield MessageView(broadcast, name, index, to, reference, lane, record, variables)
