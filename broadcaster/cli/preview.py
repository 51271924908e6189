"""What a list would come to: `send --dry-run`, and the question before a list is sent."""

from __future__ import annotations

from contextlib import AsyncExitStack, ExitStack, suppress
from typing import TYPE_CHECKING

import click

from broadcaster.cli import running
from broadcaster.cli.exits import BAD_INPUT
from broadcaster.cli.lists import open_peeked
from broadcaster.cli.output import print_json, print_table, say, span
from broadcaster.domain.opt_out_hints import warnings_about
from broadcaster.domain.senders import format_rate
from broadcaster.intake.encodings import UTF8
from broadcaster.operations.trying import forecast, look_ahead
from broadcaster.runtime import twilio_rest
from broadcaster.settings import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.cli.send import SendOptions
    from broadcaster.intake.dry_run import DryRun
    from broadcaster.intake.findings import Findings
    from broadcaster.intake.peek import Peeked
    from broadcaster.intake.submit import Submission
    from broadcaster.intake.summary import Summary
    from broadcaster.operations.trying import Forecast


def look_at(options: SendOptions) -> Forecast:
    """Read the whole list and report. Raises what reading a list raises, and ContentRefusedError."""
    with ExitStack() as stack:
        reader = open_peeked(options)
        stack.callback(reader.release)
        found = running.run(_look_ahead(options, reader))
        return forecast(options.order, reader, options.settings, found)


async def _look_ahead(options: SendOptions, reader: Peeked) -> Findings:
    """Ask what can be asked: without credentials Twilio is not."""
    order, settings = options.order, options.settings
    async with AsyncExitStack() as stack:
        twilio = None
        with suppress(SettingsError):
            twilio = await stack.enter_async_context(twilio_rest(settings))
        return await look_ahead(order, reader, settings, twilio)


def preview(options: SendOptions) -> int:
    """Carry out `send --dry-run`: exit code 2 if the list would be refused."""
    found = look_at(options)
    return tell(found.report, options)


def tell(report: DryRun, options: SendOptions) -> int:
    """Print what a dry run found; return the exit code."""
    if options.as_json:
        print_json(report)
    else:
        _show(report, options)
    return BAD_INPUT if report.refused else 0


def _show(report: DryRun, options: SendOptions) -> None:
    click.echo(
        f"{report.list_name}{_read_as(report)}: {report.rows:,} rows, {report.recipients:,} recipients, "
        f"{report.duplicates:,} duplicates, {report.rejected:,} faulty"
    )
    print_table(
        ("sender", "recipients", "segments", "rate", "takes", "rate is"),
        [
            (s.sender, s.recipients, s.segments, format_rate(s.rate), span(s.seconds), s.origin)
            for s in report.senders
        ],
        right=(1, 2),
    )
    seconds = max(report.seconds, report.segments / options.rate if options.rate else 0.0)
    if report.unverified:
        click.echo(_unverified(report.unverified, report.first_unverified))
    if report.by_fallback:
        click.echo(by_fallback(report.by_fallback))
    click.echo(f"{report.segments:,} segments; about {span(seconds)} to send")
    click.echo(_encoding(report))
    for message in report.messages:
        template = message.content_sid or options.content.content_sid
        text = message.body if message.body is not None else f"template {template}"
        variables = f" {message.content_variables}" if message.content_variables else ""
        click.echo(f"  {message.sender} → {message.to}: {text}{variables} [{message.segments}]")
    for fault in report.faults:
        column = f", {fault.column}" if fault.column else ""
        click.echo(f"  {report.position} {fault.line}{column}: {fault.value!r} {fault.reason}")
    for warning in report.warnings:
        say(f"Warning: {warning}")
    if report.refused:
        say("Error: the list would be refused for its faulty rows; --rejects FILE sends the others.")
    elif report.rejected:
        say(f"{report.rejected:,} faulty rows would go to {options.rejects}; the others would be sent.")


def _read_as(report: DryRun) -> str:
    return "" if report.encoding in (None, UTF8) else f" ({report.encoding})"


def _unverified(count: int, first: Sequence[str]) -> str:
    shown = ", ".join(first) + (", …" if count > len(first) else "")
    return f"{count:,} are skipped, as a trial account writes to verified numbers only: {shown}"


def by_fallback(count: int) -> str:
    """Return how many get the template in place of the text, in words."""
    return f"{count:,} of them get the fallback template: they wrote nothing in the last 24 hours"


def _encoding(report: DryRun) -> str:
    if not report.ucs2:
        return f"encoding: GSM-7 for all {report.gsm7:,} texts" if report.gsm7 else "encoding: no plain texts"
    cause = report.ucs2_cause
    why = (
        f"; {cause.character!r} ({cause.code_point}) in {report.position} {cause.line} forced it"
        if cause
        else ""
    )
    return f"encoding: {report.gsm7:,} GSM-7, {report.ucs2:,} UCS-2{why}"


def outline(summary: Summary, submission: Submission, warnings: Sequence[str] = ()) -> str:
    """Return what a person must know to say yes."""
    lines = [
        f"{summary.recipients:,} recipients, {summary.segments:,} segments"
        + (
            f"; skipped: {summary.duplicates:,} duplicates, {summary.opted_out:,} opted out"
            if summary.duplicates or summary.opted_out
            else ""
        )
    ]
    if summary.unverified:
        lines.append(f"  {_unverified(summary.unverified, summary.first_unverified)}")
    if summary.by_fallback:
        lines.append(f"  {by_fallback(summary.by_fallback)}")
    slowest = (submission.rate and summary.segments / submission.rate) or 0.0
    for lane in submission.lanes:
        totals = summary.lanes[lane.name]
        slowest = max(slowest, totals.segments / lane.rate)
        lines.append(f"  {totals.recipients:,} from {lane.name} at {format_rate(lane.rate)} ({lane.origin})")
    lines.append(f"  takes about {span(slowest)}")
    for message in summary.first[:1]:
        text = (
            message.rendered.body
            or message.rendered.content_variables
            or f"template {message.rendered.content_sid or submission.content.content_sid}"
        )
        lines.append(f"  first message, to {message.to}: {text}")
    hints = warnings_about(submission.purpose, submission.content)
    lines += [f"  warning: {text}" for text in (*hints, *warnings)]
    return "\n".join(lines)
