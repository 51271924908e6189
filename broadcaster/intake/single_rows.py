"""Single messages as rows of a batch: packed into it, and read back out of it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from broadcaster.domain.record import RECORD_BYTES, Record, State
from broadcaster.intake.streams import StreamBatch
from broadcaster.store.batches import Recipients, first_records, pack_batch, unpack_batch
from broadcaster.store.errors import StoreError
from broadcaster.store.who import marks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.intake.streams import Appended
    from broadcaster.store.connection import Store

_QUEUED: Final = str(int(State.QUEUED))
_SKIPPED: Final = str(int(State.SKIPPED))


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


def stream_batch(
    lane: int, columns: tuple[str, ...], rows: list[Row], codes: list[int], now_s: int
) -> StreamBatch:
    """Pack rows of one lane; `codes` say why a row is skipped, 0 where it is queued."""
    to = [row.to for row in rows]
    references = [row.reference for row in rows]
    values = [list(column) for column in zip(*[row.values for row in rows], strict=True)] if columns else []
    packed = pack_batch(Recipients(to, references if any(references) else None, columns, values))
    queued = codes.count(0)
    if queued == len(codes):
        states, counted, reasons = bytes(queued), {_QUEUED: queued}, {}
    else:
        states = bytes([State.SKIPPED if code else State.QUEUED for code in codes])
        counted = {_QUEUED: queued, _SKIPPED: len(codes) - queued}
        reasons = {f"{_SKIPPED}:{int(code)}": n for code, n in Counter(codes).items() if code}
    records = first_records(states, codes, bytes([row.segments for row in rows]), now_s)
    return StreamBatch(lane, packed, records, marks(to), counted, reasons)


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
