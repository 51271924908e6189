"""From a list and a content to a broadcast in Redis: the one way in, for the command line and the API.

Nothing of it can be sent before the list is whole. What goes wrong on the way leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeVar

import msgspec
from redis.exceptions import RedisError

from broadcaster.domain.content import compile_content
from broadcaster.domain.create_message import check_content
from broadcaster.domain.data_format import needed_by
from broadcaster.domain.handing import timed
from broadcaster.domain.openings import closed_words, never_open, opens_at
from broadcaster.intake.findings import NOTHING_FOUND, Findings
from broadcaster.intake.load import Loader, Reservation, abandon, new_broadcast_id, remove_data, reserve
from broadcaster.intake.prepare import Preparation
from broadcaster.intake.read_ahead import ReadAhead, in_thread
from broadcaster.intake.refusals import (
    ContentRefusedError,
    FullError,
    HandedOutsideError,
    KeyTakenError,
    NotConfirmedError,
    SubmissionError,
    UnderWayError,
    WindowMissedError,
)
from broadcaster.intake.rejects import StoredRejects, store_rejects
from broadcaster.intake.submission import Submission
from broadcaster.intake.windows import Windows, windows_for
from broadcaster.ledger.optouts import OptOuts
from broadcaster.ledger.pools import keep_pool
from broadcaster.store.ending import in_peace
from broadcaster.store.errors import StoreError
from broadcaster.store.raising import need_format

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from broadcaster.domain.broadcast import BroadcastSpec
    from broadcaster.domain.create_message import Fault
    from broadcaster.intake.faults import FaultList, RejectsFile
    from broadcaster.intake.summary import Summary
    from broadcaster.intake.table import ListReader
    from broadcaster.store.connection import Store

__all__ = ["ContentRefusedError", "NotConfirmedError", "Submission", "SubmissionError", "Submitted", "submit"]

_T = TypeVar("_T")
#: How often the import's lease is renewed while a slow list keeps us waiting.
RENEW_SECONDS: Final = 3.0
#: How long what was loaded may take to be removed, once somebody has broken an import off.
GIVE_UP_SECONDS: Final = 5.0

#: No list is taken any more when this share of Redis' `maxmemory` is used; looked at once in so many records.
MEMORY_SHARE: Final = 0.85
MEMORY_EVERY: Final = 5_000
_MAKE_ROOM: Final = ". Raise maxmemory, or wait until older broadcasts are removed"


@dataclass(frozen=True, slots=True)
class Submitted:
    """A broadcast whose list is whole. `summary` is None if it was there already (`known`)."""

    broadcast: str
    known: bool
    summary: Summary | None


def check(submission: Submission, now: float | None) -> None:
    """Check what can be known before the list is read. Raises ContentError or ContentRefusedError.

    Without `now` (unix seconds) times are not judged: what was taken before may be asked for late.
    """
    compile_content(submission.content)
    content = timed(submission.content, submission.handed_at)
    faults: list[Fault] = []
    for lane in submission.lanes:
        service = lane.name if lane.name.startswith("MG") else submission.messaging_service_sid
        sender = None if lane.name.startswith("MG") else lane.name
        found = check_content(content, from_=sender, messaging_service_sid=service, now=now)
        faults += [fault for fault in found if fault not in faults]
    if faults:
        raise ContentRefusedError(faults)


def check_hours(spec: BroadcastSpec, now: float) -> None:
    """Refuse what would surely expire before it may be sent, or that Twilio would send outside the hours.

    Raises WindowMissedError.
    """
    window, expires = spec.send_window, spec.expires_at
    if window is not None and spec.handing is not None and (opens := opens_at(window, spec.handing.at)):
        raise HandedOutsideError(closed_words(window, opens))
    if window is None or expires is None:
        return
    if never_open(window, spec.schedule_at or now, expires):
        raise WindowMissedError(closed_words(window, next(window.openings(spec.schedule_at or now))[0]))


async def submit(
    store: Store,
    reader: ListReader,
    submission: Submission,
    *,
    rejects: RejectsFile | StoredRejects | None = None,
    faults: FaultList | None = None,
    opt_outs: OptOuts | None = None,
    windows: Windows | None = None,
    progress: Callable[[Summary], None] | None = None,
    confirm: Callable[[Summary], Awaitable[bool]] | None = None,
    found: Findings = NOTHING_FOUND,
) -> Submitted:
    """Load the list; it ends as `draft`, or `scheduled` where a time is named. Starting it is another step.

    The same idempotency key with the same list and content returns the broadcast that is there. `opt_outs`
    are those that this process keeps, if it does; they are made current. Without `windows` Twilio isn't asked
    about WhatsApp's 24 hours: what replies say counts. `confirm` is asked once all is loaded and checked;
    `found` is what preflight came to. Raises `SubmissionError`, a `ListError`, `ContentError`,
    `NotConfirmedError` or a `StoreError`; nothing stays queued then.
    """
    now = time.time()
    check(submission, None if await is_known(store, submission.idempotency_key) else now)
    spec = submission.spec(now)
    try:
        reservation = await reserved(store, spec, submission.idempotency_key)
    except StoreError as error:
        say_if_full(error)
        raise
    if reservation.verdict == "known":
        return await _same(reservation, reader, submission)
    broadcast = reservation.broadcast
    loader = Loader(store, broadcast, spec, {lane.name: lane.rate for lane in submission.lanes})
    try:
        check_hours(spec, now)
        lanes = submission.lanes
        await store.run_all(
            [keep_pool(lane.name, lane.pool, lane.pool_read) for lane in lanes if lane.pool_read]
        )
        opt_outs = OptOuts() if opt_outs is None else opt_outs
        await opt_outs.refresh(store)
        preparation = Preparation(
            reader,
            renderer=compile_content(submission.content),
            senders=[(lane.name, lane.rate) for lane in submission.lanes],
            region=submission.region,
            opt_outs=opt_outs or None,
            service=spec.messaging_service_sid,
            purpose=spec.purpose,
            consent_column=spec.consent_column,
            rejects=rejects,
            faults=faults,
            windows=windows_for(windows or Windows(store, None), spec),
            verified=found.verified,
        )
        await _load(loader, preparation, progress, rejects)
        if confirm is not None and not await _renewing(loader, confirm(preparation.summary)):
            raise NotConfirmedError  # noqa: TRY301 - it takes the same way back as a failure
        digest = await in_thread(reader.digest)
        rejected = preparation.summary.rejected
        facts = {"rejected": str(rejected)} if rejected else {}
        if warnings := warnings_of(found, preparation.summary):
            facts["warnings"] = msgspec.json.encode(warnings).decode()
        await loader.seal(fingerprint=submission.fingerprint(digest), facts=facts)
    except BaseException as error:
        await in_peace(_give_up(loader, error), GIVE_UP_SECONDS)
        say_if_full(error)
        raise
    return Submitted(broadcast, known=False, summary=preparation.summary)


def warnings_of(found: Findings, summary: Summary) -> list[str]:
    """Return what was found out, and what of it only the list tells."""
    recipients = {name: lane.recipients for name, lane in summary.lanes.items()}
    return [*summary.notes, *found.warnings, *found.over_limits(recipients)]


async def is_known(store: Store, key: str) -> bool:
    """Tell whether an idempotency key was used before. Raises redis' errors."""
    return bool(key) and bool(await store.redis.exists(store.keys.plain(f"idem:{key}")))


