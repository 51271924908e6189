"""Single messages: checked, put into their streams many at a time, and in Redis before anybody is told so.

Callers' messages are collected while others are being written (a group commit), so that a thousand callers
cost a few round trips. What is wrong with a request is found before anything of it is written; then all of
it is, or nothing.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Final, NamedTuple

from broadcaster.domain.addresses import AddressError, Channel, channel_of, parse_address
from broadcaster.domain.broadcast import OnDoubt, OutsideWindow, Priority
from broadcaster.domain.content import ContentError
from broadcaster.domain.purpose import CONSENT_GIVEN, Consent, Purpose
from broadcaster.domain.record import Reason
from broadcaster.domain.senders import NoSenderError
from broadcaster.intake.addressing import unverified
from broadcaster.intake.group_commit import GroupCommit, Waiting
from broadcaster.intake.rendering import NO_PLACE
from broadcaster.intake.sender_choice import SenderChoice
from broadcaster.intake.shapes import FaultError, RequestFault, Shapes, content_fault, cost, value_fault
from broadcaster.intake.single_rows import Accepted, Row
from broadcaster.intake.streams import HOUR_SECONDS, Stream, StreamKey, expiry
from broadcaster.intake.submit import SubmissionError
from broadcaster.ledger.kept_answers import Deed, memo_of
from broadcaster.store.raising import need_format

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from broadcaster.domain.content import Content
    from broadcaster.intake.addressing import Verified
    from broadcaster.intake.sender_choice import Chosen
    from broadcaster.intake.shapes import Shape
    from broadcaster.ledger.pools import PoolReader
    from broadcaster.settings import Settings
    from broadcaster.store.connection import Store
    from broadcaster.telemetry.metrics import Metrics

__all__ = ["Accepted", "Person", "RefusedError", "RequestFault", "SingleMessages", "SingleRequest"]

MAX_RECIPIENTS: Final = 100
_STREAMS_KEPT: Final = 5000
_ENDLESS: Final = 10.0**9
_NO_CONSENT: Final = "marketing goes only to people who agreed to it: say where and when"
_NO_VARIABLES: Final[Mapping[str, str]] = {}


class RefusedError(SubmissionError):
    """The request can't be taken; `faults` says everything that is wrong with it. Nothing was queued."""

    def __init__(self, faults: Sequence[RequestFault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{f.pointer}: {f.detail}" if f.pointer else f.detail for f in faults))


class Person(NamedTuple):
    """One recipient as the caller wrote it."""

    to: str
    variables: Mapping[str, str] = _NO_VARIABLES
    reference: str | None = None


class SingleRequest(NamedTuple):
    """Messages that somebody asks for: one content to a few people.

    `senders` and `service` as in `senders_for`; without them the settings' are taken. `rate` is segments a
    second over all its senders, for all messages that have the rest in common. With a `nonce` (of this
    `key_id`'s) the same request can be made again for a day and is carried out once; `turn` is where its
    answer is kept, if it is (`deed_of`). `literal` texts are no templates.
    """

    key_id: str
    content: Content
    to: Sequence[Person]
    senders: Sequence[str] = ()
    service: str | None = None
    priority: Priority = Priority.URGENT
    on_doubt: OnDoubt | None = None
    expires_in_seconds: float | None = None
    rate: float | None = None
    region: str | None = None
    nonce: str = ""
    turn: str = ""
    literal: bool = False
    purpose: Purpose = Purpose.UTILITY
    consent: Consent | None = None
    outside_window: OutsideWindow = OutsideWindow.REFUSE


#: What must be asked before messages are taken; returns what is wrong with them.
SingleCheck = Callable[[SingleRequest, "Chosen", Sequence[str]], Awaitable[Sequence[RequestFault]]]


class SingleMessages:
    """Takes single messages for one process. End it with `close`."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        read_pool: PoolReader,
        checks: Sequence[SingleCheck] = (),
        verified: Verified | None = None,
        *,
        metrics: Metrics | None = None,
    ) -> None:
        self._checks = checks
        self._verified = verified
        self._store = store
        self._region = settings.region
        self._on_doubt = OnDoubt(settings.on_doubt)
        self._senders = SenderChoice(store, settings, read_pool)
        self._shapes = Shapes()
        self._streams: dict[StreamKey, Stream] = {}
        self._commit = GroupCommit(store, secrets.token_hex(6), metrics)

    async def post(self, request: SingleRequest) -> list[Accepted]:
        """Queue one request's messages; returns them in the order of `to`, in Redis by then.

        Raises `RefusedError`; `SubmissionError` while Redis is full; and `StoreError`, of which
        `Unreachable` leaves open whether they were queued: only a request with a nonce can be made again
        without harm.
        """
        faults: list[RequestFault] = []
        addresses = self._addresses(request, faults)
        faults += _term_faults(request)
        chosen = await self._chosen(request, addresses, faults)
        if chosen is None or faults:
            raise RefusedError(faults)
        now = time.time()
        shape = self._shapes.shape(request.content)
        for lane in chosen.lanes:
            for fault in self._shapes.faults(shape, lane.name, chosen.service, now):
                if fault not in faults:
                    faults.append(fault)
        for asks in () if faults else self._checks:
            faults += await asks(request, chosen, addresses)
        rows = self._rows(request, addresses, shape, chosen, faults) if not faults else []
        if faults:
            raise RefusedError(faults)
        for place in await self._unverified(addresses):
            rows[place] = rows[place]._replace(code=rows[place].code or Reason.UNVERIFIED)
        stream = self._stream(request, shape, chosen, now)
        if stream.needs > self._store.fenced and not await self.known(request):
            await need_format(self._store, stream.needs)
        answer: asyncio.Future[list[Accepted]] = asyncio.get_running_loop().create_future()
        memo = memo_of(request.key_id, request.nonce) if request.nonce else ""
        columns = shape.columns
        if request.consent is not None:
            columns += (CONSENT_GIVEN,)
            agreed = (str(request.consent),)
            rows = [row._replace(values=row.values + agreed) for row in rows]
        self._commit.add(Waiting(stream, columns, rows, memo, request.turn, answer))
        return await answer

    async def known(self, request: SingleRequest) -> bool:
        """Tell whether a request was carried out already, by its nonce. Raises redis' errors."""
        if not request.nonce:
            return False
        memo = memo_of(request.key_id, request.nonce)
        return bool(await self._store.redis.exists(self._store.keys.plain(f"append:{memo}")))

    async def close(self) -> None:
        """Write what is under way, then return."""
        await self._commit.close()

    async def _unverified(self, addresses: Sequence[str]) -> list[int]:
        """Return the places of those that a trial account may not write to, as far as that is known."""
        if self._verified is None or Channel.SMS not in map(channel_of, addresses):
            return []
        known = await self._verified()
        return [] if known is None else list(unverified(addresses, known))

    def _addresses(self, request: SingleRequest, faults: list[RequestFault]) -> list[str]:
        if not 1 <= len(request.to) <= MAX_RECIPIENTS:
            told = (
                f"1 to {MAX_RECIPIENTS} recipients, not {len(request.to)}: send a longer list as a broadcast"
            )
            raise RefusedError([RequestFault("/to", told)])
        region = request.region or self._region
        addresses = []
        for place, person in enumerate(request.to):
            try:
                addresses.append(parse_address(person.to, region))
            except AddressError as error:
                faults.append(RequestFault(f"/to/{place}", str(error), 21211 if person.to.strip() else 21604))
        return addresses

    async def _chosen(
        self, request: SingleRequest, addresses: Sequence[str], faults: list[RequestFault]
    ) -> Chosen | None:
        channels = frozenset(map(channel_of, addresses))
        try:
            return self._senders.known(
                tuple(request.senders), request.service, channels
            ) or await self._senders.choose(tuple(request.senders), request.service, channels)
        except (NoSenderError, AddressError) as error:
            where = "/messaging_service_sid" if request.service and not request.senders else "/from"
            faults.append(
                RequestFault(where, str(error), 21603 if isinstance(error, NoSenderError) else 21212)
            )
            return None

    def _rows(
        self,
        request: SingleRequest,
        addresses: Sequence[str],
        shape: Shape,
        chosen: Chosen,
        faults: list[RequestFault],
    ) -> list[Row]:
        rows: list[Row] = []
        seen: set[str] = set()
        for place, (to, person) in enumerate(zip(addresses, request.to, strict=True)):
            code = Reason.DUPLICATE if to in seen else Reason.NONE
            seen.add(to)
            try:
                lane = chosen.pick(to)
                values = self._shapes.values(request.content, person.variables, literal=request.literal)
                _check_text((*values, person.reference or ""))
            except NoSenderError as error:
                faults.append(RequestFault(f"/to/{place}", str(error), 21910))
                continue
            except ContentError as error:
                faults.append(content_fault(error))
                break
            except FaultError as error:
                found = error.fault
                if found.pointer[:5] not in ("/body", "/cont", "/sms_"):  # that is wrong for everybody
                    found = found._replace(pointer=f"/to/{place}{found.pointer}")
                if found not in faults:
                    faults.append(found)
                continue
            if unfit := value_fault(request.content, values, channel_of(to)):
                own = f"/to/{place}/variables"
                faults.append(unfit._replace(pointer=own) if person.variables else unfit)
            if request.content.whatsapp_only and channel_of(to) is not Channel.WHATSAPP:
                faults.append(RequestFault(f"/to/{place}", NO_PLACE))
            if to == chosen.lanes[lane].name:
                faults.append(RequestFault(f"/to/{place}", "sender and recipient are the same", 21266))
            rows.append(Row(lane, to, person.reference, values, cost(shape, values, channel_of(to)), code))
        return rows

    def _stream(self, request: SingleRequest, shape: Shape, chosen: Chosen, now: float) -> Stream:
        expires = request.expires_in_seconds
        key = StreamKey(
            request.key_id,
            shape.name,
            chosen.named,
            chosen.service,
            request.priority,
            request.on_doubt or self._on_doubt,
            request.rate,
            None if expires is None else expiry(now, expires),
            int(now // HOUR_SECONDS),
            request.purpose,
            request.consent is not None,
            request.outside_window,
        )
        stream = self._streams.get(key)
        if stream is None:
            if len(self._streams) >= _STREAMS_KEPT:
                self._streams.clear()
            stream = self._streams[key] = Stream.of(key, shape.content)
        return stream


def _term_faults(request: SingleRequest) -> Iterator[RequestFault]:
    for name, value in (("expires_in", request.expires_in_seconds), ("rate", request.rate)):
        if value is not None and not 0 < value < _ENDLESS:
            yield RequestFault(f"/{name}", "must be above 0, and end some day")
    if request.purpose is Purpose.MARKETING and request.consent is None:
        yield RequestFault("/consent", _NO_CONSENT)


def deed_of(request: SingleRequest, accepted: Sequence[Accepted]) -> Deed | None:
    """Return what the answer to a request is to be kept with; None without a nonce."""
    if not request.nonce:
        return None
    places = [message.id.split(".", 1) for message in accepted]
    batches = list(dict.fromkeys(place.rpartition(".")[0] for _, place in places))
    return Deed(memo_of(request.key_id, request.nonce), places[0][0], batches)


def _check_text(texts: Sequence[str]) -> None:
    """Raise `FaultError` for half a character, which JSON can hold and nobody can send."""
    try:
        "".join(texts).encode()
    except UnicodeEncodeError:
        raise FaultError(RequestFault("/body", "it holds half a character (a lone surrogate)")) from None
