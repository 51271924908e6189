"""What a message says: rendered once more from its broadcast's content and its own variables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from broadcaster.domain.broadcast import BroadcastSpec
from broadcaster.domain.content import RenderError, compile_content

if TYPE_CHECKING:
    from broadcaster.reporting.messages import MessageView
    from broadcaster.store.connection import Store


async def read_spec(store: Store, broadcast: str) -> BroadcastSpec | None:
    """Return what a broadcast or stream was asked to be, None if it is gone."""
    raw = await store.redis.hget(store.keys.broadcast(broadcast), "spec")
    return None if raw is None else msgspec.msgpack.decode(raw, type=BroadcastSpec)


def body_of(spec: BroadcastSpec, view: MessageView) -> str:
    """Return a message's text, "" where it has none, a template went, or its variables are gone."""
    if view.record.by_template:
        return ""
    try:
        return compile_content(spec.content).render(view.variables).body or ""
    except RenderError:
        return ""


async def read_body(store: Store, view: MessageView) -> tuple[BroadcastSpec, str]:
    """Return a message's broadcast and its text. Raises LookupError if the broadcast is gone meanwhile."""
    spec = await read_spec(store, view.broadcast)
    if spec is None:
        raise LookupError(view.broadcast)
    return spec, body_of(spec, view)
