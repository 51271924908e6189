"""Before a broadcast that was loaded a while ago starts: whether its templates may still be used.

A template can be paused, rejected or deleted between the intake of a list and its hour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog

from broadcaster.domain.broadcast import BroadcastSpec
from broadcaster.domain.senders import SenderKind, parse_sender
from broadcaster.operations.errors import Conflict
from broadcaster.operations.template_checks import check_templates, names_templates
from broadcaster.store.batches import unpack_batch

if TYPE_CHECKING:
    from broadcaster.store.connection import Store
    from broadcaster.twilio.content import Templates

log = structlog.get_logger("templates")

_WHATSAPP: Final = "whatsapp:"
_LONGEST_REASON: Final = 1000


async def to_be_asked(store: Store, broadcast: str) -> BroadcastSpec | None:
    """Return the spec of a broadcast that names templates, None of any other. Raises redis' errors."""
    raw = await store.redis.hget(store.keys.broadcast(broadcast), "spec")
    try:
        spec = None if raw is None else msgspec.msgpack.decode(raw, type=BroadcastSpec)
    except msgspec.MsgspecError:  # the dispatcher says what is wrong with it
        return None
    return spec if spec is not None and names_templates(spec.content) else None


async def why_not_start(store: Store, templates: Templates, broadcast: str, spec: BroadcastSpec) -> str:
    """Return why a broadcast must not start now, "" if it may or Twilio can't say. Raises redis' errors."""
    whatsapp = await goes_to_whatsapp(store, broadcast, spec)
    sandbox = any(parse_sender(name).kind is SenderKind.WHATSAPP_SANDBOX for name in spec.senders)
    checked = await check_templates(templates, spec.content, spec.purpose, whatsapp=whatsapp, sandbox=sandbox)
    if checked.faults:
        return "; ".join(fault.detail for fault in checked.faults)[:_LONGEST_REASON]
    if checked.warnings:
        log.warning("templates.noted", broadcast=broadcast, warnings=checked.warnings)
    return ""


async def refuse_start(store: Store, templates: Templates, broadcast: str) -> None:
    """Raise Conflict where a broadcast that is to be started now has templates that may not be used."""
    spec = await to_be_asked(store, broadcast)
    state = await store.redis.hget(store.keys.broadcast(broadcast), "state")
    if spec is None or state not in (b"draft", b"scheduled"):
        return
    if why := await why_not_start(store, templates, broadcast, spec):
        raise Conflict(f"broadcast {broadcast} can't be started: {why}", state=state.decode())


async def goes_to_whatsapp(store: Store, broadcast: str, spec: BroadcastSpec) -> bool:
    """Tell whether a loaded broadcast writes to WhatsApp: by its senders, of a service by its first batch."""
    if any(name.startswith(_WHATSAPP) for name in spec.senders):
        return True
    for place, name in enumerate(spec.senders):
        if name.startswith("MG"):
            raw: Any = await store.redis.get(store.keys.batch(broadcast, f"{place}.0"))
            if raw and any(to.startswith(_WHATSAPP) for to in unpack_batch(raw).to):
                return True
    return False
