"""A draft whose list comes in parts: each part is taken whole or not at all, and once.

Duplicates, opt-outs and the share of each sender are those of one list: the senders' rates are fixed when the
draft is made, and the addresses of every part are kept until it starts.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgpack
import msgspec

from broadcaster.domain.broadcast import BroadcastSpec
from broadcaster.domain.content import compile_content
from broadcaster.intake.addressing import Seen
from broadcaster.intake.load import codes_of, states_of, to_send
from broadcaster.intake.prepare import Preparation
from broadcaster.intake.rejects import StoredRejects
from broadcaster.intake.windows import windows_for
from broadcaster.store.batches import first_records, pack_batch
from broadcaster.store.scripts import Call, packed
from broadcaster.store.who import marks

if TYPE_CHECKING:
    from broadcaster.intake.batches import BatchRows
    from broadcaster.intake.summary import Summary
    from broadcaster.intake.table import ListReader
    from broadcaster.intake.windows import Windows
    from broadcaster.ledger.optouts import OptOuts
    from broadcaster.store.connection import Store

_DRAFTS_KEPT: Final = 8


class OpenDraft(msgspec.Struct, frozen=True, kw_only=True):
    """How the parts of a draft are read; kept with it. `rates` are segments a second of its senders."""

    rates: dict[str, float]
    region: str | None = None
    to_column: str | None = None
    skips_faults: bool = False
    encoding: str | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft as it is now: `parts` it has, and whether its list comes in parts at all (`open`)."""

    broadcast: str
    state: str
    spec: BroadcastSpec
    open: OpenDraft | None
    parts: int
    rejected: int


@dataclass(frozen=True, slots=True)
class Extended:
    """What became of a part: a verdict of extend.lua, and what was answered when it was taken."""

    verdict: str
    asked: str
    answer: bytes
    total: int


async def read_draft(store: Store, broadcast: str) -> Draft | None:
    """Read a broadcast as a draft, whatever its state; None if there is no such."""
    key = store.keys.broadcast(broadcast)
    state, spec, facts, rejected = await store.redis.hmget(key, "state", "spec", "open", "rejected")
    if not spec:
        return None
    return Draft(
        broadcast,
        state.decode(),
        msgspec.msgpack.decode(spec, type=BroadcastSpec),
        msgspec.json.decode(facts, type=OpenDraft) if facts else None,
        await store.redis.llen(f"{key}:seen"),
        int(rejected or 0),
    )


async def known_part(store: Store, broadcast: str, name: str) -> Extended | None:
    """Return what was answered to the part of this name; None if there is none."""
    raw = await store.redis.hget(store.keys.broadcast(broadcast, ":chunks"), name)
    if raw is None:
        return None
    asked, answer, total = msgpack.unpackb(raw, raw=True)
    return Extended("known", asked.decode(), answer, total)


class Part:
    """One part, read and checked: `prepare`, which may take a while and runs in a thread; then `commit`."""

    def __init__(
        self,
        draft: Draft,
        reader: ListReader,
        opt_outs: OptOuts,
        before: Seen,
        windows: Windows,
        *,
        verified: frozenset[str] | None = None,
    ) -> None:
        how = draft.open or OpenDraft(rates={})
        self._draft = draft
        self._seen = Seen(before)
        self._rejects = StoredRejects(kept=draft.rejected) if how.skips_faults else None
        self._preparation = Preparation(
            reader,
            renderer=compile_content(draft.spec.content),
            senders=[(lane, how.rates[lane]) for lane in draft.spec.senders],
            region=how.region,
            opt_outs=opt_outs or None,
            service=draft.spec.messaging_service_sid,
            purpose=draft.spec.purpose,
            consent_column=draft.spec.consent_column,
            rejects=self._rejects,
            seen=self._seen,
            windows=windows_for(windows, draft.spec),
            verified=verified,
        )
        self._batches: list[Any] = []

    @property
    def summary(self) -> Summary:
        """What it came to."""
        return self._preparation.summary

    def prepare(self) -> None:
        """Read it. Raises what `Preparation` raises."""
        places = {lane: index for index, lane in enumerate(self._draft.spec.senders)}
        now_s = int(time.time())
        self._batches = [_batch(rows, places[rows.lane], now_s) for rows in self._preparation]

    async def commit(self, store: Store, name: str, asked: str, answer: bytes) -> Extended:
        """Add it to the draft. Raises `StoreError`; after `Unreachable` it may have been added."""
        blocks = self._rejects.take(ended=True) if self._rejects else []
        arguments = (
            self._draft.broadcast,
            self._draft.parts,
            name,
            asked,
            answer,
            self._seen.dumped(),
            packed(self._batches),
            packed(blocks),
            self._rejects.count if self._rejects else 0,
        )
        return await store.run(Call("extend", arguments, _extended, lasting=True))


def _batch(rows: BatchRows, place: int, now_s: int) -> list[Any]:
    recipients = rows.recipients
    return [
        place,
        pack_batch(recipients),
        first_records(rows.states, rows.codes, rows.segments, now_s),
        marks(rows.to),
        {str(state): count for state, count in states_of(rows).items()},
        codes_of(rows),
        *to_send(rows),
    ]


def _extended(reply: list[Any]) -> Extended:
    return Extended(reply[0].decode(), reply[1].decode(), bytes(reply[2]), int(reply[3]))


class SeenParts:
    """The addresses of the parts that drafts have; what was read once is kept for the next part."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str], tuple[list[bytes], Seen]] = OrderedDict()

    async def read(self, store: Store, draft: Draft) -> Seen:
        """Return the addresses of all parts of a draft, as many as it says to have, or more."""
        key = (store.epoch, draft.broadcast)
        digests, seen = self._known.pop(key, ([], Seen()))
        at = max(
            0, len(digests) - 1
        )  # the last one again: Redis may have lost it and have another in its place
        name = store.keys.broadcast(draft.broadcast, ":seen")
        raws = await store.redis.lrange(name, at, -1)
        fresh = [hashlib.sha256(raw).digest() for raw in raws]
        if digests and fresh[:1] != digests[-1:]:
            digests, seen = [], Seen()
            raws = await store.redis.lrange(name, 0, -1)
            fresh = [hashlib.sha256(raw).digest() for raw in raws]
            at = 0
        for raw, digest in list(zip(raws, fresh, strict=True))[len(digests) - at :]:
            seen.add(raw)
            digests.append(digest)
        self._known[key] = (digests, seen)
        while len(self._known) > _DRAFTS_KEPT:
            self._known.popitem(last=False)
        return seen
