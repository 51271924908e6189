"""Sending failures again, or laying them down: which are meant, the question, the deed."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from broadcaster.cli.exits import CommandFailedError, InputError
from broadcaster.cli.home import live_workers
from broadcaster.cli.output import print_json, say
from broadcaster.domain.record import State
from broadcaster.ledger.replaying import (
    Done,
    Letters,
    by_code,
    carry_out,
    find_letters,
    forbidden,
    letters_named,
    may_have_been_sent,
)
from broadcaster.reporting.dead_letters import broadcasts_with_dead_letters
from broadcaster.twilio.codes import meaning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

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


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters are meant: by name (`MESSAGE` or `MESSAGE@ATTEMPT`), or all of a broadcast and codes."""

    names: Sequence[str] = ()
    broadcast: str | None = None
    codes: Sequence[int] = ()
    everything: bool = False
    states: Sequence[State] = (State.DEAD,)

    def check(self) -> None:
        """Raise InputError where it isn't clear what is meant."""
        chosen = self.everything or self.broadcast or self.codes
        if self.names and chosen:
            raise InputError("name messages, or choose with --all, --broadcast and --code: not both")
        if not self.names and not chosen:
            raise InputError("say which: message ids, or --all, --broadcast ID or --code CODE")


@dataclass(slots=True)
class Found:
    """Letters to act on, and how many were left out because they may have been sent."""

    letters: list[Letters]
    held_back: int = 0
    codes: dict[int, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(map(len, self.letters))


async def find(store: Store, wanted: Wanted, *, even_unknown: bool) -> Found:
    """Find the letters. Raises InputError for a broadcast or message there isn't."""
    wanted.check()
    groups: list[Letters] = []
    if wanted.names:
        groups, unknown = await letters_named(store, wanted.names, wanted.states)
        if unknown:
            raise InputError(f"there is no message {unknown[0]}: `broadcaster dead-letters list` shows ids")
    else:
        if wanted.broadcast and not await store.redis.exists(store.keys.broadcast(wanted.broadcast)):
            raise InputError(
                f"there is no broadcast {wanted.broadcast}: `broadcaster broadcasts list` shows them"
            )
        ids = (
            [wanted.broadcast] if wanted.broadcast else await broadcasts_with_dead_letters(store, limit=None)
        )
        for broadcast in ids:
            async for group in find_letters(store, broadcast, codes=wanted.codes, states=wanted.states):
                groups.append(group)
    doubtful = {code for code in by_code(groups) if may_have_been_sent(code)}
    if not doubtful or even_unknown:
        return Found(groups, 0, dict(by_code(groups).most_common()))
    sure = [group.only(set(group.codes) - doubtful) for group in groups]
    sure = [group for group in sure if group]
    return Found(sure, sum(map(len, groups)) - sum(map(len, sure)), dict(by_code(sure).most_common()))


async def send_again(store: Store, wanted: Wanted, *, even_unknown: bool, yes: bool) -> tuple[Found, Done]:
    """Find, warn, ask, replay. Raises InputError, or CommandFailedError on a no or where all is forbidden."""
    found = await find(store, wanted, even_unknown=even_unknown)
    blocked = await forbidden(store, {group.broadcast for group in found.letters})
    if blocked:
        found.letters = [group for group in found.letters if group.broadcast not in blocked]
        found.codes = dict(by_code(found.letters).most_common())
        sentences = [refusal(broadcast, verdict) for broadcast, verdict in blocked.items()]
        if not found.letters:
            raise CommandFailedError("; ".join(sentences))
        for sentence in sentences:
            say(sentence)
    if found.held_back:
        say(
            f"{found.held_back:,} may have been sent already, and no evidence settled it: left alone. "
            "--even-unknown sends them again too."
        )
    doubtful = sum(n for code, n in found.codes.items() if may_have_been_sent(code))
    if doubtful:
        say(f"Warning: {doubtful:,} of them may have been sent already: those people may get it twice.")
    if found.count:
        ask(f"Send {plural(found.count)} again{_with(found.codes)}?", yes=yes)
    done = await carry_out(store, found.letters, again=True)
    for broadcast, verdict in done.refused.items():  # canceled or expired since the question
        say(refusal(broadcast, verdict))
    done.refused |= blocked
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
        summary: dict[str, Any] = {
            verb: done.changed,
            "unchanged": done.unchanged,
            "already_sent": done.late,
            "may_have_been_sent": found.held_back,
            "refused": dict(done.refused),
        }
        print_json(summary)
        return
    unchanged = f", {done.unchanged:,} unchanged" if done.unchanged else ""
    click.echo(f"{plural(done.changed)} {verb}{unchanged}" if found.count else f"nothing to be {verb}")


def plural(count: int) -> str:
    """Return so many messages in words."""
    return f"{count:,} message{'' if count == 1 else 's'}"


def refusal(broadcast: str, verdict: str) -> str:
    """Say why a broadcast's messages don't go again."""
    why = {
        "canceled": "was canceled",
        "expired": "has expired",
        "gone": "is gone",
    }.get(verdict, f"is {verdict}")
    return f"broadcast {broadcast} {why}: its messages are not sent again"


def _with(codes: dict[int, int]) -> str:
    shown: Iterable[str] = [
        f"{count:,} with {code} ({meaning(code)})" for code, count in list(codes.items())[:_CODES_SHOWN]
    ]
    more = sum(list(codes.values())[_CODES_SHOWN:])
    return f": {', '.join(shown)}" + (f", {more:,} with other codes" if more else "")
