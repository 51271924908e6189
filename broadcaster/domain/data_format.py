"""The data format: its numbers, what each brought, and what a program that is older would do with it.

The rule, for whoever changes what is kept in Redis:

1. What an older program reads rightly, or does not look at, needs no number.
2. Anything else gets a new one, in `FORMATS`; a new field of a spec also stands in `SINCE`, with that number.
3. Data of a new number is written only once the installation has it (`store/raising.py`). It gets it with the
   first use, and only while no worker that is older lives; from then on every older process is refused
   whatever it asks, and none starts.
4. The data of every earlier number is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from broadcaster.domain.broadcast import BroadcastSpec
from broadcaster.domain.create_message import REPEATED

if TYPE_CHECKING:
    from collections.abc import Iterator


class Format(NamedTuple):
    """One number: what came with it, and what a program that knows only the one before would do with it."""

    number: int
    brought: str
    older: str


FORMATS: Final = (
    Format(1, "broadcasts, streams, opt-outs, replies, events, keys, the audit", ""),
    Format(
        2,
        "Twilio's scheduler, templates by language, fallback templates, free text outside WhatsApp's window, "
        "the SMS in place of WhatsApp messages, options that are repeated",
        "it leaves out what it does not know and sends all the same: too early, in another language, as free "
        "text, without the SMS; and pausing, canceling or deleting a broadcast does not reach its SMS",
    ),
)
#: The newest that this program knows.
KNOWN: Final = FORMATS[-1].number

#: Since which number each field of a spec is there. A test holds it against the structs.
SINCE: Final[dict[str, dict[str, int]]] = {
    "BroadcastSpec": {
        **dict.fromkeys(("name", "senders", "content", "messaging_service_sid", "priority", "on_doubt"), 1),
        **dict.fromkeys(("schedule_at", "expires_at", "rate", "purpose", "consent", "consent_column"), 1),
        **dict.fromkeys(("send_window", "retention_days"), 1),
        **dict.fromkeys(("outside_window", "scheduler", "instead_of"), 2),
    },
    "Content": {
        **dict.fromkeys(("body", "media_urls", "content_sid", "content_variables", "options"), 1),
        **dict.fromkeys(("languages", "language_column", "fallback", "sms"), 2),
    },
    "Template": {"sid": 2, "variables": 2},
    "SmsFallback": {"sender": 2, "body": 2},
    "Consent": {"source": 1, "at": 1},
    "SendWindow": {"begins": 1, "ends": 1, "zone": 1},
}
#: Which fields hold a struct of their own, and which.
_WITHIN: Final = {
    "BroadcastSpec": {"content": "Content", "consent": "Consent", "send_window": "SendWindow"},
    "Content": {"fallback": "Template", "sms": "SmsFallback"},
}
_REPEATED_SINCE: Final = 2


class NewerSpecError(Exception):
    """A spec that this program can't read whole: sent all the same, it would be sent wrongly."""


def needed_by(spec: BroadcastSpec) -> int:
    """Return the least format in which a broadcast like this may be kept."""
    options = spec.content.options
    repeated = any("\n" in text for name, text in options.items() if name in REPEATED)
    return max([*_needs(spec), _REPEATED_SINCE if repeated else 1])


def _needs(struct: msgspec.Struct) -> Iterator[int]:
    since = SINCE[type(struct).__name__]
    for field in msgspec.structs.fields(struct):
        value = getattr(struct, field.name)
        factory = field.default_factory
        if value == field.default or (factory is not msgspec.NODEFAULT and value == factory()):
            continue
        yield since[field.name]
        if isinstance(value, msgspec.Struct):
            yield from _needs(value)


def read_spec(raw: bytes) -> BroadcastSpec:
    """Return a spec as Redis has it. Raises NewerSpecError for what this program does not know in it."""
    try:
        unknown = list(_unknown(msgspec.msgpack.decode(raw), "BroadcastSpec"))
        if not unknown:
            return msgspec.msgpack.decode(raw, type=BroadcastSpec)
    except msgspec.MsgspecError as error:
        raise NewerSpecError(f"something in it ({type(error).__name__})") from error
    raise NewerSpecError(", ".join(unknown))


def _unknown(fields: Any, kind: str) -> Iterator[str]:
    if not isinstance(fields, dict):
        return
    within = _WITHIN.get(kind, {})
    for name, value in fields.items():
        if name not in SINCE[kind]:
            yield str(name)
        elif name in within:
            yield from _unknown(value, within[name])
