"""From a claimed record to the form that is POSTed: unpacked batches and compiled contents, kept awhile."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from broadcaster.domain.broadcast import BroadcastSpec
from broadcaster.domain.content import Rendered, Renderer, compile_content
from broadcaster.store.batches import Recipients, unpack_batch
from broadcaster.twilio.forms import FormTemplate

if TYPE_CHECKING:
    from collections.abc import Iterable

    from broadcaster.lanes.claims import Slice
    from broadcaster.store.connection import Store

BATCHES_KEPT: Final = 2000
BROADCASTS_KEPT: Final = 200
Render = Callable[[Sequence[str]], Rendered]


class Batch:
    """One unpacked batch, ready to make its recipients' forms for one lane."""

    __slots__ = ("_recipients", "_render", "_template")

    def __init__(self, recipients: Recipients, render: Render, template: FormTemplate) -> None:
        self._recipients = recipients
        self._render = render
        self._template = template

    def address(self, index: int) -> str:
        """Return the recipient's address."""
        return self._recipients.to[index]

    def form(self, index: int) -> bytes:
        """Return one recipient's form. Raises `RenderError` if its text can't be made (checked at intake)."""
        recipients = self._recipients
        rendered = self._render([column[index] for column in recipients.values])
        return self._template.encode(recipients.to[index], rendered.body, rendered.content_variables)


def shared_pairs(spec: BroadcastSpec, lane: str) -> list[tuple[str, str]]:
    """Return the parameters that all messages of a broadcast on one lane have in common."""
    pairs: list[tuple[str, str]] = []
    if lane.startswith("MG"):
        pairs.append(("MessagingServiceSid", lane))
    else:
        if spec.messaging_service_sid:
            pairs.append(("MessagingServiceSid", spec.messaging_service_sid))
        pairs.append(("From", lane))
    content = spec.content
    pairs += [("MediaUrl", url) for url in content.media_urls]
    if content.content_sid:
        pairs.append(("ContentSid", content.content_sid))
    pairs += list(content.options.items())
    return pairs


class Contents:
    """A bounded cache of batches and broadcasts; both are immutable once sending."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._batches: OrderedDict[tuple[str, str], Batch] = OrderedDict()
        self._broadcasts: OrderedDict[str, tuple[BroadcastSpec, Renderer]] = OrderedDict()
        self._lock = asyncio.Lock()

    def get(self, broadcast: str, batch: str) -> Batch | None:
        """Return a batch that is here already."""
        return self._batches.get((broadcast, batch))

    async def load(self, slices: Iterable[Slice]) -> None:
        """Fetch what slices need and is not here, in one round trip. Raises redis' errors."""
        async with self._lock:
            missing = {
                (s.broadcast, s.batch): s.lane for s in slices if (s.broadcast, s.batch) not in self._batches
            }
            if not missing:
                return
            unknown = sorted({bid for bid, _ in missing if bid not in self._broadcasts})
            keys = self._store.keys
            async with self._store.redis.pipeline(transaction=False) as pipe:
                for bid in unknown:
                    pipe.hget(keys.broadcast(bid), "spec")
                for bid, batch in missing:
                    pipe.get(keys.batch(bid, batch))
                replies = await pipe.execute()
            for bid, raw in zip(unknown, replies[: len(unknown)], strict=True):
                if raw is not None:
                    spec = msgspec.msgpack.decode(raw, type=BroadcastSpec)
                    self._broadcasts[bid] = (spec, compile_content(spec.content))
            for (bid, batch), raw in zip(missing, replies[len(unknown) :], strict=True):
                known = self._broadcasts.get(bid)
                if raw is not None and known is not None:
                    self._batches[bid, batch] = _make(raw, *known, missing[bid, batch])
            _bound(self._batches, BATCHES_KEPT)
            _bound(self._broadcasts, BROADCASTS_KEPT)


def _make(raw: bytes, spec: BroadcastSpec, renderer: Renderer, lane: str) -> Batch:
    recipients = unpack_batch(raw)
    return Batch(recipients, renderer.over_rows(recipients.columns), FormTemplate(shared_pairs(spec, lane)))


def _bound(cache: OrderedDict[Any, Any], most: int) -> None:
    while len(cache) > most:
        cache.popitem(last=False)
