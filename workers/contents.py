"""From a claimed record to the form that is POSTed: unpacked batches and compiled contents, kept awhile."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec
import structlog

from broadcaster.domain.broadcast import Priority
from broadcaster.domain.content import Rendered, Renderer, RenderError, compile_content
from broadcaster.domain.data_format import NewerSpecError, read_spec
from broadcaster.domain.forgotten import FORGOTTEN
from broadcaster.domain.handing import Handing, handed_options
from broadcaster.domain.message_rules import MAX_VALIDITY_SECONDS
from broadcaster.domain.purpose import Purpose
from broadcaster.domain.record import BY_TEMPLATE
from broadcaster.domain.whatsapp_window import stand_in
from broadcaster.store.batches import Recipients, unpack_batch
from broadcaster.twilio.forms import FormTemplate, encode_form, encode_rest
from workers.kept import Kept
from workers.newer import wait_for_newer
from workers.pairs import VALIDITY, shared_pairs
from workers.routes import Routes
from workers.windows import window_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from broadcaster.domain.broadcast import BroadcastSpec
    from broadcaster.lanes.claims import Slice
    from broadcaster.store.connection import Store
    from broadcaster.twilio.callback_urls import CallbackUrls
    from workers.routes import Route

log = structlog.get_logger("contents")

BROADCASTS_KEPT: Final = 200
#: With these Twilio tells somebody else; beside ours the second would be ignored.
_OWN_CALLBACKS: Final = ("StatusCallback", "ApplicationSid")
Render = Callable[[Sequence[str]], Rendered]


class Batch:
    """One unpacked batch, ready to make its recipients' forms for one lane.

    `service` is the one that the broadcast names beside its senders; opt-outs may be of it, or of `purpose`,
    and of those whose messages over WhatsApp these are `instead_of`.
    Of a broadcast that expires Twilio is told how long it may still try (`ValidityPeriod`), from its
    time on. `callback` makes the parameter that says where it shall tell what became of a message, from its
    index and attempt. With `handing` Twilio keeps what leaves early enough; `now` is Redis' clock.

    Free text on WhatsApp has `window`, the unix second by which people's 24 hours are judged (0.0: now; None:
    nothing depends on them), and perhaps `instead`, what goes to whom they are over for. `flag` is what a
    record says of an accepted message of this batch, `route` what metrics say; None where that depends on the
    recipient (`route_of`). `urgent`: these are single messages that somebody waits for.
    """

    __slots__ = (
        *("_callback", "_expires_at", "_recipients", "_render", "_template", "_valid_most"),
        *("_handing", "_kept_back", "_now", "_rendered", "_rest", "_routes"),
        *("flag", "instead", "instead_of", "purpose", "route", "service", "urgent", "window"),
    )

    def __init__(
        self,
        recipients: Recipients,
        render: Render,
        template: FormTemplate,
        *,
        expires_at: float | None = None,
        valid_most: int = MAX_VALIDITY_SECONDS,
        callback: Callable[[int, int], bytes] | None = None,
        service: str | None = None,
        purpose: str = Purpose.UTILITY,
        instead_of: Sequence[str] = (),
        handing: Handing | None = None,
        routes: Routes,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.service = service
        self.purpose = purpose
        self.instead_of = instead_of
        self.window: float | None = None
        self.instead: Batch | None = None
        self.flag, self.urgent = 0, False
        self.route = routes.shared(recipients.to)
        self._recipients, self._render, self._routes = recipients, render, routes
        self._rendered: Rendered | None = None
        self._rest = b""
        self._template = template
        self._expires_at = expires_at
        self._valid_most = valid_most
        self._callback = callback
        self._handing = handing
        self._kept_back = b"" if handing is None else b"&" + encode_form(handed_options(handing.at).items())
        self._now = now

    @property
    def texts(self) -> int:
        """How many addresses and variables it holds."""
        return len(self._recipients.to) * (1 + len(self._recipients.values))

    def ends_at(self, row: int) -> bool:
        """Whether this row is the last."""
        return row + 1 == len(self._recipients.to)

    def address(self, index: int) -> str:
        """Return the recipient's address."""
        return self._recipients.to[index]

    def route_of(self, index: int) -> Route:
        """Return what metrics say of one recipient's way."""
        return self._routes.to(self._recipients.to[index])

    def form(self, index: int, attempt: int) -> bytes:
        """Return the form of one recipient's `attempt` (1 for the first).

        Raises `RenderError` if its text can't be made (checked at intake), and `TooSoonError` where it would
        go before its time: then it has to wait.
        """
        recipients = self._recipients
        if recipients.to[index] == FORGOTTEN:  # the gate lets nobody go who is
            raise RenderError(None, "the person was forgotten")
        rendered = self._render([column[index] for column in recipients.values])
        if rendered is not self._rendered:  # of a text without variables all have the same
            self._rendered = rendered
            self._rest = encode_rest(rendered.body, rendered.content_variables, rendered.content_sid)
        form = self._template.encode_to(recipients.to[index]) + self._rest
        if self._handing is not None or self._expires_at is not None:
            form += self._timed()
        if self._callback is not None:
            form += self._callback(index, attempt)
        return form

    def _timed(self) -> bytes:
        """Return the parameters that depend on when it leaves."""
        leaves, form = self._now(), b""
        if self._handing is not None and self._handing.is_handed(leaves):
            form, leaves = self._kept_back, self._handing.at
        if self._expires_at is not None:
            left = int(self._expires_at - leaves)
            form += b"&ValidityPeriod=%d" % max(1, min(left, self._valid_most))
        return form

    def goes_itself_in(self) -> float:
        """Return in how many seconds a message that Twilio does not keep back any more goes by itself."""
        return 0.0 if self._handing is None else max(0.0, self._handing.begins - self._now())


