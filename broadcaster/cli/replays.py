"""Sending failures again from the command line: the warnings and the question before the deed."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from broadcaster.cli.exits import CommandFailedError
from broadcaster.cli.home import live_workers
from broadcaster.cli.output import print_json, say
from broadcaster.operations import dead_letters as acts
from broadcaster.operations.actor import at_the_shell
from broadcaster.operations.dead_letters import refusal
from broadcaster.twilio.codes import meaning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from broadcaster.ledger.replaying import Done
    from broadcaster.operations.dead_letters import Found, Wanted
    from broadcaster.store.connection import Store

_F = TypeVar("_F", bound="Callable[..., Any]")
#: Codes named in a question; the others are summed up.
_CODES_SHOWN: Final = 5


def yes_option(function: _F) -> _F:
    """Add `--yes`."""
    return click.option("--yes", is_flag=True, help="Don't ask.")(function)


def even_unknown_option(function: _F) -> _F:
    """Add `--even-unknown`."""
    return click.option(
        "--even-unknown", is_flag=True, help="Also messages that may have been sent already."
    )(function)


async def send_again(store: Store, wanted: Wanted, *, even_unknown: bool, yes: bool) -> tuple[Found, Done]:
    """Find, warn, ask, replay. Raises as `find_to_send`, or CommandFailedError on a no."""
    found = await acts.find_to_send(store, wanted, even_unknown=even_unknown)
    for broadcast, verdict in found.blocked.items():
        say(refusal(broadcast, verdict))
    if found.held_back:
        say(
            f"{found.held_back:,} may have been sent already, and no evidence settled it: left alone. "
            "--even-unknown sends them again too."
        )
    if found.doubtful:
        say(f"Warning: {found.doubtful:,} of them may have been sent already: those people may get it twice.")
    if found.count:
        ask(f"Send {plural(found.count)} again{_with(found.codes)}?", yes=yes)
    done = await acts.send_again(store, at_the_shell(), found)
    for broadcast, verdict in done.refused.items():
        if broadcast not in found.blocked:  # canceled or expired since the question
            say(refusal(broadcast, verdict))
    if done.late:
        say(f"{done.late:,} had reached Twilio by an earlier attempt: not sent again.")
    if done.changed and not await live_workers(store):
        say("No worker is running. Start one with: broadcaster worker")
    return found, done


def ask(question: str, *, yes: bool) -> None:
    """Ask on a terminal, unless `--yes` was given. Raises CommandFailedError on a no."""
    if yes or not (sys.stdin.isatty() and sys.stderr.isatty()):
        return
    if not click.confirm(question, err=True):
        raise CommandFailedError("you said no: nothing was changed")


def tell(found: Found, done: Done, verb: str, *, as_json: bool) -> None:
    """Print what was done."""
    if as_json:
        print_json(acts.summary(found, done, verb))
        return
    unchanged = f", {done.unchanged:,} unchanged" if done.unchanged else ""
    click.echo(f"{plural(done.changed)} {verb}{unchanged}" if found.count else f"nothing to be {verb}")


def plural(count: int) -> str:
    """Return so many messages in words."""
    return f"{count:,} message{'' if count == 1 else 's'}"


def _with(codes: dict[int, int]) -> str:
    shown: Iterable[str] = [
        f"{count:,} with {code} ({meaning(code)})" for code, count in list(codes.items())[:_CODES_SHOWN]
    ]
    more = sum(list(codes.values())[_CODES_SHOWN:])
    return f": {', '.join(shown)}" + (f", {more:,} with other codes" if more else "")
