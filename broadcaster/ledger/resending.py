"""Failed deliveries that go again by themselves, once their time has come: the rules are domain/resending.py.

Each is a compare-and-set on (attempt, code), so it may be tried twice and by several.
"""

from __future__ import annotations

import random
from functools import lru_cache
from typing import TYPE_CHECKING, Final, Protocol

import structlog

from broadcaster.domain.record import BY_TEMPLATE, RECORD_BYTES, Record
from broadcaster.domain.resending import QUIET, most_times, quiet_until, wait_seconds
from broadcaster.domain.send_window import SendWindow
from broadcaster.domain.whatsapp_window import OUTSIDE
from broadcaster.ledger.specs import read_spec
from broadcaster.ledger.zones import zones_of
from broadcaster.store.batches import unpack_batch
from broadcaster.store.scripts import Call, packed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broadcaster.domain.resending import Resending
    from broadcaster.store.connection import Store

#: When people may be written to who said nothing else: 08:00 to 21:00 where they are (47 CFR 64.1200(c)(1)).
DAY_BEGINS, DAY_ENDS = 8 * 60, 21 * 60
_AT_ONCE: Final = 100
log = structlog.get_logger("resending")


class Failed(Protocol):
    """A delivery that failed: which message (`batch` is `LANE.BATCH`), which attempt, why."""

    @property
    def broadcast(self) -> str:
        """Whose message."""
        ...

    @property
    def batch(self) -> str:
        """Its batch."""
        ...

    @property
    def row(self) -> int:
        """Its place in the batch."""
        ...

    @property
    def attempt(self) -> int:
        """The attempt that failed."""
        ...

    @property
    def code(self) -> int:
        """Twilio's code."""
        ...


class Resender:
    """Lets failed deliveries wait for another try, where the settings, or quiet hours, say so.

    Free text outside WhatsApp's 24 hours (63016) surely did not arrive: where the broadcast has a template
    for that, it goes again at once. Whoever remembered the closed window first makes it that template.
    """

    def __init__(self, store: Store, how: Resending) -> None:
        self._store = store
        self._how = how
        self.waiting = 0

    async def __call__(self, failed: Sequence[Failed]) -> None:
        """Take failed deliveries; those that may not go again are left as they are.

        Raises `StoreError` and redis' errors; then it is to be called again.
        """
        chosen = [one for one in failed if self._how.goes_again(one.code) or one.code == OUTSIDE]
        for start in range(0, len(chosen), _AT_ONCE):
            await self._some(chosen[start : start + _AT_ONCE])

    async def _some(self, failed: Sequence[Failed]) -> None:
        keys = self._store.keys
        async with self._store.redis.pipeline(transaction=False) as pipe:
            for one in failed:
                at = one.row * RECORD_BYTES
                pipe.getrange(keys.ledger(one.broadcast, one.batch), at, at + RECORD_BYTES - 1)
            raws = await pipe.execute()
        read = zip(failed, raws, strict=True)
        there = [(one, Record.unpack(raw)) for one, raw in read if len(raw) == RECORD_BYTES]
        quiet = await self._windows([one for one, _ in there if one.code in QUIET])
        outside = await self._with_template({one.broadcast for one, _ in there if one.code == OUTSIDE})
        groups: dict[tuple[str, str], list[tuple[int, int, int, int, int]]] = {}
        for one, record in there:
            if one.code == OUTSIDE and (one.broadcast not in outside or record.flags & BY_TEMPLATE):
                continue
            at_seconds = self._at(record, quiet.get((one.broadcast, one.batch, one.row)), one.code)
            if at_seconds is not None:
                most = most_times(one.code, self._how.max_attempts)
                groups.setdefault((one.broadcast, one.batch), []).append(
                    (one.row, one.attempt, one.code, at_seconds, most)
                )
        if groups:
            listed = [(*at, letters) for at, letters in groups.items()]
            call = Call("resend", (self._how.max_attempts, packed(listed)), int, lasting=True)
            waiting = await self._store.run(call)
            self.waiting += waiting
            if waiting:
                log.info("deliveries.wait", count=waiting, codes=sorted({one.code for one, _ in there}))

    def _at(self, record: Record, windows: Sequence[SendWindow] | None, code: int) -> int | None:
        """Return the second from which a failure may go again; None if never."""
        if code == OUTSIDE:
            return record.changed
        draw = random.random()  # noqa: S311 - spreads a crowd, no secret
        if code not in QUIET:
            return int(record.changed + wait_seconds(code, record.spent, draw))
        at = quiet_until(windows, record.changed, draw) if windows else None
        return None if at is None else int(at)

    async def _with_template(self, broadcasts: Iterable[str]) -> set[str]:
        """Return those in which a template goes where free text may not."""
        found = set()
        for broadcast in broadcasts:
            spec = await self._store.redis.hget(self._store.keys.broadcast(broadcast), "spec")
            read = read_spec(broadcast, spec)
            if read is not None and read.content.fallback:
                found.add(broadcast)
        return found

    async def _windows(self, failed: Iterable[Failed]) -> dict[tuple[str, str, int], Sequence[SendWindow]]:
        """Return when each may be written to: in its broadcast's own hours, else by day where it is."""
        found: dict[tuple[str, str, int], Sequence[SendWindow]] = {}
        by_batch: dict[tuple[str, str], list[int]] = {}
        for one in failed:
            by_batch.setdefault((one.broadcast, one.batch), []).append(one.row)
        for (broadcast, batch), rows in by_batch.items():
            keys = self._store.keys
            spec = read_spec(broadcast, await self._store.redis.hget(keys.broadcast(broadcast), "spec"))
            packed_batch = await self._store.redis.get(keys.batch(broadcast, batch))
            if spec is None or packed_batch is None:
                continue
            window = spec.send_window
            to = unpack_batch(packed_batch).to
            for row in rows:
                found[broadcast, batch, row] = by_day(to[row]) if window is None else (window,)
        return found


def by_day(address: str) -> tuple[SendWindow, ...]:
    """Return the day's hours in every zone in which a number may be."""
    return _by_day(zones_of(address))


@lru_cache(maxsize=300)
def _by_day(zones: tuple[str, ...]) -> tuple[SendWindow, ...]:
    return tuple(SendWindow(DAY_BEGINS, DAY_ENDS, zone) for zone in zones)
