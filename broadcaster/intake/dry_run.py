"""What a list would come to: the same pipeline, nothing stored, no Redis and no credentials."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from broadcaster.domain.addresses import Channel, channel_of
from broadcaster.domain.whatsapp_text import as_html
from broadcaster.intake.faults import Fault, FaultList, ListRefusedError
from broadcaster.intake.prepare import Preparation

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from broadcaster.domain.content import Renderer
    from broadcaster.intake.addressing import OptOuts, Windows
    from broadcaster.intake.summary import ShownMessage
    from broadcaster.intake.table import ListReader


class LaneForecast(msgspec.Struct, frozen=True):
    """One sender's share: `rate` in segments a second, `seconds` until its last message has left.

    `origin` says where the rate comes from, if whoever asked knows.
    """

    sender: str
    rate: float
    recipients: int
    segments: int
    seconds: float
    origin: str = ""


class FirstMessage(msgspec.Struct, frozen=True):
    """A message as it would be sent; `content_variables` is a JSON object in a string.

    `content_sid` is the recipient's own template, None where all have the same. `preview_html` is the body as
    its recipient sees it: escaped, line ends kept, what WhatsApp draws as <b>, <i>, <s> and <code>.
    """

    to: str
    sender: str
    body: str | None
    content_variables: str | None
    segments: int
    content_sid: str | None = None
    preview_html: str | None = None


class Ucs2Cause(msgspec.Struct, frozen=True):
    """The first character that is not in GSM-7, its Unicode code point as U+XXXX, and its row's line."""

    character: str
    code_point: str
    line: int


class DryRun(msgspec.Struct, frozen=True, kw_only=True):
    """The report. `rows` is recipients + duplicates + opted_out + unverified + rejected.

    `refused`: rows are faulty and would stop the list, since no rejects file is given. `faults` are the
    first hundred of `rejected`; `position` says what their lines count, "line" or "item". `gsm7` and
    `ucs2` count text messages by encoding. `seconds` is the slowest sender's. `warnings` stop nothing.
    `encoding` is what the list was read as, None where it came as values.
    A trial account would skip the `unverified`, of whom `first_unverified` are the first.
    `by_fallback` of the recipients would get the fallback template: their 24 hours with the sender are over.
    """

    list_name: str
    position: str
    rows: int
    recipients: int
    duplicates: int
    opted_out: int
    rejected: int
    refused: bool
    faults: tuple[Fault, ...]
    segments: int
    gsm7: int
    ucs2: int
    ucs2_cause: Ucs2Cause | None
    senders: tuple[LaneForecast, ...]
    seconds: float
    messages: tuple[FirstMessage, ...]
    warnings: tuple[str, ...] = ()
    encoding: str | None = None
    by_fallback: int = 0
    unverified: int = 0
    first_unverified: tuple[str, ...] = ()


def dry_run(
    reader: ListReader,
    *,
    renderer: Renderer,
    senders: Sequence[tuple[str, float]],
    region: str | None = None,
    opt_outs: OptOuts | None = None,
    faults: FaultList | None = None,
    with_rejects: bool = False,
    consent_column: str | None = None,
    windows: Windows | None = None,
    verified: Collection[str] | None = None,
) -> DryRun:
    """Read the whole list and report; `with_rejects` as if a rejects file were given (none is written).

    Raises what `Preparation` raises, but for `ListRefusedError`: faults are what a dry run is for.
    """
    preparation = Preparation(
        reader,
        renderer=renderer,
        senders=senders,
        region=region,
        opt_outs=opt_outs,
        faults=faults,
        consent_column=consent_column,
        windows=windows,
        verified=verified,
    )
    refused = False
    try:
        for _ in preparation:
            pass
    except ListRefusedError:
        refused = not with_rejects or not preparation.summary.records
    summary = preparation.summary
    lanes = tuple(
        LaneForecast(
            name, rate, summary.lanes[name].recipients, summary.lanes[name].segments,
            summary.lanes[name].segments / rate,
        )
        for name, rate in senders
    )  # fmt: skip
    culprit = summary.culprit
    return DryRun(
        list_name=reader.name,
        position=reader.position,
        rows=summary.rows,
        recipients=summary.recipients,
        duplicates=summary.duplicates,
        opted_out=summary.opted_out,
        by_fallback=summary.by_fallback,
        unverified=summary.unverified,
        first_unverified=tuple(summary.first_unverified),
        rejected=summary.rejected,
        refused=refused,
        faults=tuple(preparation.faults.shown),
        segments=summary.segments,
        gsm7=summary.gsm7,
        ucs2=summary.ucs2,
        ucs2_cause=None
        if culprit is None
        else Ucs2Cause(culprit.character, f"U+{ord(culprit.character):04X}", culprit.line),
        senders=lanes,
        seconds=max((lane.seconds for lane in lanes), default=0.0),
        messages=tuple(
            FirstMessage(
                m.to,
                m.lane,
                m.rendered.body,
                m.rendered.content_variables,
                m.segments,
                m.rendered.content_sid,
                _preview(m),
            )
            for m in summary.first
        ),
        warnings=summary.notes,
        encoding=summary.encoding,
    )


def _preview(message: ShownMessage) -> str | None:
    body = message.rendered.body
    return None if body is None else as_html(body, formatted=channel_of(message.to) is Channel.WHATSAPP)
