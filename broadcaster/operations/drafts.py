"""Drafts whose list comes in parts, for tools that can't send it in one piece."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from broadcaster.intake.extend import OpenDraft, Part, SeenParts, known_part, read_draft
from broadcaster.intake.findings import NOTHING_FOUND
from broadcaster.intake.load import Loader
from broadcaster.intake.refusals import KeyTakenError
from broadcaster.intake.submit import Submitted, check, check_hours, check_memory, is_known, reserved
from broadcaster.operations import audit
from broadcaster.operations.creating import begin
from broadcaster.operations.errors import Conflict, NotFound
from broadcaster.operations.preflight import Asked, preflight
from broadcaster.operations.trial_checks import verified_by
from broadcaster.reporting.broadcasts import could_be_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from broadcaster.intake.extend import Draft, Extended
    from broadcaster.intake.table import ListReader
    from broadcaster.intake.windows import Windows
    from broadcaster.ledger.optouts import OptOuts
    from broadcaster.ledger.pools import PoolReader
    from broadcaster.operations.actor import Actor
    from broadcaster.operations.orders import Order
    from broadcaster.settings import Settings
    from broadcaster.store.connection import Store
    from broadcaster.twilio.rest import TwilioRest

#: Stands for the list of a draft that has none yet.
_NO_LIST: Final = "in parts"
#: Others may add parts at the same moment: the duplicates are looked for again.
_TRIES: Final = 5
_seen: Final = SeenParts()


async def open_draft(
    store: Store,
    actor: Actor,
    order: Order,
    *,
    settings: Settings,
    read_pool: PoolReader,
    twilio: TwilioRest | None = None,
    idempotency_key: str = "",
) -> Submitted:
    """Make a draft with no list, which takes its recipients in parts. Raises like `creating.create`."""
    lanes = await order.lanes(settings, store, read_pool)
    submission = order.submission(lanes, idempotency_key)
    now = time.time()
    known = await is_known(store, idempotency_key)
    check(submission, None if known else now)
    spec = submission.spec(now)
    check_hours(spec, now)
    found = NOTHING_FOUND
    if not known:
        found = await preflight(
            Asked(order=order, lanes=lanes, channels=(), settings=settings, twilio=twilio)
        )
    reservation = await reserved(store, spec, idempotency_key)
    print_ = submission.fingerprint(_NO_LIST)
    if reservation.verdict == "known":
        if reservation.fingerprint != print_:
            raise KeyTakenError(idempotency_key, reservation.broadcast)
        done = Submitted(reservation.broadcast, known=True, summary=None)
    else:
        rates = {lane.name: lane.rate for lane in lanes}
        how = OpenDraft(
            rates=rates,
            region=order.region,
            to_column=order.to_column,
            skips_faults=order.skips_faults,
            encoding=order.encoding,
        )
        facts = {"open": msgspec.json.encode(how).decode()}
        if found.warnings:
            facts["warnings"] = msgspec.json.encode(found.warnings).decode()
        await Loader(store, reservation.broadcast, spec, rates).seal(fingerprint=print_, facts=facts)
        done = Submitted(reservation.broadcast, known=False, summary=None)
    await begin(store, actor, submission, done, draft=True)
    return done


async def extend(
    store: Store,
    actor: Actor,
    broadcast: str,
    read: Callable[[OpenDraft], ListReader],
    *,
    name: str,
    asked: str,
    opt_outs: OptOuts,
    windows: Windows,
    twilio: TwilioRest | None = None,
) -> dict[str, Any]:
    """Add a part to a draft, once per `name`; return what it came to.

    `read` opens the part (given how the draft's are read), and is called for each try;
    `asked` tells one part from another. Raises NotFound, Conflict, KeyTakenError, a `ListError`,
    ContentError or a `StoreError`; after `Unreachable` it may have been added, and may be sent again.
    """
    for _ in range(_TRIES):
        draft = await read_draft(store, broadcast) if could_be_id(broadcast) else None
        if draft is None:
            raise NotFound("broadcast", broadcast)
        if known := await known_part(store, broadcast, name):
            return _answer(known, asked, name)
        _check(draft)
        await check_memory(store)
        await opt_outs.refresh(store)
        reader, seen = read(draft.open or OpenDraft(rates={})), await _seen.read(store, draft)
        part = Part(draft, reader, opt_outs, seen, windows, verified=await verified_by(twilio))
        await asyncio.to_thread(part.prepare)
        summary = part.summary
        told = {
            "rows": summary.rows,
            "recipients": summary.recipients,
            "duplicates": summary.duplicates,
            "opted_out": summary.opted_out,
            "unverified": summary.unverified,
            "rejected": summary.rejected,
            "warnings": list(summary.notes),
        }
        done = await part.commit(store, name, asked, msgspec.json.encode(told))
        if done.verdict == "ok":
            await audit.record(store, actor, "broadcast.extend", broadcast, new=told)
        if done.verdict in ("ok", "known"):
            return _answer(done, asked, name)
        if done.verdict != "moved":
            raise _closed(broadcast, done.verdict)
    raise Conflict(
        f"others are adding to broadcast {broadcast} at this moment", state="draft", retry_after_seconds=1
    )


def _answer(done: Extended, asked: str, name: str) -> dict[str, Any]:
    if done.asked != asked:
        raise KeyTakenError(name, "")
    told: dict[str, Any] = msgspec.json.decode(done.answer)
    return {**told, "total": done.total}


def _check(draft: Draft) -> None:
    if draft.state != "draft" or draft.open is None:
        raise _closed(draft.broadcast, "closed" if draft.state == "draft" else draft.state)


def _closed(broadcast: str, state: str) -> Conflict:
    if state == "closed":
        why = "has its list: only a draft that was made without recipients takes them in parts"
        return Conflict(f"broadcast {broadcast} {why}", state="draft")
    return Conflict(f"broadcast {broadcast} is {state}: only a draft takes recipients", state=state)
