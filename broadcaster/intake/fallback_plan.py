"""What an SMS in place of a WhatsApp message is: its broadcast's terms, its text, its line in the ledger."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from broadcaster.domain.broadcast import BroadcastSpec, OutsideWindow, Scheduler
from broadcaster.domain.content import compile_content
from broadcaster.domain.fallback import FALLBACK_OF, sms_content
from broadcaster.domain.openings import openings_text
from broadcaster.domain.record import RECORD_BYTES, Reason, Record, State
from broadcaster.intake.load import CLASS_OF, new_broadcast_id
from broadcaster.intake.single_rows import Row, stream_batch
from broadcaster.store.scripts import Call, packed, unpacked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.domain.content import Renderer
    from broadcaster.intake.streams import StreamBatch


class Unreached(NamedTuple):
    """A WhatsApp message that failed: where it is, what it was, who the SMS goes to, its text's values.

    `began` is the unix second at which its attempt left.
    """

    batch: str
    row: int
    attempt: int
    code: int
    began: int
    to: str
    reference: str | None
    values: tuple[str, ...]
    segments: int


class Appended(NamedTuple):
    """What one call did (`fall_back.lua`): 'ok' and the SMS's stream and batch, or what forbids it."""

    verdict: str
    stream: str
    batch: str
    unfit: list[int]


class Plan(NamedTuple):
    """A broadcast's SMS: `spec` is theirs, `lane` their sender with its rate, `columns` their batches'."""

    broadcast: str
    spec: BroadcastSpec
    lane: tuple[str, float]
    renderer: Renderer
    columns: tuple[str, ...]

    @classmethod
    def of(cls, broadcast: str, spec: BroadcastSpec, lane: tuple[str, float]) -> Plan:
        """Return what a broadcast's SMS, which have `spec`, come to."""
        renderer = compile_content(spec.content)
        names = {*renderer.variables, *([spec.consent_column] if spec.consent_column else [])}
        return cls(broadcast, spec, lane, renderer, (*sorted(names), FALLBACK_OF))

    def append(
        self, some: Sequence[Unreached], batch: StreamBatch, opt_outs: str, *, doubtful: bool
    ) -> Call[Appended]:
        """Put an SMS in the place of each, all or none."""
        spec = self.spec
        named = f"fallback:{self.broadcast}:{self.lane[0]}:{int(doubtful)}"
        facts = (
            msgspec.msgpack.encode(spec),
            CLASS_OF[spec.priority],
            spec.name,
            "" if spec.expires_at is None else repr(spec.expires_at),
            "" if spec.rate is None else repr(spec.rate),
            [(self.lane[0], repr(self.lane[1]))],
            "",
            "" if spec.send_window is None else openings_text(spec.send_window, time.time()),
            self.broadcast,
            "",
        )
        arguments = (
            self.broadcast,
            hashlib.sha256(named.encode()).hexdigest()[:24],
            new_broadcast_id(),
            packed(facts),
            opt_outs,
            int(doubtful),
            packed([(one.batch, one.row, one.attempt, one.code) for one in some]),
            packed(batch),
        )
        return Call("fall_back", arguments, _appended, lasting=True)


def _appended(reply: bytes) -> Appended:
    verdict, stream, batch, unfit = unpacked(reply)
    return Appended(_str(verdict), _str(stream), _str(batch), [int(place) for place in unfit])


def _str(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode()


def sms_spec(spec: BroadcastSpec) -> BroadcastSpec | None:
    """Return what all SMS of a broadcast have in common; None where none follows."""
    content = sms_content(spec.content)
    if content is None or spec.content.sms is None:
        return None
    return msgspec.structs.replace(
        spec,
        name=f"{spec.name}: SMS",
        senders=(spec.content.sms.sender,),
        content=content,
        messaging_service_sid=None,
        schedule_at=None,
        outside_window=OutsideWindow.REFUSE,
        scheduler=Scheduler.BROADCASTER,
        instead_of=(*spec.senders, *([spec.messaging_service_sid] if spec.messaging_service_sid else [])),
    )


def sms_batch(plan: Plan, some: Sequence[Unreached], codes: list[int], *, doubtful: bool) -> StreamBatch:
    """Pack an SMS for each; `codes` say why one is skipped, 0 where it isn't."""
    now_s = int(time.time())
    rows = [Row(0, one.to, one.reference, one.values, one.segments, 0) for one in some]
    batch = stream_batch(0, plan.columns, rows, codes, now_s)
    if not doubtful:
        return batch
    records = [batch.records[at : at + RECORD_BYTES] for at in range(0, len(batch.records), RECORD_BYTES)]
    for place, (one, code) in enumerate(zip(some, codes, strict=True)):
        if not code:
            records[place] = Record(
                State.IN_DOUBT,
                one.segments,
                attempt=1,
                code=Reason.REWOUND,
                began=one.began,
                changed=now_s,
            ).pack()
    sent = codes.count(0)
    counts = {str(int(State.IN_DOUBT)): sent, str(int(State.SKIPPED)): len(codes) - sent}
    return batch._replace(records=b"".join(records), counts=counts)
