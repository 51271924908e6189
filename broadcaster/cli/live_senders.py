"""What the senders of some broadcasts do right now, in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broadcaster.domain.addresses import AddressError
from broadcaster.domain.senders import parse_sender
from broadcaster.reporting.silence import SILENCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from broadcaster.reporting.broadcasts import BroadcastView
    from broadcaster.store.connection import Store

_CLASSES: Final = (":u", ":n", ":b")
_OWN_PACE: Final = "the broadcast's pace"


@dataclass(frozen=True, slots=True)
class SenderNow:
    """One sender: `rate` in segments a second (0 while unknown), `does` what it waits for or that it is done.

    `stopped` says that somebody has to do something before it goes on.
    """

    name: str
    kind: str
    rate: float
    does: str
    stopped: bool = False


async def read_senders(store: Store, views: Sequence[BroadcastView]) -> tuple[SenderNow, ...]:
    """Read the senders of `views`, each once. Raises redis' errors."""
    names = tuple(dict.fromkeys(name for view in views for name in view.senders))
    if not names:
        return ()
    keys = store.keys
    async with store.redis.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.hget(keys.lane(name), "rate")
            for part in _CLASSES:
                pipe.zcard(keys.lane(name, part))
            pipe.zcard(keys.lane(name, ":later"))
        replies = await pipe.execute()
    step = len(_CLASSES) + 2
    return tuple(
        _sender_now(name, replies[at * step : (at + 1) * step], [v for v in views if name in v.senders])
        for at, name in enumerate(names)
    )


def _sender_now(name: str, reply: Sequence[bytes | int | None], views: Iterable[BroadcastView]) -> SenderNow:
    rate, *standing, later = reply
    pace = float(rate or 0)
    waits = [view.waits_for[name] for view in views if name in view.waits_for]
    halted = next((text for text in waits if not text.startswith("its pace")), "")
    if halted:
        moves = halted.startswith(
            ("held", "outside its send window", "Twilio takes", "the next try", _OWN_PACE, SILENCE)
        )
        return SenderNow(name, kind_of(name), pace, halted, stopped=not moves)
    if any(standing):
        return SenderNow(name, kind_of(name), pace, "its pace")
    return SenderNow(name, kind_of(name), pace, "the next try of a few" if later else "nothing left to send")


def kind_of(name: str) -> str:
    """Return a sender's kind in words: `short code`, `toll free`."""
    try:
        return parse_sender(name).kind.value.replace("_", " ").replace(" us", "")
    except AddressError:
        return ""