async def reserved(store: Store, spec: BroadcastSpec, key: str) -> Reservation:
    """Begin an import: 'new', or 'known' by its key. Clears what a dead process left.

    Raises UnderWayError while somebody imports with this key, SubmissionError or a `StoreError`.
    """
    for _ in range(3):
        answer = await _asked(store, spec, key)
        if answer.verdict == "importing":
            raise UnderWayError(answer.broadcast)
        if answer.verdict != "abandoned":
            return answer
        reason = "the importing process ended before the list was complete"
        if await store.run(abandon(answer.broadcast, reason)) == "ok":
            await remove_data(store, answer.broadcast)
    raise SubmissionError("others are submitting with this idempotency key at this moment: ask again")


async def _asked(store: Store, spec: BroadcastSpec, key: str) -> Reservation:
    broadcast = new_broadcast_id()
    if (needed := needed_by(spec)) > store.fenced and not await is_known(store, key):
        await need_format(store, needed)
    try:
        return await store.run(reserve(broadcast, spec, key))
    except asyncio.CancelledError as error:
        # Redis may have done it before we heard so: nobody else knows this id
        await in_peace(_give_up(Loader(store, broadcast, spec, {}), error), GIVE_UP_SECONDS)
        raise


async def _same(reservation: Reservation, reader: ListReader, submission: Submission) -> Submitted:
    digest = await in_thread(reader.digest)
    if submission.fingerprint(digest) != reservation.fingerprint:
        raise KeyTakenError(submission.idempotency_key, reservation.broadcast)
    return Submitted(reservation.broadcast, known=True, summary=None)