class Contents:
    """A bounded cache of batches (workers/kept.py) and broadcasts; both are immutable once sending.

    With `callbacks` Twilio is told where to tell what became of each message; a broadcast whose options name
    a place of their own keeps that.
    """

    def __init__(
        self,
        store: Store,
        callbacks: CallbackUrls | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._store = store
        self._callbacks = callbacks
        self._now = now
        self._batches = Kept()
        self._broadcasts: OrderedDict[str, tuple[BroadcastSpec, Renderer, bool]] = OrderedDict()
        self._lock = asyncio.Lock()

    def done_with(self, broadcast: str, batch: str) -> None:
        """Let go of a batch whose last record has been claimed: only a retry could want it again."""
        self._batches.drop((broadcast, batch))

    async def load(self, slices: Iterable[Slice]) -> dict[tuple[str, str], Batch]:
        """Return the batches of slices, by (broadcast, batch), without those that are gone or can't be read.

        What is not here is fetched in one round trip. Raises redis' errors.
        """
        async with self._lock:
            found: dict[tuple[str, str], Batch] = {}
            missing: dict[tuple[str, str], str] = {}
            for s in slices:
                name = (s.broadcast, s.batch)
                known = self._batches.get(name)
                if known is None:
                    missing[name] = s.lane
                else:
                    found[name] = known
            if missing:
                found.update(await self._fetch(missing))
            return found

    async def _fetch(self, missing: dict[tuple[str, str], str]) -> dict[tuple[str, str], Batch]:
        """Fetch batches, given with their lanes, and what is not known of their broadcasts."""
        found: dict[tuple[str, str], Batch] = {}
        unknown = sorted({bid for bid, _ in missing if bid not in self._broadcasts})
        keys = self._store.keys
        async with self._store.redis.pipeline(transaction=False) as pipe:
            for bid in unknown:
                pipe.hmget(keys.broadcast(bid), "spec", "kind")
            for bid, batch in missing:
                pipe.get(keys.batch(bid, batch))
            replies = await pipe.execute()
        for bid, (raw, kind) in zip(unknown, replies[: len(unknown)], strict=True):
            if raw is not None:
                with _told(bid, "its content"):
                    try:
                        spec = read_spec(raw)
                    except NewerSpecError as error:
                        await wait_for_newer(self._store, bid, str(error))
                        raise
                    urgent = kind == b"stream" and _at_once(spec)
                    self._broadcasts[bid] = (spec, compile_content(spec.content), urgent)
        for (name, lane), raw in zip(missing.items(), replies[len(unknown) :], strict=True):
            bid, batch = name
            known = self._broadcasts.get(bid)
            if raw is not None and known is not None:
                with _told(bid, batch):
                    spec, renderer, urgent = known
                    callback = self._callback(spec, bid, batch)
                    made = _make(raw, spec, renderer, lane, callback, urgent=urgent, now=self._now)
                    found[name] = made
                    self._batches.put(name, made)
        while len(self._broadcasts) > BROADCASTS_KEPT:
            self._broadcasts.popitem(last=False)
        return found

    def _callback(self, spec: BroadcastSpec, bid: str, batch: str) -> Callable[[int, int], bytes] | None:
        if self._callbacks is None or any(name in spec.content.options for name in _OWN_CALLBACKS):
            return None
        return self._callbacks.of_batch(bid, batch)


@contextlib.contextmanager
def _told(broadcast: str, what: str) -> Iterator[None]:
    """Go on without what can't be read: it came in one round trip with the work of other broadcasts."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 - whatever is wrong with it, it is this one's
        name = type(error).__name__
        log.error("batch.unreadable", broadcast=broadcast, what=what, error=name)  # noqa: TRY400 - no rows in logs


def _make(
    raw: bytes,
    spec: BroadcastSpec,
    renderer: Renderer,
    lane: str,
    callback: Callable[[int, int], bytes] | None = None,
    *,
    urgent: bool = False,
    now: Callable[[], float] = time.time,
) -> Batch:
    recipients = unpack_batch(raw)
    batch = _batch(recipients, spec, renderer, lane, callback, now=now)
    batch.urgent = urgent
    batch.window = window_of(spec, lane, recipients)
    if batch.window is not None and spec.content.fallback is not None and renderer.fallback is not None:
        template = msgspec.structs.replace(spec, content=stand_in(spec.content, spec.content.fallback))
        batch.instead = _batch(recipients, template, renderer.fallback, lane, callback, now=now)
        batch.instead.flag = BY_TEMPLATE
    return batch


def _batch(
    recipients: Recipients,
    spec: BroadcastSpec,
    renderer: Renderer,
    lane: str,
    callback: Callable[[int, int], bytes] | None,
    *,
    now: Callable[[], float],
) -> Batch:
    own = spec.content.options.get(VALIDITY, "")
    return Batch(
        recipients,
        renderer.over_rows(recipients.columns),
        FormTemplate(shared_pairs(spec, lane)),
        expires_at=spec.expires_at,
        valid_most=int(own) if own.isdecimal() else MAX_VALIDITY_SECONDS,
        callback=callback,
        service=spec.messaging_service_sid,
        purpose=spec.purpose,
        instead_of=spec.instead_of,
        handing=spec.handing,
        routes=Routes.of(spec, lane),
        now=now,
    )


def _at_once(spec: BroadcastSpec) -> bool:
    """Whether single messages are to leave as soon as they are taken: SMS in place of others came later."""
    return spec.priority is Priority.URGENT and not spec.send_at and not spec.instead_of
