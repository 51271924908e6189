"""The way of a list: rows → addresses → lanes → duplicates → opt-outs → rendered → batches.

Everything works on a chunk's columns at once; rows are looked at one by one only where they differ
from the usual. A list is read once, so that standard input works: batches come out while it is
being read, and only its end tells whether it is taken. Whoever stores them drops them on an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broadcaster.domain.purpose import Purpose
from broadcaster.domain.record import State
from broadcaster.intake.addressing import (
    LanePicker,
    OptOuts,
    Problems,
    Seen,
    Windows,
    by_lane,
    parse_column,
    uniform_channel,
    without_consent,
)
from broadcaster.intake.barred import DUPLICATE, OPTED_OUT, UNVERIFIED, Barred
from broadcaster.intake.batches import BatchRows, LaneRows
from broadcaster.intake.faults import ColumnError, EmptyListError, Fault, FaultList, shown_value
from broadcaster.intake.fitting import Fit
from broadcaster.intake.rendering import RowRenderer
from broadcaster.intake.summary import LaneTotals, Summary
from broadcaster.intake.table import BadRow, listed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from broadcaster.domain.content import Renderer
    from broadcaster.intake.faults import Rejects
    from broadcaster.intake.table import Chunk, ListReader

_QUEUED: Final = int(State.QUEUED)
_SKIPPED: Final = int(State.SKIPPED)


class Preparation:
    """One list on its way into batches; iterate over it once, then read `summary`.

    `senders` are (lane name, segments a second). `region` is where numbers without a country code
    are from. Rows with faults go to `rejects` if given; otherwise the first fault stops the batches,
    the rest of the list is only checked, and its end raises `ListRefusedError`. Also raised:
    `EmptyListError`, `UnreadableListError`, and `ContentError` for a variable that no column has.
    Duplicates and opted-out recipients get rows in state skipped. Batches hold the columns that the
    content uses, or with `keep_unused_columns` all but the recipient and the reference. `seen` are the
    addresses that count as duplicates from the beginning; the list's are added. Opt-outs are looked for by
    `service`, which the broadcast names beside its senders, and `purpose`. With a `consent_column` batches
    hold that, too, and a row with nothing in it has a fault; with `windows` so has one whose window is
    closed, or it is counted. Of a trial account only `verified` numbers are written to, None for any; others
    get rows in state skipped.
    """

    def __init__(
        self,
        reader: ListReader,
        *,
        renderer: Renderer,
        senders: Sequence[tuple[str, float]],
        region: str | None = None,
        opt_outs: OptOuts | None = None,
        service: str | None = None,
        purpose: str = Purpose.UTILITY,
        rejects: Rejects | None = None,
        faults: FaultList | None = None,
        keep_unused_columns: bool = False,
        seen: Seen | None = None,
        consent_column: str | None = None,
        windows: Windows | None = None,
        verified: Collection[str] | None = None,
    ) -> None:
        self.summary = Summary(lanes={name: LaneTotals() for name, _ in senders})
        self.faults = faults if faults is not None else FaultList()
        self._reader = reader
        self._region = region
        self._windows = windows
        self._rejects = rejects
        self._picker = LanePicker(senders)
        self._names = [name for name, _ in senders]
        fit = Fit()  # lanes of one rate learn from each other
        self._lanes = [LaneRows(name, rate, fit) for name, rate in senders]
        self._seen = Seen() if seen is None else seen
        self._barred = Barred(
            self._names,
            self._seen,
            opt_outs=opt_outs,
            about=(service, purpose),
            windows=windows,
            verified=verified,
        )
        self._renderer = RowRenderer(renderer, self.summary, self._names)
        self._keep_unused = keep_unused_columns
        self._variables = tuple(sorted(renderer.variables))
        self._kept = self._variables
        self._consent = consent_column
        if consent_column is not None and consent_column not in self._variables:
            self._kept += (consent_column,)

    def __iter__(self) -> Iterator[BatchRows]:
        """Yield the batches, a lane's in the list's order."""
        try:
            for chunk in self._reader:
                for batch in self._take(chunk):
                    self.summary.batches += 1
                    yield batch
            self._check_end()
            for lane in self._lanes:
                rest = lane.rest()
                if rest is not None:
                    self.summary.batches += 1
                    yield rest
        finally:
            self.faults.close()

    def _check_end(self) -> None:
        summary, name = self.summary, self._reader.name
        summary.encoding, summary.notes = self._reader.encoding, self._reader.notes
        if not summary.rows:
            raise EmptyListError(f"{name} has no recipients: there is nobody to send to.")
        if self.faults.total and (self._rejects is None or not summary.records):
            raise self.faults.refusal(name, summary.rows)

    def _take(self, chunk: Chunk) -> list[BatchRows]:
        """Carry one chunk through all steps; return the batches that are full."""
        if not self.summary.rows and len(chunk):
            self._renderer.check_columns(chunk.columns)
            if self._consent is not None and self._consent not in chunk.columns:
                raise ColumnError(
                    f"{self._reader.name} has no column {self._consent!r}. {listed(chunk.columns)}"
                )
        self.summary.rows += len(chunk) + len(chunk.bad)
        texts = chunk.values[chunk.to]
        to_column = chunk.columns[chunk.to]
        channel = uniform_channel(texts)
        addresses, problems = (texts, {}) if channel else parse_column(texts, to_column, self._region)
        lanes, unfit = self._picker.lanes(addresses, channel)
        problems.update({index: (to_column, reason) for index, reason in unfit.items()})
        if self._consent is not None:
            problems.update(without_consent(chunk, self._consent, problems))
        opted_out = list(self._barred.opted_out(addresses, lanes))
        closed = self._barred.closed(addresses, lanes, channel, {*problems, *opted_out})
        if self._windows is not None and self._windows.refuses:
            problems.update({index: (to_column, why) for index, why in closed.items()})
        codes = self._barred.codes(addresses, opted_out, channel, problems)
        segments = self._render(chunk, addresses, lanes, problems, codes)
        self.summary.by_fallback += sum(not codes[i] and i not in problems for i in closed)
        if problems or chunk.bad:
            self._report(chunk, problems)
        kept: Sequence[int] = range(len(chunk))
        if problems:
            kept = [index for index in kept if index not in problems]
        groups = by_lane(lanes, kept)
        self._count(groups, addresses, codes, segments)
        if self.faults.total and self._rejects is None:
            return []
        rows = self._rows(chunk, addresses, codes, segments)
        full: list[BatchRows] = []
        for lane, indexes in groups.items():
            full += self._lanes[lane].add(rows.only(indexes, self._names[lane]))
        return full

    def _render(
        self,
        chunk: Chunk,
        addresses: Sequence[str],
        lanes: Sequence[int],
        problems: Problems,
        codes: list[int],
    ) -> list[int]:
        """Render what will be sent; return every row's segments, 1 where nothing is sent.

        A row that cannot be rendered is no first of its duplicates: the next of them takes its place.
        """
        segments = [1] * len(chunk)
        waiting: Sequence[int] = range(len(chunk))
        if problems or any(codes):
            waiting = [index for index, code in enumerate(codes) if not code and index not in problems]
        while waiting:
            costs, failed = self._renderer.render(chunk, waiting, addresses, lanes)
            if len(costs) == len(segments):  # nobody is left out, as it is with most lists
                return list(costs.values())
            for index, cost in costs.items():
                segments[index] = cost
            problems.update(failed)
            lost = {addresses[index] for index in failed}
            for address in lost:
                self._seen.forget(address)
            again = []
            for index, code in enumerate(codes) if lost else ():
                if code == DUPLICATE and addresses[index] in lost and self._seen.take(addresses[index]):
                    codes[index] = 0
                    again.append(index)
            waiting = again
        return segments

    def _report(self, chunk: Chunk, problems: Problems) -> None:
        """Note every fault of the chunk, in the list's order."""
        found: list[BadRow] = list(chunk.bad)
        for index, (column, reason) in problems.items():
            row = chunk.row(index)
            value = row[chunk.columns.index(column)] if column in chunk.columns else ""
            found.append(BadRow(chunk.lines[index], column, value, reason, row))
        for bad in sorted(found, key=lambda bad: bad.line):
            self.faults.add(Fault(bad.line, bad.column, shown_value(bad.value), bad.reason))
            if self._rejects is not None:
                self._rejects.add(bad.line, bad.reason, chunk.columns, bad.values)
        self.summary.rejected += len(found)

    def _count(
        self,
        groups: dict[int, Sequence[int]],
        addresses: Sequence[str],
        codes: Sequence[int],
        segments: Sequence[int],
    ) -> None:
        """Add the rows that are kept, grouped by lane, to the counters."""
        summary, skipped = self.summary, any(codes)
        for lane, kept in groups.items():
            indexes = kept
            if skipped:
                summary.duplicates += sum(codes[index] == DUPLICATE for index in kept)
                summary.opted_out += sum(codes[index] == OPTED_OUT for index in kept)
                summary.note_unverified(addresses[index] for index in kept if codes[index] == UNVERIFIED)
                indexes = [index for index in kept if not codes[index]]
            all_of_it = len(indexes) == len(segments)
            cost = sum(segments) if all_of_it else sum([segments[index] for index in indexes])
            totals = summary.lanes[self._names[lane]]
            totals.recipients += len(indexes)
            totals.segments += cost
            summary.recipients += len(indexes)
            summary.segments += cost

    def _rows(self, chunk: Chunk, addresses: list[str], codes: list[int], segments: list[int]) -> BatchRows:
        """Return the whole chunk as rows of no lane yet."""
        columns, values = self._kept_columns(chunk)
        references: list[str | None] | None = None
        if chunk.reference is not None:
            references = [text or None for text in chunk.values[chunk.reference]]
        skipped = any(codes)
        return BatchRows(
            lane="",
            to=addresses,
            references=references,
            columns=columns,
            values=values,
            states=bytes(_SKIPPED if code else _QUEUED for code in codes) if skipped else bytes(len(codes)),
            codes=codes,
            segments=bytes(segments),
        )

    def _kept_columns(self, chunk: Chunk) -> tuple[tuple[str, ...], list[list[str]]]:
        """Return the columns that batches hold, and their values."""
        if self._keep_unused:
            indexes = [i for i in range(len(chunk.columns)) if i not in (chunk.to, chunk.reference)]
            if chunk.columns[chunk.to] in self._variables:
                indexes.insert(0, chunk.to)
            return tuple(chunk.columns[i] for i in indexes), [chunk.values[i] for i in indexes]
        there = dict(zip(chunk.columns, chunk.values, strict=True))
        return self._kept, [there.get(name) or [""] * len(chunk) for name in self._kept]
