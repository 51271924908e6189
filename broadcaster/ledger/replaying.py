"""Dead letters once more: found by code, sent again at the sender's pace, or laid down for good.

A letter is a record together with its attempt. Whoever asks names both, so a request that comes twice, or too
late, changes nothing.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Final, NamedTuple

from broadcaster.domain.record import RECORD_BYTES, Reason, Record, State
from broadcaster.store.scripts import Call, packed, unpacked

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Iterator, Mapping, Sequence

    from broadcaster.store.connection import Store

#: Failures that may go again: dead letters, and what Twilio took and could not deliver.
FAILURES: Final = (State.DEAD, State.UNDELIVERED, State.FAILED)
_ID_PARTS: Final = 4
_BATCHES_AT_ONCE: Final = 50
_CALLS_AT_ONCE: Final = 20
#: Letters in one call: Redis is busy with them for some milliseconds, and others want to send meanwhile.
_LETTERS_AT_ONCE: Final = 125
_DOUBTFUL: Final = frozenset({Reason.LEASE_LOST, Reason.NO_ANSWER, Reason.UNKNOWN})
_REQUEST_TIMEOUT: Final = 408


class Answer(NamedTuple):
    """What one call did: 'ok' or what forbids it, and how many letters changed.

    `late` of them are known to be with Twilio, in place of `instead` an SMS went: both are left alone.
    """

    verdict: str
    changed: int
    late: int
    instead: int = 0


@dataclass(frozen=True, slots=True)
class Letters:
    """The letters of one batch: flat (index, attempt) pairs of 16 bits each, ascending, and their codes."""

    broadcast: str
    lane: str
    batch: str
    pairs: array[int]
    codes: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.codes)

    def only(self, codes: Collection[int]) -> Letters:
        """Return those with one of `codes`."""
        return self._pick([i for i, code in enumerate(self.codes) if code in codes])

    def at(self, rows: Mapping[int, int | None]) -> Letters:
        """Return those at `rows`, of that attempt where one is given."""
        pairs = self.pairs
        return self._pick(
            [i for i in range(len(self)) if rows.get(pairs[2 * i], -1) in (None, pairs[2 * i + 1])]
        )

    def parts(self, size: int) -> Iterator[Letters]:
        """Yield them in pieces of at most `size`."""
        for start in range(0, len(self), size):
            yield self._pick(list(range(start, min(start + size, len(self)))))

    def _pick(self, kept: list[int]) -> Letters:
        pairs = array("H", [half for i in kept for half in self.pairs[2 * i : 2 * i + 2]])
        return Letters(self.broadcast, self.lane, self.batch, pairs, tuple(self.codes[i] for i in kept))


@dataclass(slots=True)
class Done:
    """What came of many letters; counts as in `Answer`. `refused`: broadcasts that forbid it, and why."""

    changed: int = 0
    unchanged: int = 0
    late: int = 0
    instead: int = 0
    refused: dict[str, str] = field(default_factory=dict)


def may_have_been_sent(code: int) -> bool:
    """Whether a dead letter of this code may be with its recipient already: no answer ever settled it."""
    return code in _DOUBTFUL or code == _REQUEST_TIMEOUT or 200 <= code < 300 or 500 <= code < 600  # noqa: PLR2004 - HTTP


def replay(letters: Letters) -> Call[Answer]:
    """Let letters be sent again: a completed broadcast runs again; canceled and expired ones refuse."""
    return _call("replay", letters)


def discard(letters: Letters) -> Call[Answer]:
    """Lay dead letters down: they end as `skipped`."""
    return _call("discard", letters)


def _call(mode: str, letters: Letters) -> Call[Answer]:
    arguments = (
        letters.broadcast,
        letters.lane,
        letters.batch,
        mode,
        int(Reason.DISCARDED),
        packed(letters.pairs.tolist()),
    )
    return Call("replay", arguments, _answer, lasting=True)


def _answer(reply: bytes) -> Answer:
    verdict, changed, late, instead = unpacked(reply)
    return Answer(verdict if isinstance(verdict, str) else verdict.decode(), changed, late, instead)


async def find_letters(
    store: Store, broadcast: str, *, codes: Collection[int] = (), states: Sequence[State] = (State.DEAD,)
) -> AsyncIterator[Letters]:
    """Yield a broadcast's letters, batch by batch; reads only ledgers, and for dead ones only marked ones."""
    keys = store.keys
    marked = None
    if set(states) == {State.DEAD}:
        marked = {raw.decode() for raw in await store.redis.hkeys(keys.broadcast(broadcast, ":dead"))}
    for number, raw in enumerate(await store.redis.lrange(keys.broadcast(broadcast, ":lanes"), 0, -1)):
        lane = raw.decode()
        count = int(await store.redis.hget(keys.flow(broadcast, lane), "n") or 0)
        names = [f"{number}.{batch}" for batch in range(count)]
        names = names if marked is None else [name for name in names if name in marked]
        for start in range(0, len(names), _BATCHES_AT_ONCE):
            some = names[start : start + _BATCHES_AT_ONCE]
            ledgers = await store.redis.mget([keys.ledger(broadcast, name) for name in some])
            for name, ledger in zip(some, ledgers, strict=True):
                found = _letters_in(broadcast, lane, name, ledger or b"", states)
                if codes:
                    found = found.only(codes)
                if found:
                    yield found