async def _load(
    loader: Loader,
    preparation: Preparation,
    progress: Callable[[Summary], None] | None,
    rejects: RejectsFile | StoredRejects | None,
) -> None:
    ahead = ReadAhead(iter(preparation))
    kept = rejects if isinstance(rejects, StoredRejects) else None
    checked = 0
    try:
        while batches := await _renewing(loader, ahead.take()):
            for rows in batches:
                if loader.total >= checked:
                    await check_memory(loader.store)
                    checked = loader.total + MEMORY_EVERY
                await loader.add(rows)
            if kept is not None:
                await store_rejects(loader.store, loader.broadcast, kept.take())
            if progress is not None:
                progress(preparation.summary)
    finally:
        ahead.close()
    if kept is not None:
        await store_rejects(loader.store, loader.broadcast, kept.take(ended=True))
    await loader.flush()


async def check_memory(store: Store) -> None:
    """Leave a sending installation the memory it needs to write outcomes. Raises FullError."""
    memory = await store.redis.info("memory")
    most = int(memory.get("maxmemory", 0))
    if most and int(memory["used_memory"]) > MEMORY_SHARE * most:
        raise FullError(
            f"Redis is full: it holds {memory['used_memory_human']} of {memory['maxmemory_human']}"
            + _MAKE_ROOM
        )


def say_if_full(error: BaseException) -> None:
    """Raise FullError where Redis refused for want of memory, which others may fill meanwhile."""
    if isinstance(error, RedisError | StoreError) and "maxmemory" in str(error):
        raise FullError("Redis is full" + _MAKE_ROOM) from error


async def _renewing(loader: Loader, awaitable: Awaitable[_T]) -> _T:
    """Wait, and renew the import's lease meanwhile."""
    task = asyncio.ensure_future(awaitable)
    try:
        while not (await asyncio.wait({task}, timeout=RENEW_SECONDS))[0]:
            await loader.flush()
    finally:
        task.cancel()
    return task.result()


async def _give_up(loader: Loader, error: BaseException) -> None:
    store, broadcast = loader.store, loader.broadcast
    reason = (
        "not confirmed"
        if isinstance(error, NotConfirmedError)
        else str(error).split("\n")[0] or "interrupted"
    )
    try:
        verdict = await store.run(abandon(broadcast, reason[:300], by_its_importer=True))
        if verdict not in ("ok", "failed", "gone"):  # sealed without our knowing: it may be sending already
            error.add_note(f"(the list is whole all the same, as broadcast {broadcast}, which is {verdict})")
            return
        await loader.remove()
        # Nobody was told its id, so nobody asks what became of it.
        keys = store.keys
        await store.redis.zrem(keys.plain("bcs"), broadcast)
        await store.redis.unlink(*(keys.broadcast(broadcast, part) for part in ("", ":codes", ":importer")))
    except Exception as failed:  # noqa: BLE001 - the first error is what to tell; a worker clears this import later
        error.add_note(f"(what was loaded could not be removed yet: {failed})")
