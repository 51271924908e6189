"""Render what will be sent, to know that it can be and what it costs; the text itself is not kept."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from broadcaster.domain.addresses import Channel, channel_of
from broadcaster.domain.content import Rendered, RenderError
from broadcaster.domain.segments import measure
from broadcaster.intake.summary import SHOWN_MESSAGES, Culprit, ShownMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from broadcaster.domain.content import Renderer
    from broadcaster.domain.segments import Measure
    from broadcaster.intake.addressing import Problems
    from broadcaster.intake.summary import Summary
    from broadcaster.intake.table import Chunk

#: Why a place can't go to a number without `whatsapp:`.
NO_PLACE: Final = "only WhatsApp shows places, and this is no whatsapp: number"
#: Outside these a text may need UCS-2; inside it never does.
_UNUSUAL: Final = re.compile(r"[^ -_a-~\n\r]")
#: A record keeps segments in a byte; a body of 1,600 characters has at most 24.
_MAX_SEGMENTS: Final = 255


class RowRenderer:
    """Renders rows and counts segments and encodings into a `Summary`."""

    def __init__(self, renderer: Renderer, summary: Summary, lanes: Sequence[str]) -> None:
        self._renderer = renderer
        self._summary = summary
        self._lanes = lanes
        self._variables = tuple(sorted(renderer.variables))
        self._render: Callable[[Sequence[str]], Rendered] = renderer.over_rows(self._variables)
        self._render_all = renderer.over_columns(self._variables)
        #: What may go to somebody on WhatsApp instead: it must be possible for everybody.
        self._instead = [
            (other, other.over_rows(self._variables)) for other in (renderer.fallback, renderer.sms) if other
        ]

    def check_columns(self, columns: Sequence[str]) -> None:
        """Raise ContentError if the content uses a variable that is none of `columns`."""
        self._renderer.check_columns(columns)

    def render(
        self, chunk: Chunk, indexes: Sequence[int], addresses: Sequence[str], lanes: Sequence[int]
    ) -> tuple[dict[int, int], Problems]:
        """Render the rows `indexes` of `chunk`: their segments by index, and what is wrong with others.

        Segments are in the order of `indexes`, which are ascending.
        """
        problems: Problems = {}
        if self._renderer.whatsapp_only:
            problems = {index: ("", NO_PLACE) for index in indexes if addresses[index][0] != "w"}
            indexes = [index for index in indexes if index not in problems]
        if not self._variables:
            return self._render_constant(chunk, indexes, addresses, lanes, problems), problems
        at_once = self._rendered_at_once(chunk, indexes, addresses, lanes)
        if at_once is not None:
            return at_once, problems
        rows = list(zip(*self._columns(chunk), strict=True))
        render, cost, summary = self._render, self._renderer.cost, self._summary
        segments: dict[int, int] = {}
        gsm7 = 0
        for index in indexes:
            address = addresses[index]
            channel = Channel.WHATSAPP if address[0] == "w" else Channel.SMS
            try:
                rendered = render(rows[index])
                if self._instead or rendered.content_variables is not None:
                    self._check(rendered, channel, rows[index])
            except RenderError as error:
                problems[index] = (error.variable or "", error.reason)
                continue
            segments[index] = cost(rendered, channel)
            body = rendered.body
            if body is not None and channel is Channel.SMS:
                if _UNUSUAL.search(body) is None:
                    gsm7 += 1
                else:
                    self._count_encoding(body, chunk.lines[index], 1)
            if len(summary.first) < SHOWN_MESSAGES:
                self._show(address, lanes[index], rendered, segments[index])
        summary.gsm7 += gsm7
        return segments, problems

    def _check(self, rendered: Rendered, channel: Channel, row: Sequence[str]) -> None:
        """Raise RenderError where this, or what may go instead of it on WhatsApp, can't be sent."""
        self._renderer.check_values(rendered, channel)
        if channel is Channel.WHATSAPP:
            for other, render in self._instead:
                other.check_values(render(row), channel)

    def _columns(self, chunk: Chunk) -> list[Sequence[str]]:
        """Return the variables' columns; rows of a JSON list may lack some, which is like an empty one."""
        there = dict(zip(chunk.columns, chunk.values, strict=True))
        return [there.get(name) or [""] * len(chunk) for name in self._variables]

    def _rendered_at_once(
        self, chunk: Chunk, indexes: Sequence[int], addresses: Sequence[str], lanes: Sequence[int]
    ) -> dict[int, int] | None:
        """Do for all rows together what is done for each; None where one of them is not as most are."""
        if self._render_all is None or not indexes:
            return None
        whatsapp = _whatsapp_among(addresses, indexes)
        if whatsapp not in (0, len(indexes)):
            return None
        columns = self._columns(chunk)
        if len(indexes) < len(chunk):
            columns = [[column[index] for index in indexes] for column in columns]
        texts = self._render_all(columns)
        if texts is None:
            return None
        if whatsapp:
            costs = [1] * len(texts)
        else:
            costs, others = self._renderer.costs(texts)
            self._summary.gsm7 += len(texts) - len(others)
            self._summary.ucs2 += len(others)
            for place in others[:1]:
                self._note_culprit(measure(texts[place]), chunk.lines[indexes[place]])
        for place in range(min(len(texts), SHOWN_MESSAGES - len(self._summary.first))):
            index = indexes[place]
            self._show(addresses[index], lanes[index], Rendered(texts[place], None), costs[place])
        return dict(zip(indexes, costs, strict=True))

    def _render_constant(
        self,
        chunk: Chunk,
        indexes: Sequence[int],
        addresses: Sequence[str],
        lanes: Sequence[int],
        problems: Problems,
    ) -> dict[int, int]:
        rendered = self._render(())
        chosen = list(indexes)
        for channel in Channel:
            try:
                self._check(rendered, channel, ())
            except RenderError as error:
                unfit = [index for index in chosen if channel_of(addresses[index]) is channel]
                problems.update((index, ("", error.reason)) for index in unfit)
                chosen = [index for index in chosen if index not in problems]
        if not chosen:
            return {}
        costs = {channel: self._renderer.cost(rendered, channel) for channel in Channel}
        segments = dict.fromkeys(chosen, costs[Channel.SMS])
        whatsapp = _whatsapp_among(addresses, chosen)
        if whatsapp:
            others = [index for index in chosen if addresses[index][0] == "w"]
            segments.update(dict.fromkeys(others, costs[Channel.WHATSAPP]))
        count = len(chosen) - whatsapp
        if rendered.body is not None and count:
            self._count_encoding(rendered.body, chunk.lines[chosen[0]], count)
        for index in chosen[: SHOWN_MESSAGES - len(self._summary.first)]:
            self._show(addresses[index], lanes[index], rendered, costs[channel_of(addresses[index])])
        return segments

    def _count_encoding(self, body: str, line: int, count: int) -> None:
        measured = measure(body)
        if measured.encoding == "GSM-7":
            self._summary.gsm7 += count
            return
        self._summary.ucs2 += count
        self._note_culprit(measured, line)

    def _note_culprit(self, measured: Measure, line: int) -> None:
        if measured.culprit is not None and self._summary.culprit is None:
            self._summary.culprit = Culprit(measured.culprit, line)

    def _show(self, to: str, lane: int, rendered: Rendered, segments: int) -> None:
        self._summary.first.append(
            ShownMessage(to, self._lanes[lane], rendered, min(segments, _MAX_SEGMENTS))
        )


def _whatsapp_among(addresses: Sequence[str], indexes: Sequence[int]) -> int:
    """Count the rows of people on WhatsApp, of good addresses."""
    if len(indexes) < len(addresses):
        addresses = [addresses[index] for index in indexes]
    return "".join(addresses).count("w")
