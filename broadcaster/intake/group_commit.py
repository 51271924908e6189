"""Writing single messages: all that waits goes in one round trip, while the next are collected."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from redis.exceptions import RedisError

from broadcaster.domain.record import Reason, State
from broadcaster.intake.batches import MAX_BATCH
from broadcaster.intake.single_rows import Accepted, Row, read_back, stream_batch
from broadcaster.intake.streams import Item
from broadcaster.intake.submit import SubmissionError, check_memory, say_if_full
from broadcaster.ledger.optouts import OptOuts
from broadcaster.store.errors import StoreError, Unreachable

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broadcaster.domain.broadcast import BroadcastSpec
    from broadcaster.intake.streams import Appended, Stream, StreamBatch
    from broadcaster.store.connection import Store
    from broadcaster.telemetry.metrics import Metrics

#: An answer that didn't come is asked for again so many times, after so long.
TRIES: Final = 4
AGAIN_SECONDS: Final = 0.25
#: How long an answer can be asked for again: a process's own, and that of a request with a nonce.
OWN_KEPT_SECONDS: Final = 600
REQUEST_KEPT_SECONDS: Final = 86_400
MEMORY_EVERY_SECONDS: Final = 1.0
#: Of who is skipped for two reasons what they want themselves is told, as for a list.
_MAY_BE_OPTED_OUT: Final = (Reason.NONE, Reason.UNVERIFIED)


@dataclass(slots=True)
class Waiting:
    """One request's messages and who waits; it is known again by `memo`, answered in its `turn` (`Item`)."""

    stream: Stream
    columns: tuple[str, ...]
    rows: list[Row]
    memo: str
    turn: str
    answer: asyncio.Future[list[Accepted]]


Place = tuple[Waiting, int]


@dataclass(slots=True)
class _Append:
    """One item of a call: for each batch its lane, and which message of which request each row is."""

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

    def item(self) -> Item:
        """Return what is asked of Redis."""
        if not self.own:
            return Item(self.memo, self.number, OWN_KEPT_SECONDS, self.written)
        turn = self.requests()[0].turn
        return Item(self.memo, self.number, REQUEST_KEPT_SECONDS, self.written, turn)


