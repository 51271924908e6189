"""Steering: start, pause, resume, cancel a broadcast; pause, hold, rate a lane; stop everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from broadcaster.domain.record import State
from broadcaster.store.scripts import Call, text

if TYPE_CHECKING:
    from broadcaster.domain.record import Reason

MICRO = 1_000_000


class CanceledMessage(NamedTuple):
    """Whether this call ended a message, and the state that it is in; None if there is no such message."""

    changed: bool
    state: State | None


def start(
    broadcast: str,
    *,
    from_states: tuple[str, ...] = ("draft", "scheduled"),
    paused_for: str = "",
    warning: str = "",
) -> Call[str]:
    """Put all flows of a broadcast on their lanes at once; 'ok' or the state that forbids it.

    `paused_for`: why it must not send yet. It is paused in the same step then, so that nothing leaves.
    `warning` is added to what is shown of it, if it starts.
    """
    return Call("start", (broadcast, ",".join(from_states), paused_for, warning), text, lasting=True)


def pause(broadcast: str, reason: str) -> Call[str]:
    """Take a running broadcast out of its lanes; 'ok' or the state it is in."""
    return Call("pause", (broadcast, reason), text, lasting=True)


def resume(broadcast: str) -> Call[str]:
    """Put a paused broadcast back at the clock of its lanes; 'ok' or the state it is in."""
    return Call("resume", (broadcast,), text, lasting=True)


def cancel(broadcast: str, reason: str) -> Call[str]:
    """Let nothing of a broadcast leave any more; its unsent records are skipped by `skip`, batch by batch."""
    return Call("cancel", (broadcast, reason), text, lasting=True)


def skip(broadcast: str, lane: str, batch: str, reason: Reason) -> Call[int]:
    """End the unsent records of one batch as `skipped`; answers how many changed."""
    return Call("skip", (broadcast, lane, batch, int(reason)), int)


def cancel_message(broadcast: str, lane: str, batch: str, index: int) -> Call[CanceledMessage]:
    """End one unsent message as `skipped`; what is sending, in doubt or with Twilio is left alone."""
    return Call("cancel_message", (broadcast, lane, batch, index), _canceled, lasting=True)


def _canceled(reply: list[int]) -> CanceledMessage:
    changed, state = reply
    return CanceledMessage(bool(changed), None if state < 0 else State(state))


def pause_lane(lane: str, reason: str) -> Call[str]:
    """Stop one sender; `reason` is shown to whoever asks why it waits."""
    return Call("lane_pause", (lane, "pause", reason, ""), text, lasting=True)


def resume_lane(lane: str) -> Call[str]:
    """Let a stopped or held sender go on."""
    return Call("lane_pause", (lane, "resume", "", ""), text, lasting=True)


def hold_lane(lane: str, seconds: float, reason: str) -> Call[str]:
    """Let a sender wait for a while (its queue at Twilio is full, say); it goes on by itself."""
    return Call("lane_pause", (lane, "hold", int(seconds * MICRO), reason), text, lasting=True)


def set_rate(lane: str, segments_per_second: float) -> Call[str]:
    """Change a sender's pace, also while it sends."""
    return Call("lane_pause", (lane, "rate", repr(float(segments_per_second)), ""), text, lasting=True)


def set_account_rate(segments_per_second: float | None) -> Call[int]:
    """Bound the pace of all senders together; None lifts the bound."""
    return Call("account_rate", ("" if segments_per_second is None else repr(segments_per_second),), int)


def set_stop_rule(share: float, *, after: int, window: int) -> Call[int]:
    """Let a broadcast pause itself when over `share` of its last `window` outcomes are permanent failures.

    Nothing is judged before `after` outcomes; opt-outs don't count.
    """
    return Call("stop_rule", (repr(share), after, window), int)


def pause_account(reason: str) -> Call[int]:
    """Stop everything with a reason; 1 if that changed anything."""
    return Call("account_pause", (reason,), int, lasting=True)


def resume_account() -> Call[int]:
    """Let everything go on; 1 if that changed anything."""
    return Call("account_pause", ("",), int, lasting=True)
