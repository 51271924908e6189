"""One person: forgotten everywhere, or told all that is known of them.

What may hold a number, a variable, a text or a reply of theirs, and what becomes of it:

- `bat:ID:B`: address, reference and variables of recipients; a tombstone takes their place
- `who:NNN`: 25 bits of a checksum of each address; the person's entries go
- `bc:ID:rejects`, `bc:ID:seen`: rejected rows, addresses of drafts; emptied, taken out
- `once:KEY:NONCE`, `parked`: answers to requests, callbacks not found yet; those that name the person go
- `reply:SID`, `replies…`, `inbound:SENDER`: what they wrote; goes
- `endpoint:ID:bodies`, `events`: events on their way; a tombstone
- `optouts`, `optouts:log`: a keyed hash takes their place, so that they are never written to again
- `audit` holds a keyed hash of theirs, logs masked numbers; `led:`, `hist:` SIDs, states, times, no person
- `bc:ID` holds a broadcast's content, which is everybody's: it goes by age (operations/retention.py)

Then Redis' files are written anew, as they hold what was. Backups, replicas' files and Twilio's own records
are out of reach: they are named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from broadcaster.events.forgetting import forget_in_events
from broadcaster.intake.forgetting import forget_in_lists
from broadcaster.ledger.answers import forget_in_answers, forget_in_strays
from broadcaster.ledger.forgetting import Forgotten, forget_in_batches
from broadcaster.ledger.inbound import forget_marks
from broadcaster.ledger.optouts import EVERYWHERE, hash_opt_outs
from broadcaster.ledger.people_key import key_to_forget_with
from broadcaster.ledger.replies import remove_replies, replies_of
from broadcaster.operations import audit
from broadcaster.operations.at_twilio import redact_person
from broadcaster.operations.person import opt_outs_of
from broadcaster.store.rewriting import rewrite_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.operations.actor import Actor
    from broadcaster.operations.at_twilio import AtTwilio
    from broadcaster.store.connection import Store
    from broadcaster.store.rewriting import Rewritten
    from broadcaster.twilio.rest import TwilioRest

_FILES: Final = {"aof": "the append-only file", "rdb": "the snapshot"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What forgetting a person came to: places that changed, what is still open, what is out of reach."""

    batches: Forgotten
    lists: int
    answers: int
    replies: int
    events: int
    opt_outs: int
    importing: int
    opted_out: bool
    files: Rewritten
    at_twilio: AtTwilio | None

    @property
    def again(self) -> list[str]:
        """Why this should be run once more."""
        why = list(self.files.left)
        if self.batches.sending:
            why.append(
                f"{self.batches.sending} of their messages were being sent at that moment, and what Twilio "
                "answers may make an opt-out of them: run this again in a minute"
            )
        if self.batches.handed and self.at_twilio is None:
            why.append(
                f"{self.batches.handed} of their messages wait at Twilio, which will send them: run this "
                "again with --at-twilio, which cancels them"
            )
        if self.importing:
            why.append("a list is being imported, in which they may be: run this again once it has ended")
        if self.at_twilio is not None and self.at_twilio.failed:
            why.append("at Twilio not everything could be redacted: run this again with --at-twilio")
        return why

    @property
    def remains(self) -> list[str]:
        """What may still hold the person, and what to do about it."""
        told = [
            "backups of Redis from before now: let them expire; after restoring one, forget the person again"
        ]
        if not self.opted_out:
            told.insert(
                0,
                "a list or request that names them from now on: it is sent, as they are not opted out from "
                "everywhere; `broadcaster opt-outs add` and then forgetting them again keeps a hash",
            )
        told.append(
            "texts that broadcasts sent to everybody, and their names, should the person be named in them: "
            "they stay until their time is up (`broadcasts archive` removes a text before it)"
        )
        told.append("files of Redis' replicas, until each writes its own anew: BGREWRITEAOF there")
        told.append("lists, exports and archives that were written to files, and this shell's history")
        if self.at_twilio is None:
            told.append("Twilio's own records of the messages: --at-twilio empties their bodies")
        else:
            told.append("at Twilio the numbers, states and prices of the messages, and what carriers keep")
            if self.at_twilio.media:
                told.append(f"at Twilio the media of {self.at_twilio.media} messages: delete them there")
        return told

    def summary(self) -> dict[str, Any]:
        """Return it in JSON's types."""
        return {
            "messages": self.batches.messages,
            "skipped": self.batches.skipped,
            "dead": self.batches.dead,
            "sending": self.batches.sending,
            "handed": self.batches.handed,
            "lists": self.lists,
            "answers": self.answers,
            "replies": self.replies,
            "events": self.events,
            "opt_outs": self.opt_outs,
            "opted_out": self.opted_out,
            "files": list(self.files.done),
            "at_twilio": None if self.at_twilio is None else self.at_twilio.summary(),
            "again": self.again,
            "remains": self.remains,
        }


async def forget(
    store: Store, actor: Actor, addresses: Sequence[str], *, twilio: TwilioRest | None = None
) -> Outcome:
    """Forget a person (`addresses_of` a number); with `twilio` there, too. It may be done again.

    Raises redis' errors and `StoreError`: what was done until then stays done, and doing it again does the
    rest. Twilio's refusals are told in the outcome.
    """
    key = await key_to_forget_with(store)
    hashed = await store.run(
        hash_opt_outs(key, addresses)
    )  # first: from here on they are nobody's to write to
    batches = await forget_in_batches(store, addresses)
    lists = await forget_in_lists(store, addresses)
    replies = 0
    for address in addresses:
        replies += await remove_replies(store, await replies_of(store, address))
    await forget_marks(store, addresses)
    answers = await forget_in_answers(store, addresses[0]) + await forget_in_strays(store, addresses[0])
    events = await forget_in_events(store, addresses)
    importing = await store.redis.scard(store.keys.plain("importing"))
    at_twilio = None if twilio is None else await redact_person(twilio, addresses)
    done = {"messages": batches.messages, "replies": replies, "opt_outs": hashed, "lists": lists}
    new = done | {"at_twilio": None if at_twilio is None else at_twilio.redacted}
    await audit.record(store, actor, "recipient.forget", await audit.person(store, addresses[0]), new=new)
    files = await rewrite_files(store)
    out = any(
        (one["sender"], one["purpose"]) == (EVERYWHERE, None) for one in await opt_outs_of(store, addresses)
    )
    return Outcome(batches, lists, answers, replies, events, hashed, importing, out, files, at_twilio)
