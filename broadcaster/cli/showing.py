"""A broadcast for people: its states, codes with their meaning, and what it waits for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from broadcaster.cli.output import print_json, print_table, span, when
from broadcaster.cli.waiting import waits
from broadcaster.domain.record import State
from broadcaster.twilio.codes import meaning

if TYPE_CHECKING:
    from broadcaster.reporting.broadcasts import BroadcastView


def show_broadcast(view: BroadcastView, *, as_json: bool) -> None:
    """Print one broadcast."""
    if as_json:
        print_json(view.summary())
        return
    reason = f" ({view.state_reason})" if view.state_reason else ""
    click.echo(f"{view.id}  {view.name}: {view.state}{reason}")
    click.echo(f"{view.total:,} recipients, by {', '.join(view.senders)}; {_times(view)}")
    rows: list[tuple[object, ...]] = []
    for state in State:
        count = view.counts.get(state, 0)
        if count:
            rows.append((state.label, count, "", ""))
            rows += [
                ("", c.count, c.code, meaning(c.code)) for c in view.codes if c.state is state and c.code
            ]
    if rows:
        print_table(("state", "recipients", "code", "meaning"), rows, right=(1, 2))
    if view.in_doubt:
        click.echo("In doubt: Twilio's answer never came. They are not sent again without evidence.")
        if view.search:
            click.echo(view.search.words(view.in_doubt))
    if view.retried:
        click.echo(f"{view.retried:,} further tries after throttling or passing failures")
    if view.rate:
        left = f", about {span(view.eta_seconds)} left" if view.eta_seconds else ""
        click.echo(f"{view.rate:.1f} a second{left}")
    if waits(view):
        click.echo(f"waits for: {waits(view)}")


def _times(view: BroadcastView) -> str:
    times = [("made", view.created_at), ("started", view.started_at), ("ended", view.finished_at)]
    if view.state == "scheduled":
        times.append(("starts", int(view.spec.schedule_at or 0)))
    return ", ".join(f"{what} {when(at)}" for what, at in times if at)
