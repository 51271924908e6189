"""Failures sent again, or laid down: which are meant, what may be done with them, the deed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from broadcaster.domain.record import State
from broadcaster.ledger.replaying import (
    FAILURES,
    Done,
    Letters,
    by_code,
    carry_out,
    find_letters,
    forbidden,
    letters_named,
    may_have_been_sent,
)
from broadcaster.operations import audit
from broadcaster.operations.errors import Conflict, Fault, Invalid, NotFound
from broadcaster.operations.removals import check_kept
from broadcaster.reporting.dead_letters import broadcasts_with_dead_letters

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.operations.actor import Actor
    from broadcaster.store.connection import Store

#: So many codes and broadcasts an audit entry names.
_NAMED: Final = 20


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters are meant: by name (`MESSAGE` or `MESSAGE@ATTEMPT`), or all of a broadcast and codes."""

    names: Sequence[str] = ()
    broadcast: str | None = None
    codes: Sequence[int] = ()
    everything: bool = False
    states: Sequence[State] = (State.DEAD,)

    def check(self) -> None:
        """Raise `Invalid` where it isn't clear what is meant."""
        chosen = self.everything or self.broadcast or self.codes
        if self.names and chosen:
            raise Invalid(Fault("name messages, or choose all, a broadcast or codes: not both"))
        if not self.names and not chosen:
            raise Invalid(
                Fault("say which: messages by their ids, or all, or those of a broadcast or with codes")
            )

    def form(self) -> dict[str, Any]:
        """Return it as the API is asked for it."""
        return {
            "messages": list(self.names),
            "broadcast": self.broadcast or None,
            "codes": list(self.codes),
            "all": self.everything,
        }

    def summary(self) -> dict[str, Any]:
        """Return what the audit says of it."""
        named = {"messages": len(self.names), "broadcast": self.broadcast, "codes": list(self.codes)}
        return {name: value for name, value in named.items() if value} or {"all": True}


def failures_of(broadcast: str, codes: Sequence[int] = ()) -> Wanted:
    """Return what a broadcast's retry means: dead letters, undelivered and failed messages."""
    return Wanted(broadcast=broadcast, codes=codes, states=FAILURES)


@dataclass(slots=True)
class Found:
    """Letters to act on; how many were held back, as they may have been sent; broadcasts that forbid it."""

    wanted: Wanted
    letters: list[Letters]
    held_back: int = 0
    blocked: dict[str, str] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(map(len, self.letters))

    @property
    def codes(self) -> dict[int, int]:
        """How many there are of each code, most first."""
        return dict(by_code(self.letters).most_common())

    @property
    def doubtful(self) -> int:
        """How many of them may have been sent already."""
        return sum(count for code, count in self.codes.items() if may_have_been_sent(code))


async def find(store: Store, wanted: Wanted) -> Found:
    """Find the letters. Raises Invalid, or NotFound for a broadcast or message there isn't."""
    wanted.check()
    if wanted.names:
        groups, unknown = await letters_named(store, wanted.names, wanted.states)
        if unknown:
            await check_kept(store, unknown[0])
            raise NotFound("message", unknown[0])
        return Found(wanted, groups)
    if wanted.broadcast and not await store.redis.exists(store.keys.broadcast(wanted.broadcast)):
        raise NotFound("broadcast", wanted.broadcast)
    if wanted.broadcast:
        await check_kept(store, wanted.broadcast)
    ids = [wanted.broadcast] if wanted.broadcast else await broadcasts_with_dead_letters(store, limit=None)
    found = Found(wanted, [])
    for broadcast in ids:
        async for group in find_letters(store, broadcast, codes=wanted.codes, states=wanted.states):
            found.letters.append(group)
    return found


async def find_to_send(store: Store, wanted: Wanted, *, even_unknown: bool) -> Found:
    """Find what can be sent again. Raises as `find`, and `Conflict` where all of it is forbidden.

    What may have been sent already is held back unless `even_unknown`.
    """
    found = await find(store, wanted)
    everything = found.count
    if not even_unknown:
        sure = {code for code in found.codes if not may_have_been_sent(code)}
        kept = (group.only(sure) for group in found.letters)
        found.letters = [group for group in kept if group]
        found.held_back = everything - found.count
    found.blocked = await forbidden(store, {group.broadcast for group in found.letters})
    if found.blocked:
        found.letters = [group for group in found.letters if group.broadcast not in found.blocked]
        if not found.letters:
            sentences = [refusal(broadcast, verdict) for broadcast, verdict in found.blocked.items()]
            raise Conflict("; ".join(sentences), state=next(iter(found.blocked.values())))
    return found


async def send_again(store: Store, actor: Actor, found: Found) -> Done:
    """Let letters be sent again, at the pace of their senders; each once, however often this is asked."""
    done = await carry_out(store, found.letters, again=True)
    retry = found.wanted.states == FAILURES and found.wanted.broadcast
    what = "broadcast.retry" if retry else "dead_letter.replay"
    await _note(store, actor, what, found, done)
    done.refused |= found.blocked
    return done


async def discard(store: Store, actor: Actor, found: Found) -> Done:
    """Lay dead letters down: they count as skipped from then on, and can't be sent again."""
    done = await carry_out(store, found.letters, again=False)
    await _note(store, actor, "dead_letter.discard", found, done)
    return done


async def _note(store: Store, actor: Actor, what: str, found: Found, done: Done) -> None:
    if not done.changed:
        return
    broadcasts = sorted({group.broadcast for group in found.letters})
    target = broadcasts[0] if len(broadcasts) == 1 else f"{len(broadcasts):,} broadcasts"
    codes = {str(code): count for code, count in list(found.codes.items())[:_NAMED]}
    old = {"state": "failed" if what == "broadcast.retry" else "dead", "codes": codes}
    new = "skipped" if what == "dead_letter.discard" else "retry"
    told = {"state": new, "changed": done.changed, "wanted": found.wanted.summary()}
    await audit.record(store, actor, what, target, old=old, new=told)


def summary(found: Found, done: Done, verb: str) -> dict[str, Any]:
    """Return what was done, in JSON's types; `verb` is what its count is called: `replayed`."""
    return {
        verb: done.changed,
        "unchanged": done.unchanged,
        "already_sent": done.late,
        "sms_instead": done.instead,
        "may_have_been_sent": found.held_back,
        "refused": dict(done.refused),
    }


def refusal(broadcast: str, verdict: str) -> str:
    """Say why a broadcast's messages don't go again."""
    why = {
        "canceled": "was canceled",
        "expired": "has expired",
        "removed": "knows its people no more",
        "gone": "is gone",
    }.get(verdict, f"is {verdict}")
    return f"broadcast {broadcast} {why}: its messages are not sent again"