class GroupCommit:
    """Collects requests and writes them. `name` is this process's own, which no other has ever had."""

    def __init__(self, store: Store, name: str, metrics: Metrics | None = None) -> None:
        self._store = store
        self._metrics = metrics
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
                except asyncio.CancelledError:
                    for request in taken + self._waiting:
                        _fail(request, Unreachable("this process is ending: it may be queued, or not"))
                    raise
                except Exception as error:  # noqa: BLE001 - each caller gets it
                    for request in taken:
                        _fail(request, _told(error))
        finally:
            self._writing = None

    async def _together(self, requests: list[Waiting]) -> None:
        """Write requests, and answer them."""
        if time.monotonic() - self._memory_at >= MEMORY_EVERY_SECONDS:
            await check_memory(self._store)
            self._memory_at = time.monotonic()
        if not self._opt_outs.epoch:
            await self._opt_outs.refresh(self._store)
        self._number += 1
        appends = self._appends(requests)
        answers = await self._run(appends)
        for append, answer in zip(appends, answers, strict=True):
            if isinstance(answer, Exception):
                for request in append.requests():
                    _fail(request, answer)
            elif append.own and answer.known:
                await self._tell_again(append.requests()[0], answer)
            else:
                self._count(append)
                _tell(append, answer)

    def _count(self, append: _Append) -> None:
        """Count the messages of an append that was carried out."""
        if self._metrics is None:
            return
        for codes in append.codes:
            self._metrics.imported("message", codes.count(0))
            for code, skipped in Counter(codes).items() if any(codes) else ():
                if code:
                    self._metrics.skipped(Reason(code).name.lower(), skipped)

    async def _tell_again(self, request: Waiting, answer: Appended) -> None:
        """Answer a request that was carried out before."""
        try:
            accepted = await read_back(self._store, answer, request.rows)
        except (StoreError, RedisError, OSError) as error:
            _fail(request, _told(error))
        else:
            if not request.answer.done():
                request.answer.set_result(accepted)

    def _appends(self, requests: Iterable[Waiting]) -> list[_Append]:
        """Return the items: one for each stream, and one for each request with a name of its own."""
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
                codes = self._codes(stream.spec, lane, rows)
                append.batches.append((lane, some))
                append.codes.append(codes)
                append.written.append(stream_batch(lane, columns, rows, codes, now_s))
        return append

    def _codes(self, spec: BroadcastSpec, lane: int, rows: list[Row]) -> list[int]:
        """Return why each is skipped, 0 where it is queued."""
        scopes = self._opt_outs.scopes(spec.senders[lane], spec.messaging_service_sid, spec.purpose)
        if not scopes:
            return [row.code for row in rows]
        blocks = self._opt_outs.blocks
        return [
            Reason.OPTED_OUT if row.code in _MAY_BE_OPTED_OUT and blocks(row.to, scopes) else row.code
            for row in rows
        ]

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
            refused = {_verdict(answers[i]) for i in left}
            if "" in refused:
                await asyncio.sleep(AGAIN_SECONDS)
            if "server" in refused:
                await self._store.guard.look()
            if "optouts" in refused:
                await self._opt_outs.refresh(self._store)
            for i in left:
                verdict, old = _verdict(answers[i]), appends[i]
                if verdict == "optouts":
                    appends[i] = self._append(old.requests(), old.memo, old.number)
                elif verdict not in ("", "server"):
                    old.stream.begin_anew()  # more than once, maybe, which does no harm
        return [_final(answers[i]) for i in range(len(appends))]

    async def _ask(self, appends: list[_Append]) -> list[Appended | StoreError]:
        """Make one call for each stream, all in one round trip."""
        streams: dict[int, tuple[Stream, list[int]]] = {}
        for i, append in enumerate(appends):
            streams.setdefault(id(append.stream), (append.stream, []))[1].append(i)
        asked = [
            stream.append([appends[i].item() for i in members], self._opt_outs.epoch)
            for stream, members in streams.values()
        ]
        try:
            told = await self._store.run_each(asked)
        except Unreachable as error:
            return [error] * len(appends)
        answers: dict[int, Appended | StoreError] = {}
        for (_, members), of_stream in zip(streams.values(), told, strict=True):
            each = [of_stream] * len(members) if isinstance(of_stream, StoreError) else of_stream
            answers.update(zip(members, each, strict=True))
        return [answers[i] for i in range(len(appends))]


def _verdict(answer: Appended | StoreError) -> str:
    return "" if isinstance(answer, StoreError) else answer.verdict


def _again(answer: Appended | StoreError) -> bool:
    if isinstance(answer, StoreError):
        return isinstance(answer, Unreachable)
    return answer.verdict not in ("ok", "late")


def _final(answer: Appended | StoreError) -> Appended | StoreError:
    if isinstance(answer, StoreError) or answer.verdict == "ok":
        return answer
    if answer.verdict == "late":
        return StoreError("this request has been carried out by another process meanwhile: make it again")
    return StoreError(f"the messages could not be queued: their stream is {answer.verdict}")


def _told(error: Exception) -> Exception:
    """Word redis' own errors, of reads beside the appends, as ours."""
    if isinstance(error, RedisError | OSError):
        return Unreachable(f"Redis gave no answer: {error}")
    return error


def _fail(request: Waiting, error: Exception) -> None:
    if request.answer.done():
        return
    try:
        say_if_full(error)
    except SubmissionError as full:
        error = full
    request.answer.set_exception(error)


def _tell(append: _Append, answer: Appended) -> None:
    """Answer the requests of one append."""
    found: dict[int, tuple[Waiting, dict[int, Accepted]]] = {}
    for name, (_, places), codes in zip(answer.batches, append.batches, append.codes, strict=True):
        for index, ((request, place), code) in enumerate(zip(places, codes, strict=True)):
            row = request.rows[place]
            state = State.SKIPPED if code else State.QUEUED
            accepted = Accepted(f"{answer.stream}.{name}.{index}", row.to, state, row.reference, int(code))
            found.setdefault(id(request), (request, {}))[1][place] = accepted
    for request, by_place in found.values():
        if not request.answer.done():
            request.answer.set_result([by_place[place] for place in range(len(by_place))])
