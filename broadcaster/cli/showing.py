"""A broadcast for people: its states, codes with their meaning, and what it waits for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from broadcaster.cli.output import harmless, print_json, print_table, span, when
from broadcaster.cli.waiting import waits
from broadcaster.reporting.awaiting import Awaiting
from broadcaster.reporting.doubt import SearchState
from broadcaster.twilio.codes import meaning

if TYPE_CHECKING:
    from collections.abc import Mapping


def show_broadcast(now: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one broadcast's summary."""
    if as_json:
        print_json(now)
        return
    reason = f" ({now['state_reason']})" if now["state_reason"] else ""
    click.echo(f"{now['id']}  {now['name']}: {now['state']}{reason}")
    click.echo(f"{now['total']:,} recipients, by {', '.join(now['senders'])}; {_times(now)}")
    if now["purpose"] != "utility" or now["consent"]:
        agreed = f", with consent: {now['consent']}" if now["consent"] else ""
        click.echo(f"purpose: {now['purpose']}{agreed}")
    rows: list[tuple[object, ...]] = []
    for state, count in now["counts"].items():
        if count:
            rows.append((state, count, "", ""))
            rows += [
                ("", c["count"], c["code"], meaning(c["code"]))
                for c in now["codes"]
                if c["state"] == state and c["code"]
            ]
    if rows:
        print_table(("state", "recipients", "code", "meaning"), rows, right=(1, 2))
    _show_open(now)
    if now["retried"]:
        click.echo(f"{now['retried']:,} further tries after throttling or passing failures")
    if now["rate"]:
        left = f"; by the senders' pace about {span(now['eta'])} left" if now["eta"] else ""
        click.echo(f"{now['rate']:.1f} a second since it was started{left}")
    if waits(now) and waits(now) != now["state_reason"]:
        click.echo(f"waits for: {waits(now)}")
    for warning in now["warnings"]:
        click.echo(f"warning: {harmless(warning)}")


def _show_open(now: Mapping[str, Any]) -> None:
    """Print what is not known yet of those that have left."""
    kept = now["counts"]["accepted"]
    if kept and now.get("scheduler") == "twilio" and now["schedule_at"] > time.time():
        then = ": a worker cancels them there" if now["state"] == "canceled" else ""
        click.echo(f"{kept:,} wait at Twilio until {when(now['schedule_at'])}{then}")
    if now["counts"]["in_doubt"]:
        click.echo("In doubt: Twilio's answer never came. They are not sent again without evidence.")
        if now["in_doubt"]:
            click.echo(SearchState.of(now["in_doubt"]).words(now["in_doubt"]["count"]))
    if now.get("awaiting"):
        click.echo(Awaiting.of(now["awaiting"]).words())
    if now.get("fallbacks"):
        sms = now["fallbacks"]
        states = ", ".join(f"{n:,} {state}" for state, n in sms["counts"].items() if n)
        click.echo(f"{sms['total']:,} SMS in place of WhatsApp messages" + (f": {states}" if states else ""))


def _times(now: Mapping[str, Any]) -> str:
    times = [("made", now["created_at"]), ("started", now["started_at"]), ("ended", now["finished_at"])]
    times.append(("messages removed", now["removed_at"]))
    if now.get("scheduler") == "twilio":
        times.append(("Twilio sends", now["schedule_at"]))
    elif now["state"] == "scheduled":
        times.append(("starts", now["schedule_at"]))
    return ", ".join(f"{what} {when(at)}" for what, at in times if at)
