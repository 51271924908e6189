"""Replies as people see them, the newest first: all, those that wait for a person, one person's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from broadcaster.domain.replies import Reply, digest_of
from broadcaster.ledger.replies import Spot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from broadcaster.store.connection import Store

_FIELDS: Final = ("facts", "at", "flag", "changed", "answer", "done")
#: So many are looked at for one page.
_LOOKED_AT: Final = 2000
_AT_ONCE: Final = 200
_decode = msgspec.json.Decoder(Reply).decode


@dataclass(frozen=True, slots=True)
class ReplyView:
    """A reply and what became of it. `flag`: why a person should look at it; `done`: what one did, or "".

    `answered` is the kind of answer that we gave; times are unix seconds.
    """

    reply: Reply
    at_ms: int
    flag: str
    changed: int
    answered: str
    done: str
    done_by: str
    done_at: int

    @property
    def flagged(self) -> bool:
        """Whether it waits for a person."""
        return bool(self.flag) and not self.done

    def summary(self) -> dict[str, Any]:
        """Return the object that the command line and the API show, in JSON's types."""
        reply = self.reply
        return {
            "id": reply.id,
            "from": reply.person,
            "to": reply.sender,
            "messaging_service_sid": reply.service or None,
            "received_at": round(self.at_ms / 1000, 3),
            "body": reply.body,
            "media": [{"url": media.url, "type": media.type or None} for media in reply.media],
            "location": reply.location and _all(reply.location),
            "button": reply.button and _all(reply.button),
            "profile_name": reply.profile_name or None,
            "user_id": reply.user_id or None,
            "message": reply.message or None,
            "broadcast": reply.message.partition(".")[0] or None,
            "meaning": reply.meaning.value,
            "opt_outs_changed": self.changed,
            "answered": self.answered or None,
            "flagged": self.flagged,
            "flag": self.flag or None,
            "done": self.done or None,
            "done_by": self.done_by or None,
            "done_at": self.done_at or None,
        }


async def read_reply(store: Store, reply_id: str) -> ReplyView | None:
    """Read one reply by its SID; None if there is no such. Raises redis' errors."""
    found = await read_many(store, [reply_id])
    return found[0] if found else None


async def read_many(store: Store, ids: Sequence[str]) -> list[ReplyView]:
    """Read these; what is there no more is left out."""
    async with store.redis.pipeline(transaction=False) as pipe:
        for name in ids:
            pipe.hmget(store.keys.reply(name), _FIELDS)
        found = await pipe.execute()
    return [_view(values) for values in found if values[0] is not None]


async def page(
    store: Store,
    *,
    limit: int,
    after: Sequence[Any] | None = None,
    people: Sequence[str] = (),
    flagged: bool = False,
    since: float | None = None,
) -> tuple[list[ReplyView], Spot | None]:
    """Return up to `limit` of them, the newest first; and where to go on, None at the end.

    Only those of `people` (each as `Reply.person` is written), those that wait for somebody, those that came
    at `since` (unix seconds) or later. A page may hold fewer, even none, and have a next one: then it looked
    as far as one request may. What comes meanwhile never makes a page repeat or leave out what was there.
    """
    orders = [f"replies:of:{digest_of(person)}" for person in people]
    orders = orders or ["replies:flagged" if flagged else "replies"]
    spot, views, looked = Spot(*after) if after else None, list[ReplyView](), 0
    while looked < _LOOKED_AT:
        most = min(limit + 1, _AT_ONCE)
        each = [await _behind(store, order, spot, since, most) for order in orders]
        some = sorted((one for found in each for one in found), reverse=True)[:most]
        if not some:
            return views, None
        looked += len(some)
        for view in await read_many(store, [one.id for one in some]):
            if (not people or view.reply.person in people) and (not flagged or view.flagged):
                if len(views) == limit:
                    return views, Spot(views[-1].at_ms, views[-1].reply.id)
                views.append(view)
        spot = some[-1]
    return views, spot


async def _behind(store: Store, order: str, spot: Spot | None, since: float | None, most: int) -> list[Spot]:
    """Return the next `most` places behind `spot`; of one millisecond the ids stand in falling order, too."""
    skipped = 0
    last = spot.at_ms if spot else "+inf"
    first = int(since * 1000) if since is not None else "-inf"
    found: list[Spot] = []
    while len(found) < most:
        raw = await store.redis.zrange(
            store.keys.plain(order),
            last,
            first,
            desc=True,
            byscore=True,
            offset=skipped,
            num=most,
            withscores=True,
        )
        if not raw:
            break
        spots = [Spot(int(score), name.decode()) for name, score in raw]
        found += [one for one in spots if spot is None or one < spot]
        if len(raw) < most:
            break
        skipped += len(raw)
    return found[:most]


def _view(values: Sequence[bytes | None]) -> ReplyView:
    facts, at, flag, changed, answer, done = (value or b"" for value in values)
    what, _, when = done.decode().rpartition("|")
    how, _, who = what.partition("|")
    return ReplyView(
        _decode(facts), int(at), flag.decode(), int(changed or 0), answer.decode(), how, who, int(when or 0)
    )


def _all(value: Any) -> dict[str, Any]:
    """Return every field of a part, null where it says nothing."""
    return {name: text or None for name, text in msgspec.structs.asdict(value).items()}
