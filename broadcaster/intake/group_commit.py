"""Writing single messages: all that waits goes in one round trip, while the next are collected."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from broadcaster.domain.record import RECORD_BYTES, Reason, Record, State
from broadcaster.intake.batches import MAX_BATCH
from broadcaster.intake.streams import StreamBatch
from broadcaster.intake.submit import SubmissionError, check_memory, say_if_full
from broadcaster.ledger.optouts import OptOuts
from broadcaster.store.batches import Recipients, first_records, pack_batch, unpack_batch
from broadcaster.store.errors import StoreError, Unreachable
from broadcaster.store.who import marks

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broadcaster.intake.streams import Appended, Stream
    from broadcaster.store.connection import Store
    from broadcaster.store.scripts import Call

#: An answer that didn't come is asked for again so many times, after so long.
TRIES: Final = 4
AGAIN_SECONDS: Final = 0.25
#: How long an answer can be asked for again: a process's own, and that of a request with a nonce.
OWN_KEPT_SECONDS: Final = 600
REQUEST_KEPT_SECONDS: Final = 86_400
MEMORY_EVERY_SECONDS: Final = 1.0


class Accepted(NamedTuple):
    """One message that is queued, or skipped: `code` is our own reason (`Reason`), 0 for none."""

    id: str
    to: str
    state: State
    reference: str | None
    code: int


class Row(NamedTuple):
    """One message: `lane` is its sender's place in the stream, `values` are in the order of the columns."""

    lane: int
    to: str
    reference: str | None
    values: tuple[str, ...]
    segments: int
    code: int


@dataclass(slots=True)
class Waiting:
    """One request's messages and who waits for them; `memo` is the name under which it is known again."""

    stream: Stream
    columns: tuple[str, ...]
    rows: list[Row]
    memo: str
    answer: asyncio.Future[list[Accepted]]


Place = tuple[Waiting, int]


@dataclass(slots=True)
class _Append:
    """One call: for each batch its lane, and which message of which request each of its rows is."""

    stream: Stream
    columns: tuple[str, ...]
    memo: str
    number: int
    batches: list[tuple[int, list[Place]]]
    written: list[StreamBatch]
    codes: list[list[int]]

    @property
    def own(self) -> bool:
        """Whether it holds one request, which may be made again."""
        return self.memo.startswith("r:")

    def requests(self) -> list[Waiting]:
        """Return whose messages it holds."""
        return list({id(request): request for _, places in self.batches for request, _ in places}.values())

    def call(self) -> Call[Appended]:
        """Return what is asked of Redis."""
        kept = REQUEST_KEPT_SECONDS if self.own else OWN_KEPT_SECONDS
        return self.stream.append(self.memo, self.number, kept, self.written)


class GroupCommit:
    """Collects requests and writes them. `name` is this process's own, which no other has ever had."""

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self._number = 0
        self._waiting: list[Waiting] = []
        self._writing: asyncio.Task[None] | None = None
        self._opt_outs = OptOuts()
        self._memory_at = -MEMORY_EVERY_SECONDS

    def add(self, request: Waiting) -> None:
        """Take a request; its answer or its error will be there."""
        self._waiting.append(request)
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._write())

    async def close(self) -> None:
        """Wait until nothing waits any more."""
        if self._writing is not None:
            await self._writing

    async def _write(self) -> None:
        """Write until nothing waits. Whoever calls meanwhile goes with the next."""
        try:
            while self._waiting:
                taken, self._waiting = self._waiting, []
                taken = [request for request in taken if not request.answer.done()]
                try:
                    await self._together(taken)
                except Exception as error:  # noqa: BLE001 - each caller gets it
                    for request in taken:
                        _fail(request, error)
        finally:
            self._writing = None

    async def _together(self, requests: list[Waiting]) -> None:
        """Write requests, and answer them."""
        if time.monotonic() - self._memory_at >= MEMORY_EVERY_SECONDS:
            await check_memory(self._store)
            self._memory_at = time.monotonic()
        await self._opt_outs.refresh(self._store)
        self._number += 1
        appends = self._appends(requests)
        answers = await self._run(appends)
        told: dict[int, list[Accepted]] = {}
        for append, answer in zip(appends, answers, strict=True):
            if isinstance(answer, Exception):
                for request in append.requests():
                    _fail(request, answer)
            elif append.own and answer.known:
                (request,) = append.requests()
                told[id(request)] = await read_back(self._store, answer, request.rows)
            else:
                _tell(append, answer, told)
        for request in requests:
            if not request.answer.done():
                request.answer.set_result(told[id(request)])

    def _appends(self, requests: Iterable[Waiting]) -> list[_Append]:
        """Return the calls: one for each stream, and one for each request with a name of its own."""
        appends: list[_Append] = []
        shared: dict[int, list[Waiting]] = {}
        for request in requests:
            if request.memo:
                appends.append(self._append([request], request.memo, 1))
            else:
                shared.setdefault(id(request.stream), []).append(request)
        for slot, some in enumerate(shared.values()):
            appends.append(self._append(some, f"{self._name}:{slot}", self._number))
        return appends

    def _append(self, requests: list[Waiting], memo: str, number: int) -> _Append:
        stream, columns = requests[0].stream, requests[0].columns
        lanes: dict[int, list[Place]] = {}
        for request in requests:
            for place, row in enumerate(request.rows):
                lanes.setdefault(row.lane, []).append((request, place))
        append = _Append(stream, columns, memo, number, [], [], [])
        now_s = int(time.time())
        for lane, places in lanes.items():
            for start in range(0, len(places), MAX_BATCH):
                some = places[start : start + MAX_BATCH]
                rows = [request.rows[place] for request, place in some]
                codes = self._codes(stream.spec.senders[lane], rows)
                append.batches.append((lane, some))
                append.codes.append(codes)
                append.written.append(stream_batch(lane, columns, rows, codes, now_s))
        return append

    def _codes(self, sender: str, rows: list[Row]) -> list[int]:
        """Return why each is skipped, 0 where it is queued."""
        if not self._opt_outs:
            return [row.code for row in rows]
        blocks = self._opt_outs.blocks
        return [row.code or (Reason.OPTED_OUT if blocks(row.to, sender) else 0) for row in rows]

    async def _run(self, appends: list[_Append]) -> list[Appended | StoreError]:
        """Carry calls out, again where no answer came or their streams take nothing any more."""
        answers: dict[int, Appended | StoreError] = {}
        left = list(range(len(appends)))
        for _ in range(TRIES):
            told = await self._ask([appends[i] for i in left])
            answers.update(zip(left, told, strict=True))
            left = [i for i, answer in zip(left, told, strict=True) if _again(answer)]
            if not left:
                break
            found = [answers[i] for i in left]
            if any(isinstance(answer, Unreachable) for answer in found):
                await asyncio.sleep(AGAIN_SECONDS)
            elif any(not isinstance(a, StoreError) and a.verdict == "server" for a in found):
                await self._store.guard.look()
            for i in left:
                answer = answers[i]
                if not isinstance(answer, StoreError) and answer.verdict != "server":
                    appends[i].stream.begin_anew()
        return [_final(answers[i]) for i in range(len(appends))]

    async def _ask(self, appends: list[_Append]) -> list[Appended | StoreError]:
        try:
            return await self._store.run_each([append.call() for append in appends])
        except Unreachable as error:
            return [error] * len(appends)


