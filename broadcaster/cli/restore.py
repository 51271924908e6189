"""`broadcaster restore`: Redis was restored from a backup, which doesn't know what was sent since."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import click

from broadcaster.cli.connect import with_store
from broadcaster.cli.exits import InputError
from broadcaster.cli.options import env_file_option, json_option, parse_moment
from broadcaster.cli.output import print_json, say, span, when
from broadcaster.ledger.rewinding import Rewound, rewind
from broadcaster.operations import audit
from broadcaster.operations.actor import at_the_shell
from broadcaster.store.dumping import backup_noted, unknown_since

if TYPE_CHECKING:
    from pathlib import Path

    from broadcaster.store.connection import Store

#: A backup is taken every hour or so; a note that is older may be another one's.
OLD_SECONDS: Final = 86_400


@click.command()
@click.option(
    "--taken-at",
    metavar="TIME",
    help="When the backup was taken, or some time before: ISO 8601. What `backup` made knows it.",
)
@click.option("--zone", metavar="ZONE", help="The time zone of --taken-at, like Europe/Berlin.")
@click.option(
    "--workers-gone", is_flag=True, help="No worker of before is running or stopped anywhere: you made sure."
)
@click.option("--yes", is_flag=True, help="Don't ask.")
@json_option
@env_file_option
def restore(
    taken_at: str | None,
    zone: str | None,
    *,
    workers_gone: bool,
    yes: bool,
    as_json: bool,
    env_file: Path | None,
) -> None:
    """Make a restored backup safe to send from. Run it before any worker is started.

    Everything unsent in the backup may have been sent since it was taken: it is put in doubt, and workers
    find out at Twilio. What was accepted counts as accepted, what is proven absent is sent. Workers of before
    are refused from now on; without --workers-gone one that only hangs is reckoned with for a quarter of an
    hour (BROADCASTER_OWNER_GONE_SECONDS). What was sent is looked for from five minutes before that time
    on, as clocks differ. Without --yes or --json it asks first.
    """
    at = None if taken_at is None else parse_moment(taken_at, zone)
    if at is not None and at > datetime.now(UTC):
        raise InputError(f"{taken_at!r} is yet to come: --taken-at is when the backup was taken")

    async def look(store: Store) -> tuple[int, str]:
        taken, noted = await _taken(store, at)
        return taken, await _as_of(store, taken, noted=noted)

    taken, as_of = with_store(env_file, look)
    say(as_of)
    if not yes and not as_json:
        click.confirm("Put every unsent message of this Redis in doubt?", abort=True, err=True)

    async def work(store: Store) -> tuple[int, Rewound | None]:
        since = await unknown_since(store, taken)
        await store.guard.look(rewind_to=since, workers_gone=workers_gone)
        shown = _Progress(quiet=as_json)
        anew = await store.with_new_epoch()
        await anew.confirm()
        done = await rewind(anew, shown.say)
        told = {"taken_at": taken, "since": since, "workers_gone": workers_gone}
        if done is not None:
            told |= {"broadcasts": done.broadcasts, "in_doubt": done.messages}
        await audit.record(anew, at_the_shell(), "restore", "everything", new=told)
        return since, done

    since, done = with_store(env_file, work)
    if done is None:
        done = Rewound(since, 0, 0)  # a worker was quicker, and has logged it
    if as_json:
        print_json({"since": done.since, "broadcasts": done.broadcasts, "in_doubt": done.messages})
        return
    click.echo(
        f"{done.messages:,} messages of {done.broadcasts:,} broadcasts may have been sent since "
        f"{when(done.since)}: they are in doubt until Twilio's list shows what became of them.\n"
        "Broadcasts, opt-outs and replays made after the backup are not in it. Start the workers now."
    )


async def _taken(store: Store, at: datetime | None) -> tuple[int, bool]:
    """Return the unix second at which the backup was taken, and whether only its own note says so."""
    if at is not None:
        return int(at.timestamp()), False
    noted = await backup_noted(store)
    if noted is None:
        raise InputError(
            "say when the backup was taken (--taken-at): only what `broadcaster backup` made knows it"
        )
    return noted, True


async def _as_of(store: Store, taken: int, *, noted: bool) -> str:
    """Say by which time it goes: a copy made otherwise still has the note of an earlier `backup`."""
    now, _ = await store.redis.time()
    age, by = now - taken, "by the note in it" if noted else "as you say"
    line = f"This data is of {when(taken)} ({by}), {span(age)} ago."
    if age < 0:
        line = f"This data is of {when(taken)} ({by}), which by Redis' clock is yet to come."
    if noted and age > OLD_SECONDS:
        line += (
            " If it was copied later, without `broadcaster backup`, give that time with --taken-at: else"
            " Twilio's list is read from then on."
        )
    return line


class _Progress:
    """A line a second while it goes on."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._said = time.monotonic()

    def say(self, broadcasts: int, messages: int) -> None:
        if not self._quiet and time.monotonic() - self._said >= 1:
            self._said = time.monotonic()
            click.echo(f"{broadcasts:,} broadcasts, {messages:,} messages in doubt …", err=True)