def _letters_in(broadcast: str, lane: str, batch: str, ledger: bytes, states: Sequence[State]) -> Letters:
    wanted = frozenset(int(state) for state in states)
    pairs, codes = array("H"), []
    for index, head in enumerate(ledger[::RECORD_BYTES]):
        if head & 15 in wanted:
            record = Record.unpack(ledger, index * RECORD_BYTES)
            pairs.extend((index, record.attempt))
            codes.append(record.code)
    return Letters(broadcast, lane, batch, pairs, tuple(codes))


async def forbidden(store: Store, broadcasts: Iterable[str]) -> dict[str, str]:
    """Return those broadcasts whose messages can't go again now, each with 'expired' or its state."""
    now, _ = await store.redis.time()
    found: dict[str, str] = {}
    for broadcast in broadcasts:
        raw, expires = await store.redis.hmget(store.keys.broadcast(broadcast), "state", "expires")
        state = (raw or b"gone").decode()
        if state not in ("running", "paused", "completed"):
            found[broadcast] = state
        elif expires and float(expires) <= now:
            found[broadcast] = "expired"
    return found


async def carry_out(store: Store, letters: Iterable[Letters], *, again: bool) -> Done:
    """Replay (`again`) or discard letters, some batches in a round trip. Raises `StoreError`."""
    done = Done()
    waiting = (part for group in letters for part in group.parts(_LETTERS_AT_ONCE))
    while some := list(islice(waiting, _CALLS_AT_ONCE)):
        answers = await store.run_all([replay(group) if again else discard(group) for group in some])
        for group, answer in zip(some, answers, strict=True):
            done.changed += answer.changed
            done.late += answer.late
            done.instead += answer.instead
            done.unchanged += len(group) - answer.changed - answer.late - answer.instead
            if answer.verdict != "ok":
                done.refused[group.broadcast] = answer.verdict
    return done


def by_code(letters: Iterable[Letters]) -> Counter[int]:
    """Count letters by code."""
    counted: Counter[int] = Counter()
    for group in letters:
        counted.update(group.codes)
    return counted


async def letters_named(
    store: Store, names: Iterable[str], states: Sequence[State] = (State.DEAD,)
) -> tuple[list[Letters], list[str]]:
    """Find letters by message id, or `ID@ATTEMPT` for one attempt only; also return the ids there are not.

    A message that is no letter (any more) is left out.
    """
    wanted: dict[tuple[str, str], dict[int, int | None]] = {}
    unknown: list[str] = []
    for name in names:
        message, _, attempt = name.partition("@")
        parts = message.split(".")
        if len(parts) != _ID_PARTS or not all(
            part.isascii() and part.isdigit() for part in (*parts[1:], attempt or "0")
        ):
            unknown.append(name)
            continue
        rows = wanted.setdefault((parts[0], f"{parts[1]}.{parts[2]}"), {})
        rows[int(parts[3])] = int(attempt) if attempt else None
    found: list[Letters] = []
    for (broadcast, batch), rows in wanted.items():
        ledger = await store.redis.get(store.keys.ledger(broadcast, batch)) or b""
        lane = await store.redis.lindex(store.keys.broadcast(broadcast, ":lanes"), int(batch.split(".")[0]))
        size = 0 if lane is None else len(ledger) // RECORD_BYTES
        unknown += [f"{broadcast}.{batch}.{row}" for row in rows if row >= size]
        if lane is not None:
            found.append(_letters_in(broadcast, lane.decode(), batch, ledger, states).at(rows))
    return [letters for letters in found if letters], unknown
