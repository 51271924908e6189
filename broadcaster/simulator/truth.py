"""What really became of every message: the control API's answers that a whole campaign is compared with."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from broadcaster.simulator.messages import Message
    from broadcaster.simulator.world import World

FOREVER: Final = float("inf")
"""A moment after all that can happen to a message."""


def final_status(message: Message) -> str:
    """Return the status in which the message ends, or ended."""
    return message.status(FOREVER)


def final_row(message: Message, now: float) -> dict[str, Any]:
    """Return one line of `finals`: where a message ends, with which code, and whether it is there already."""
    final = final_status(message)
    return {
        "n": message.number,
        "sid": message.sid,
        "to": message.to,
        "final": final,
        "code": message.outcome if final in ("undelivered", "failed") else 0,
        "ended": message.status(now) == final,
    }


def final_rows(world: World, start: int) -> Iterator[dict[str, Any]]:
    """Iterate over the lines of `finals` from that message on."""
    now, messages = world.now(), world.messages
    return (final_row(messages[number], now) for number in range(start, len(messages)))


def outcomes(world: World) -> dict[str, Any]:
    """Return messages by status now, by the status in which they end, and by code. Reads all: 1 µs each."""
    now = world.now()
    current = Counter(message.status(now) for message in world.messages)
    final = Counter(final_status(message) for message in world.messages)
    codes = Counter(message.outcome for message in world.messages if message.outcome and not message.canceled)
    return {
        "now": dict(current),
        "final": dict(final),
        "codes": {str(code): count for code, count in codes.items()},
        "inbound": len(world.conversation.heard),
        "replies": len(world.conversation.messages) - len(world.conversation.heard),
    }