def _again(answer: Appended | StoreError) -> bool:
    if isinstance(answer, StoreError):
        return isinstance(answer, Unreachable)
    return answer.verdict not in ("ok", "late")


def _final(answer: Appended | StoreError) -> Appended | StoreError:
    if isinstance(answer, StoreError) or answer.verdict == "ok":
        return answer
    return StoreError(f"the messages could not be queued: their stream is {answer.verdict}")


def _fail(request: Waiting, error: Exception) -> None:
    if request.answer.done():
        return
    try:
        say_if_full(error)
    except SubmissionError as full:
        error = full
    request.answer.set_exception(error)


def stream_batch(
    lane: int, columns: tuple[str, ...], rows: list[Row], codes: list[int], now_s: int
) -> StreamBatch:
    """Pack rows of one lane; `codes` say why a row is skipped, 0 where it is queued."""
    to = [row.to for row in rows]
    references = [row.reference for row in rows]
    values = [list(column) for column in zip(*[row.values for row in rows], strict=True)] if columns else []
    packed = pack_batch(Recipients(to, references if any(references) else None, columns, values))
    states = bytes([State.SKIPPED if code else State.QUEUED for code in codes])
    counted = {str(state): n for state, n in Counter(states).items()}
    reasons = {f"{int(State.SKIPPED)}:{int(code)}": n for code, n in Counter(codes).items() if code}
    records = first_records(states, codes, bytes([row.segments for row in rows]), now_s)
    return StreamBatch(lane, packed, records, marks(to), counted, reasons)


def _tell(append: _Append, answer: Appended, told: dict[int, list[Accepted]]) -> None:
    """Word the answers of one append's requests. A request's messages lie in its order within each lane."""
    found: dict[int, dict[int, Accepted]] = {}
    for name, (_, places), codes in zip(answer.batches, append.batches, append.codes, strict=True):
        for index, ((request, place), code) in enumerate(zip(places, codes, strict=True)):
            row = request.rows[place]
            state = State.SKIPPED if code else State.QUEUED
            found.setdefault(id(request), {})[place] = Accepted(
                f"{answer.stream}.{name}.{index}", row.to, state, row.reference, int(code)
            )
    for number, accepted in found.items():
        told[number] = [accepted[place] for place in range(len(accepted))]


async def read_back(store: Store, answer: Appended, rows: Sequence[Row]) -> list[Accepted]:
    """Return the messages of a request that was carried out before, as they are now, in the request's order.

    Raises redis' errors, and StoreError where they are removed already.
    """
    keys = store.keys
    names = [key(answer.stream, name) for name in answer.batches for key in (keys.batch, keys.ledger)]
    raws = await store.redis.mget(names)
    if any(raw is None for raw in raws):
        raise StoreError("this request was carried out more than a day ago, and its messages are removed")
    by_address: dict[str, list[Accepted]] = {}
    for name, raw, ledger in zip(answer.batches, raws[::2], raws[1::2], strict=True):
        recipients = unpack_batch(raw)
        for index, to in enumerate(recipients.to):
            record = Record.unpack(ledger, index * RECORD_BYTES)
            reference = recipients.references[index] if recipients.references else None
            message = f"{answer.stream}.{name}.{index}"
            by_address.setdefault(to, []).append(Accepted(message, to, record.state, reference, record.code))
    in_order = [found.pop(0) for row in rows if (found := by_address.get(row.to))]
    return in_order + [one for found in by_address.values() for one in found]
