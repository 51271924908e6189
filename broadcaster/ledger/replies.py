"""Replies, kept by their SID: written once, with the opt-out that follows from them in the same step.

A reply is a hash (`reply:SID`) in three orders of time: of all, of those that wait for somebody, of one
person. Twilio asks again with the same SID when our answer was lost, perhaps after another reply: a STOP that
is told again after a START must not undo it, so the opt-out is never written apart from its reply.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from broadcaster.domain.opt_out_scopes import scope_for
from broadcaster.domain.purpose import Purpose
from broadcaster.domain.replies import digest_of
from broadcaster.domain.whatsapp_numbers import forms_of
from broadcaster.domain.words import Meaning
from broadcaster.ledger.optouts import EVERYWHERE
from broadcaster.ledger.people_key import hashed
from broadcaster.store.scripts import Call, packed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.domain.replies import Reply
    from broadcaster.store.connection import Store

_AT_ONCE: Final = 500
#: Until a sender answers the same person in the same way again: robots answer each other (Twilio's 14107).
_GAP_SECONDS: Final = {"auto": 86_400, "help": 60, "stop": 3_600, "start": 3_600}
#: As it is shown to people.
_STILL_OUT: Final = "it asks for messages again, but the number is opted out elsewhere too"
_STILL_OUT_FOR: Final = "it asks for messages again, but the number stays opted out for "


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a reply: whether it was new, what we answer (a key of the texts), opt-outs changed.

    `flagged`: a new one waits for a person.
    """

    new: bool
    answer: str
    changed: int
    flagged: bool


class Spot(NamedTuple):
    """Where a reply stands among others: when it came, in ms of unix time, and its id."""

    at_ms: int
    id: str


def take(reply: Reply, *, flag: str, answer: str, key: bytes = b"") -> Call[Taken]:
    """Take a reply with what it means; told again it changes nothing and answers the same.

    `flag` says why a person should look at it, "" if nobody need; `answer`: "stop", "start", "help" or
    "auto", what we would say to it, if nothing speaks against it. An opt-in takes back what an opt-out by
    reply would have written, never an opt-out from everywhere or of one purpose: somebody else knew why, and
    the reply is flagged. `key` is the people's
    (`key_in_use`): who was forgotten may want messages again. All of it is about every form of the number
    (domain/whatsapp_numbers.py).
    """
    verb = ""
    if reply.has_number:
        verb = {Meaning.OPT_OUT: "add", Meaning.OPT_IN: "remove"}.get(reply.meaning, "")
    forms = forms_of(reply.person) if reply.has_number else ()
    hidden = [hashed(key, form) if key else "" for form in forms]
    fields = [
        [f"{scope}|{form}", f"{scope}|{hash_}" if hash_ else ""]
        for scope in reply.scopes
        for form, hash_ in zip(forms, hidden, strict=True)
        if verb
    ]
    names = [name for name in (*forms, *hidden) if name]
    scopes = (EVERYWHERE, *reply.scopes)
    standing = [f"{scope}|{name}" for name in names for scope in scopes]
    limited = [
        [f"{scope_for(scope, purpose)}|{name}", str(purpose)]
        for purpose in Purpose
        for name in names
        for scope in scopes
        if verb == "remove"
    ]
    arguments = (
        *(reply.id, reply.digest, reply.sender, msgspec.json.encode(reply)),
        *(verb, packed(fields), source_of(reply.id), packed(standing)),
        *(flag, _STILL_OUT, answer, _GAP_SECONDS.get(answer, 0)),
        *(packed(limited), _STILL_OUT_FOR),
    )
    return Call("reply", arguments, _taken, lasting=True, about="reply" if verb == "add" else "")


def source_of(reply_id: str) -> str:
    """Return how an opt-out says that it came from a reply."""
    return f"reply:{reply_id}"


def _taken(told: list[bytes]) -> Taken:
    return Taken(bool(int(told[0])), told[1].decode(), int(told[2]), bool(told[3]))


def done(reply_id: str, how: str, who: str) -> Call[int]:
    """Note that somebody dealt with a reply; answers 1, 0 if that was done before, -1 if there is none."""
    return Call("reply_done", (reply_id, f"{how}|{who}"), int)


async def replies_of(store: Store, person: str) -> list[str]:
    """Return the ids of all that somebody wrote, the newest first. Raises redis' errors."""
    found = await store.redis.zrevrange(store.keys.plain(f"replies:of:{digest_of(person)}"), 0, -1)
    return [raw.decode() for raw in found]


async def remove_replies(store: Store, ids: Sequence[str]) -> int:
    """Remove replies and what leads to them; return how many there were. Twice changes nothing.

    Their opt-outs stay. Raises `StoreError`.
    """
    gone = 0
    for start in range(0, len(ids), _AT_ONCE):
        gone += await store.run(Call("reply_gone", (packed(list(ids[start : start + _AT_ONCE])),), int))
    return gone
