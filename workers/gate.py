"""The worker's side of the gate: which messages to ask for, and what its answers mean for them."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, Final

import structlog
from redis.exceptions import RedisError

from broadcaster.domain.forgotten import FORGOTTEN
from broadcaster.domain.record import Reason
from broadcaster.domain.whatsapp_window import WHATSAPP
from broadcaster.lanes import claims
from broadcaster.ledger.optouts import OptOuts
from broadcaster.store.errors import StoreError, Unconfirmed
from workers.clock import RoundTrips
from workers.outgoing import YES_SECONDS, Message
from workers.slices import REFUSED

if TYPE_CHECKING:
    from broadcaster.lanes.claims import Item, Verdict
    from broadcaster.store.connection import Store
    from broadcaster.store.scripts import Call
    from broadcaster.telemetry.metrics import Metrics
    from workers.contents import Batch
    from workers.holding import Holding
    from workers.plan import Held
    from workers.posting import Poster

log = structlog.get_logger("gate")

#: At most so many messages with a yes wait for a connection.
GROUP: Final = 128
#: Whoever may leave within so long goes along with the first: half a hundredth more in any second, beside
#: what a lane may be ahead of its pace and a permit late (workers/plan.py).
TOGETHER_SECONDS: Final = 0.005
#: So often a slice is asked for again at once, whose worker had not heard of the latest opt-outs.
ASKED_AGAIN: Final = 5

Portion = tuple["Held", list["Item"]]


class Gate:
    """Chooses what to ask for, and hands what may go to the poster.

    Nothing is asked for while replicas have not `confirmed` the last answer: each question raises attempts.
    """

    def __init__(self, store: Store, holding: Holding, poster: Poster, metrics: Metrics) -> None:
        self._store = store
        self._holding = holding
        self._poster = poster
        self._metrics = metrics
        self._optouts = OptOuts()
        self._again: list[Portion] = []
        #: Of questions alone, since they may have to wait for replicas.
        self._round_trips = RoundTrips()
        self.confirmed = True

    def room(self) -> int:
        """Return how many more messages may get a yes; 0 until it is worth a question."""
        if not self.confirmed:
            return 0
        most = min(GROUP, self._poster.allowance.ready)
        room = most - len(self._poster.ready)
        return room if room * 8 >= most else 0

    def next_at(self) -> float | None:
        """Return when there is something to ask for, in monotonic seconds; None while there is not."""
        if not self.room():
            return None
        if self._again:
            return 0.0
        first = self._holding.plan.next_at()
        return None if first is None else first - self._round_trips.quickest

    def waited_for(self) -> bool:
        """Whether there is something to ask for, now or later."""
        return bool(self._again) or self._holding.plan.next_at() is not None

    def choose(self, now: float) -> list[Portion]:
        """Choose the messages to ask for: due by the time it has answered, and not opted out."""
        room = self.room()
        if not room:
            return []
        again, self._again = self._again, []
        room -= sum(len(items) for _, items in again)
        ahead = self._round_trips.quickest + TOGETHER_SECONDS
        portions, ended = self._holding.plan.take(now, now + ahead, max(0, room))
        self._holding.limited = sum(len(items) for _, items in portions) >= room
        portions = again + portions
        if self._optouts:
            portions = [(held, self._without_opted_out(held, items)) for held, items in portions]
        if any(held.closed for held, _ in portions):
            portions = [(held, self._without_closed(held, items)) for held, items in portions]
        for held in ended + [held for held, _ in again]:
            self._holding.close_if_done(held)
        return [(held, items) for held, items in portions if items]

    def question(self, worker: str, asked: list[Portion]) -> Call[list[Verdict]]:
        """Return the question for what was chosen."""
        return claims.intend(worker, self._optouts.epoch, [_group(held, items) for held, items in asked])

    async def answered(
        self,
        asked: list[Portion],
        verdicts: list[Verdict] | StoreError,
        *,
        asked_at: float,
        late: bool,
        repeated: bool,
    ) -> None:
        """Hand what may go to the poster; a yes that took too long (`late`) is turned back, unsent.

        It was asked at `asked_at`, in monotonic seconds; `repeated` says that the question was put more than
        once: an earlier yes may have been lost.
        """
        self._round_trips.note(asked_at, monotonic())
        if isinstance(verdicts, Unconfirmed):
            self.confirmed = False
            repeated = True
        if isinstance(verdicts, StoreError):
            verdicts = [claims.Verdict("claim" if self.confirmed else "unconfirmed", "")] * len(asked)
        for (held, items), verdict in zip(asked, verdicts, strict=True):
            if verdict.refused == "optouts" and not late and not repeated and held.refused < ASKED_AGAIN:
                # every opt-out changes the epoch: giving the slice up for it would cost the lane its permits
                held.refused += 1
                self._again.append((held, items))
            elif verdict.refused:
                self._refused(held, items, verdict.refused, repeated=repeated)
            else:
                batch = _batch_of(held)
                if verdict.waits_ms and not late:
                    self._metrics.accept_to_post.observe_many([wait / 1000 for wait in verdict.waits_ms])
                going = [
                    Message(held, item, batch, asked_at + YES_SECONDS)
                    for item, may in zip(items, verdict.yes, strict=True)
                    if may == "1"
                ]
                if held.closed:
                    going = _instead(held.closed, batch, going)
                if len(going) < len(items):
                    held.note(REFUSED + "record", len(items) - len(going))
                held.open -= len(items) - len(going)
                (self._poster.turn_back if late else self._poster.approve)(going)
                self._holding.close_if_done(held)
        if any(verdict.refused == "optouts" for verdict in verdicts):
            await self.refresh()

    def _refused(self, held: Held, items: list[Item], reason: str, *, repeated: bool) -> None:
        held.open -= len(items)
        self._metrics.intents_refused(reason, len(items))
        held.note(REFUSED + reason, len(items))
        if repeated:
            held.unsent += [item.row for item in items]
        self._holding.give_up(held, lost=reason == "claim")
        self._holding.close_if_done(held)

    def _without_opted_out(self, held: Held, items: list[Item]) -> list[Item]:
        batch = _batch_of(held)
        scopes = self._optouts.scopes(held.slice.lane, batch.service, batch.purpose)
        before = self._optouts.scopes_before(batch.instead_of, batch.purpose) if batch.instead_of else ()
        if not scopes and not before:
            return items
        addresses = [batch.address(item.row) for item in items]
        gone = dict.fromkeys(
            (place for place, address in enumerate(addresses) if address == FORGOTTEN), Reason.FORGOTTEN
        )
        for place in gone:
            addresses[place] = ""
        gone.update(dict.fromkeys(self._optouts.blocked(addresses, scopes), Reason.OPTED_OUT))
        if before:
            over_whatsapp = [address and WHATSAPP + address for address in addresses]
            gone.update(dict.fromkeys(self._optouts.blocked(over_whatsapp, before), Reason.OPTED_OUT))
        if not gone:
            return items
        for place, reason in gone.items():
            self._poster.skip(held, items[place], reason)
        return [item for place, item in enumerate(items) if place not in gone]

    def _without_closed(self, held: Held, items: list[Item]) -> list[Item]:
        """Skip those to whom free text may not go any more, unless a template goes in its place."""
        if not held.closed or _batch_of(held).instead is not None:
            return items
        for item in items:
            if item.row in held.closed:
                self._poster.skip(held, item, Reason.WINDOW_CLOSED)
        return [item for item in items if item.row not in held.closed]

    async def hear(self, optout_epoch: str) -> None:
        """Learn of opt-outs if there are new ones."""
        if optout_epoch != self._optouts.epoch:
            await self.refresh()

    async def read_anew(self) -> None:
        """Take nothing that is known of opt-outs for current: another server answers."""
        self._optouts.doubt()
        await self.refresh()

    async def refresh(self) -> None:
        """Become current. Where Redis does not answer, the gate refuses until this has worked."""
        try:
            await self._optouts.refresh(self._store)
        except (RedisError, StoreError, OSError) as error:
            log.warning("optouts.unread", error=str(error))

    def forget(self) -> None:
        """Drop what was to be asked for again: the claims are lost."""
        self._again.clear()

    def give_back(self) -> None:
        """Let go of what was to be asked for again: the process ends."""
        for held, items in self._again:
            held.open -= len(items)
            self._holding.close_if_done(held)
        self._again.clear()


def _batch_of(held: Held) -> Batch:
    if held.batch is None:
        raise RuntimeError("a slice was planned without its batch")
    return held.batch


def _instead(closed: frozenset[int], batch: Batch, going: list[Message]) -> list[Message]:
    """Let the template go to whom free text may not."""
    instead = batch.instead or batch
    return [m._replace(batch=instead) if m.item.row in closed else m for m in going]


def _group(held: Held, items: list[Item]) -> claims.Group:
    slice_ = held.slice
    wanted = [value for item in items for value in (item.row, item.attempt)]
    timed = int(_batch_of(held).urgent)
    return claims.Group(slice_.claim, slice_.lane, slice_.broadcast, slice_.batch, wanted, timed)
