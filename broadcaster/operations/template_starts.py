"""Before a broadcast that was loaded a while ago starts: whether its templates may still be used.

A template can be paused, rejected or deleted between the intake of a list and its hour.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
import structlog

from broadcaster.domain.addresses import Channel
from broadcaster.domain.broadcast import BroadcastSpec
from broadcaster.domain.senders import SenderKind, parse_sender
from broadcaster.intake.addressing import Seen
from broadcaster.intake.load import WHATSAPP_FACT
from broadcaster.operations.errors import Conflict
from broadcaster.operations.template_checks import PATIENCE_SECONDS, check_templates, names_templates

if TYPE_CHECKING:
    from broadcaster.store.connection import Store
    from broadcaster.twilio.content import Templates

log = structlog.get_logger("templates")

_WHATSAPP: Final = "whatsapp:"
_LONGEST_REASON: Final = 1000


class Look(NamedTuple):
    """`refusal`: why it must not start, `unanswered`: why nobody knows; both "" if all is well."""

    refusal: str = ""
    unanswered: str = ""


NOTHING_WRONG: Final = Look()


async def to_be_asked(store: Store, broadcast: str) -> BroadcastSpec | None:
    """Return the spec of a broadcast that names templates, None of any other. Raises redis' errors."""
    raw = await store.redis.hget(store.keys.broadcast(broadcast), "spec")
    try:
        spec = None if raw is None else msgspec.msgpack.decode(raw, type=BroadcastSpec)
    except msgspec.MsgspecError:  # the dispatcher says what is wrong with it
        return None
    return spec if spec is not None and names_templates(spec.content) else None


async def look(
    store: Store,
    templates: Templates,
    broadcast: str,
    spec: BroadcastSpec,
    patience_seconds: float = PATIENCE_SECONDS,
) -> Look:
    """Look whether a broadcast may start now. Raises redis' errors."""
    checked = await check_templates(
        templates,
        spec.content,
        spec.purpose,
        whatsapp=await goes_to_whatsapp(store, broadcast, spec),
        sandbox=any(parse_sender(name).kind is SenderKind.WHATSAPP_SANDBOX for name in spec.senders),
        patience_seconds=patience_seconds,
    )
    if checked.faults:
        return Look(refusal="; ".join(fault.detail for fault in checked.faults)[:_LONGEST_REASON])
    if checked.warnings and not checked.unanswered:
        log.warning("templates.noted", broadcast=broadcast, warnings=checked.warnings)
    return Look(unanswered=checked.unanswered)


async def refuse_start(store: Store, templates: Templates, broadcast: str) -> None:
    """Raise Conflict where a broadcast that is to be started now has templates that may not be used."""
    spec = await to_be_asked(store, broadcast)
    state = await store.redis.hget(store.keys.broadcast(broadcast), "state")
    if spec is None or state not in (b"draft", b"scheduled"):
        return
    found = await look(store, templates, broadcast, spec)
    if found.refusal:
        raise Conflict(f"broadcast {broadcast} can't be started: {found.refusal}", state=state.decode())
    if found.unanswered:
        log.warning("templates.unchecked", broadcast=broadcast, reason=found.unanswered)


async def goes_to_whatsapp(store: Store, broadcast: str, spec: BroadcastSpec) -> bool:
    """Tell whether a loaded broadcast writes to WhatsApp: by its senders, of a service by its list."""
    if any(name.startswith(_WHATSAPP) for name in spec.senders):
        return True
    if not any(name.startswith("MG") for name in spec.senders):
        return False
    key = store.keys.broadcast(broadcast)
    if await store.redis.hexists(key, WHATSAPP_FACT):
        return True
    parts = await store.redis.llen(f"{key}:seen")  # of a draft that was filled in parts
    for part in range(parts):
        raw = await store.redis.lindex(f"{key}:seen", part)
        if raw and Seen.has(raw, Channel.WHATSAPP):
            return True
    return False
