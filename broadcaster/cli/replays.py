"""Sending failures again from the command line: the warnings and the question before the deed."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from broadcaster.cli.exits import CommandFailedError
from broadcaster.cli.home import live_workers
from broadcaster.cli.output import print_json, say
from broadcaster.cli.waiting import waits_for_worker
from broadcaster.client.errors import ApiError
from broadcaster.ledger.replaying import FAILURES, may_have_been_sent
from broadcaster.operations import dead_letters as acts
from broadcaster.operations.actor import at_the_shell
from broadcaster.operations.dead_letters import refusal
from broadcaster.twilio.codes import meaning

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from broadcaster.client import Client
    from broadcaster.operations.dead_letters import Wanted
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


async def send_again(
    store: Store, wanted: Wanted, verb: str, *, even_unknown: bool, yes: bool
) -> tuple[int, dict[str, Any]]:
    """Find, warn, ask, replay; return how many were meant, and what was done, as the API tells it.

    Raises as `find_to_send`, or CommandFailedError on a no.
    """
    found = await acts.find_to_send(store, wanted, even_unknown=even_unknown)
    for broadcast, verdict in found.blocked.items():
        say(refusal(broadcast, verdict))
    _warn(found.held_back, found.doubtful)
    if found.count:
        ask(f"Send {plural(found.count)} again{_with(found.codes)}?", yes=yes)
    done = await acts.send_again(store, at_the_shell(), found)
    for broadcast, verdict in done.refused.items():
        if broadcast not in found.blocked:  # canceled or expired since the question
            say(refusal(broadcast, verdict))
    _late(done.late)
    if done.changed and not await live_workers(store):
        say("No worker is running. Start one with: broadcaster worker")
    return found.count, acts.summary(found, done, verb)


def replay_over_api(
    client: Client, wanted: Wanted, verb: str, *, even_unknown: bool, yes: bool
) -> tuple[int, dict[str, Any]]:
    """Do as `send_again` does over the API, for dead letters or, `retried`, a broadcast's failures.

    What is counted before the question is what there is then; the API says what became of it.
    """
    wanted.check()
    told = even_unknown or asks(yes=yes)
    if told:
        codes = count_first(client, wanted)
        doubtful = sum(count for code, count in codes.items() if may_have_been_sent(code))
        if not even_unknown:
            codes = {code: count for code, count in codes.items() if not may_have_been_sent(code)}
        _warn(*((0, doubtful) if even_unknown else (doubtful, 0)))
        if count := sum(codes.values()):
            ask(f"Send {plural(count)} again{_with(codes)}?", yes=yes)
    if verb == "retried":
        done = client.retry(wanted.broadcast or "", codes=wanted.codes, even_unknown=even_unknown)
    else:
        done = client.replay(even_unknown=even_unknown, **wanted.form())
    for broadcast, verdict in done["refused"].items():
        say(refusal(broadcast, verdict))
    if not told:
        _warn(done["may_have_been_sent"], 0)
    _late(done["already_sent"])
    if done[verb] and _waits_for_worker(client, wanted):
        say("No worker is running. Start one with: broadcaster worker")
    left = ("unchanged", "already_sent", "sms_instead")
    return done[verb] + sum(done.get(name, 0) for name in left), done


def _waits_for_worker(client: Client, wanted: Wanted) -> bool:
    """Whether nobody is there to send what was meant; False where the key may not look."""
    broadcast = wanted.broadcast or next(iter(wanted.names), "").partition(".")[0]
    with contextlib.suppress(ApiError):
        if broadcast:
            return waits_for_worker(client.broadcast(broadcast).raw)
        return any(waits_for_worker(one.raw) for one in islice(client.broadcasts(state=["running"]), 50))
    return False


def count_first(client: Client, wanted: Wanted) -> dict[int, int]:
    """Return how many messages of each code are meant, most first; code 0 for those named one by one."""
    if wanted.names:
        return {0: len(wanted.names)}
    if wanted.states == FAILURES:
        failed = {state.label for state in FAILURES}
        rows = [
            row for row in client.broadcast(wanted.broadcast or "").raw["codes"] if row["state"] in failed
        ]
    else:
        rows = client.dead_letter_codes(wanted.broadcast)
    counted: Counter[int] = Counter()
    for row in rows:
        if not wanted.codes or row["code"] in wanted.codes:
            counted[row["code"]] += row["count"]
    return dict(counted.most_common())


def _warn(held_back: int, doubtful: int) -> None:
    if held_back:
        say(
            f"{held_back:,} may have been sent already, and no evidence settled it: left alone. "
            "--even-unknown sends them again too."
        )
    if doubtful:
        say(f"Warning: {doubtful:,} of them may have been sent already: those people may get it twice.")


def _late(count: int) -> None:
    if count:
        say(f"{count:,} had reached Twilio by an earlier attempt: not sent again.")


def asks(*, yes: bool) -> bool:
    """Whether a person is there to be asked."""
    return not yes and sys.stdin.isatty() and sys.stderr.isatty()


def ask(question: str, *, yes: bool) -> None:
    """Ask on a terminal, unless `--yes` was given. Raises CommandFailedError on a no."""
    if asks(yes=yes) and not click.confirm(question, err=True):
        raise CommandFailedError("you said no: nothing was changed")


def tell(count: int, done: Mapping[str, Any], verb: str, *, as_json: bool) -> None:
    """Print what was done to the `count` that were meant."""
    if as_json:
        print_json(done)
        return
    unchanged = f", {done['unchanged']:,} unchanged" if done["unchanged"] else ""
    if instead := done.get("sms_instead"):
        unchanged += f", {instead:,} left alone as an SMS went in their place"
    click.echo(f"{plural(done[verb])} {verb}{unchanged}" if count else f"nothing to be {verb}")


def plural(count: int) -> str:
    """Return so many messages in words."""
    return f"{count:,} message{'' if count == 1 else 's'}"


def _with(codes: Mapping[int, int]) -> str:
    if set(codes) <= {0}:
        return ""
    shown: Iterable[str] = [
        f"{count:,} with {code} ({meaning(code)})" for code, count in list(codes.items())[:_CODES_SHOWN]
    ]
    more = sum(list(codes.values())[_CODES_SHOWN:])
    return f": {', '.join(shown)}" + (f", {more:,} with other codes" if more else "")
