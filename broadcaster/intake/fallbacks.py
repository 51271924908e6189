"""The SMS in place of WhatsApp messages that can't reach their people: each once, whatever dies on the way.

An SMS is a message of its own, in a stream that belongs to its broadcast, or to the stream that a single
message is in: same purpose, consent, priority, hours, expiry and pace, another sender. fall_back.lua appends
it and marks the WhatsApp message in one step, so failed deliveries may be told twice, by several, and after
any crash. Where Redis has lost writes since the WhatsApp message left, that mark may be what it lost, and the
SMS with it: then the SMS begins in doubt, and leaves only once Twilio's list shows that it has not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgpack
import structlog

from broadcaster.domain.addresses import Channel
from broadcaster.domain.content import RenderError
from broadcaster.domain.fallback import UNREACHABLE
from broadcaster.domain.record import RECORD_BYTES, Reason, Record
from broadcaster.domain.senders import NoSenderError, default_rate, parse_sender
from broadcaster.domain.templates import ContentError
from broadcaster.intake.addressing import unverified
from broadcaster.intake.batches import MAX_BATCH
from broadcaster.intake.fallback_plan import Plan, Unreached, sms_batch, sms_spec
from broadcaster.intake.sender_choice import SenderChoice
from broadcaster.ledger.optouts import OptOuts
from broadcaster.ledger.specs import read_spec
from broadcaster.store.batches import Recipients, unpack_batch
from broadcaster.store.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from broadcaster.intake.addressing import Verified
    from broadcaster.ledger.pools import PoolReader
    from broadcaster.ledger.resending import Failed
    from broadcaster.settings import Settings
    from broadcaster.store.connection import Store
    from broadcaster.telemetry.metrics import Metrics

log = structlog.get_logger("fallbacks")

TRIES: Final = 5
#: A line of a history about an attempt that was over when it came: not when that began.
_LATE: Final = b"late"
_WHATSAPP: Final = "whatsapp:"
#: The segments that a record has room for.
_MOST_SEGMENTS: Final = 255
#: What is over in a moment, or with another id.
_AGAIN: Final = frozenset(("optouts", "server", "taken", "loss", "rewinding"))


class Fallbacks:
    """Lets an SMS follow failed WhatsApp deliveries whose broadcast says so. It may be told of one twice.

    Who isn't among the `verified` numbers of a trial account is skipped.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        read_pool: PoolReader,
        *,
        verified: Verified | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._store = store
        self._verified = verified
        self._metrics = metrics
        self._senders = SenderChoice(store, settings, read_pool)
        self._opt_outs = OptOuts()
        self.appended = 0

    async def __call__(self, failed: Sequence[Failed]) -> None:
        """Take failed deliveries; those that no SMS may follow are left as they are.

        Raises `StoreError` and redis' errors; then it is to be called again.
        """
        by_broadcast: dict[str, list[Failed]] = {}
        for one in failed:
            if one.code in UNREACHABLE:
                by_broadcast.setdefault(one.broadcast, []).append(one)
        for broadcast, some in by_broadcast.items():
            plan = await self._plan(broadcast)
            if plan is not None:
                await self._of_broadcast(plan, some)

    async def _plan(self, broadcast: str) -> Plan | None:
        key = self._store.keys.broadcast(broadcast)
        told, raw = await self._store.redis.hmget(key, "sms", "spec")
        read = read_spec(broadcast, raw) if told else None
        spec = None if read is None else sms_spec(read)
        if spec is None:
            return None
        try:
            return Plan.of(broadcast, spec, await self._lane(spec.senders[0]))
        except ContentError as error:  # another version's text; it must not hold up others
            log.error("fallback.uncompiled", broadcast=broadcast, error=type(error).__name__)  # noqa: TRY400
            return None

    async def _lane(self, sender: str) -> tuple[str, float]:
        """Return the sender with its rate; one that isn't there any more is told of by Twilio's refusal."""
        asked = ((sender,), None, frozenset((Channel.SMS,)))
        try:
            chosen = self._senders.known(*asked) or await self._senders.choose(*asked)
        except NoSenderError:
            return sender, default_rate(parse_sender(sender).kind)
        return chosen.named[0]

    async def _of_broadcast(self, plan: Plan, failed: Sequence[Failed]) -> None:
        store = self._store
        loss = int(await store.redis.hget(store.keys.plain("rewound"), "at") or 0)
        unreached = await self._unreached(plan, failed)
        if loss:
            unreached = [await self._since_the_first(one, plan.broadcast) for one in unreached]
        for doubtful in (False, True):
            some = [one for one in unreached if (one.began <= loss) is doubtful]
            for start in range(0, len(some), MAX_BATCH):
                await self._append(plan, some[start : start + MAX_BATCH], doubtful=doubtful)

    async def _since_the_first(self, one: Unreached, broadcast: str) -> Unreached:
        """Let it have begun when its first attempt left: an SMS may have gone from then on.

        A history is cut where it is very long: then it is when the broadcast was made.
        """
        if one.attempt == 1:
            return one
        redis, keys = self._store.redis, self._store.keys
        raws = await redis.lrange(keys.history(broadcast, one.batch, one.row), 0, -1)
        lines = [line for line in (msgpack.unpackb(raw, raw=True) for raw in raws) if line[7] != _LATE]
        began = [one.began, *(int(line[3]) for line in lines)]
        if all(line[0] != 1 for line in lines):
            began.append(int(await redis.hget(keys.broadcast(broadcast), "created") or 0))
        return one._replace(began=min(began))

    async def _unreached(self, plan: Plan, failed: Sequence[Failed]) -> list[Unreached]:
        """Read who the SMS go to, and what they say; what has another attempt or code by now is left out."""
        keys, broadcast = self._store.keys, plan.broadcast
        names = sorted({one.batch for one in failed})
        raws = await self._store.redis.mget(
            [key(broadcast, name) for name in names for key in (keys.batch, keys.ledger)]
        )
        read = {
            name: (unpack_batch(raw), ledger)
            for name, raw, ledger in zip(names, raws[::2], raws[1::2], strict=True)
            if raw and ledger
        }
        found: dict[tuple[str, int], Unreached] = {}
        for one in failed:
            if one.batch not in read:
                continue
            recipients, ledger = read[one.batch]
            record = Record.unpack(ledger, one.row * RECORD_BYTES)
            to = recipients.to[one.row]
            if (record.attempt, record.code) != (one.attempt, one.code) or not to.startswith(_WHATSAPP):
                continue
            values = _values(recipients, one.row, plan.columns[:-1])
            try:
                rendered = plan.renderer.render(dict(zip(plan.columns, values, strict=False)))
            except RenderError as error:
                name = f"{broadcast}.{one.batch}.{one.row}"
                log.error("fallback.unrendered", message=name, reason=error.reason)  # noqa: TRY400 - no rows
                continue
            found[one.batch, one.row] = Unreached(
                one.batch,
                one.row,
                one.attempt,
                one.code,
                record.began,
                to.removeprefix(_WHATSAPP),
                recipients.references[one.row] if recipients.references else None,
                (*values, f"{broadcast}.{one.batch}.{one.row}"),
                min(plan.renderer.cost(rendered), _MOST_SEGMENTS),
            )
        return list(found.values())

    async def _append(self, plan: Plan, some: list[Unreached], *, doubtful: bool) -> None:
        store, verdict = self._store, ""
        if not self._opt_outs.epoch:
            await self._opt_outs.refresh(store)
        verified = await self._verified() if self._verified else None
        for _ in range(TRIES):
            if not some:
                return
            codes = self._codes(plan, some, verified)
            batch = sms_batch(plan, some, codes, doubtful=doubtful)
            told = await store.run(plan.append(some, batch, self._opt_outs.epoch, doubtful=doubtful))
            verdict = told.verdict
            if verdict == "unfit":
                some = [one for place, one in enumerate(some) if place not in told.unfit]
            elif verdict not in _AGAIN:
                self.appended += len(some) if verdict == "ok" else 0
                self._count(verdict, codes, doubtful=doubtful)
                log.info("fallbacks", broadcast=plan.broadcast, verdict=verdict, messages=len(some))
                return
            elif verdict == "optouts":
                await self._opt_outs.refresh(store)
            elif verdict == "server":
                await store.guard.look()
        if some:
            raise StoreError(f"SMS in place of WhatsApp messages could not be queued: {verdict}")

    def _count(self, verdict: str, codes: Sequence[int], *, doubtful: bool) -> None:
        if self._metrics is None:
            return
        going = codes.count(0)
        if verdict == "ok":
            self._metrics.fell_back("in_doubt" if doubtful else "queued", going)
            self._metrics.fell_back("skipped", len(codes) - going)
        else:
            self._metrics.fell_back("forbidden", len(codes))

    def _codes(self, plan: Plan, some: Sequence[Unreached], verified: Collection[str] | None) -> list[int]:
        """Return why each is skipped, 0 where it is sent."""
        scopes = self._opt_outs.scopes(plan.lane[0], None, plan.spec.purpose)
        before = self._opt_outs.scopes_before(plan.spec.instead_of, plan.spec.purpose)
        blocks = self._opt_outs.blocks
        people = [one.to for one in some]
        strangers = frozenset(() if verified is None else unverified(people, verified))
        return [
            Reason.OPTED_OUT
            if blocks(to, scopes) or blocks(_WHATSAPP + to, before)
            else Reason.UNVERIFIED
            if place in strangers
            else 0
            for place, to in enumerate(people)
        ]


def _values(recipients: Recipients, row: int, columns: Sequence[str]) -> tuple[str, ...]:
    variables = recipients.variables(row) if recipients.columns else {}
    return tuple(variables.get(name, "") for name in columns)
