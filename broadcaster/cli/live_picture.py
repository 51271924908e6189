"""How broadcasts look while they are sent: pure functions from a frame to a picture, or to one line."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from rich.console import Group
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from broadcaster.domain.record import State
from broadcaster.domain.senders import format_rate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import RenderableType

    from broadcaster.cli.live_senders import SenderNow
    from broadcaster.reporting.broadcasts import BroadcastView

_STYLES: Final = {
    State.QUEUED: "dim",
    State.SENDING: "cyan",
    State.RETRY: "yellow",
    State.IN_DOUBT: "magenta",
    State.ACCEPTED: "green",
    State.SENT: "green",
    State.DELIVERED: "green",
    State.READ: "green",
    State.UNDELIVERED: "red",
    State.FAILED: "red",
    State.DEAD: "red",
    State.SKIPPED: "dim",
}
#: These columns are always there; the others while a recipient is in them.
_ALWAYS: Final = (State.QUEUED, State.SENDING, State.RETRY, State.ACCEPTED, State.DEAD, State.SKIPPED)
_BAR_WIDTH: Final = 30
_MOST_SENDERS: Final = 12
#: From this many columns on there is room for the senders' kinds.
_WIDE: Final = 96
_FIGURES: Final = 8
_KINDS: Final = 16
_LEAST_REASON: Final = 12


@dataclass(frozen=True, slots=True)
class Frame:
    """What one picture shows. Rates are messages a second; `sent` has (requests, a second) by sender."""

    views: tuple[BroadcastView, ...]
    senders: tuple[SenderNow, ...]
    seconds: float
    now_rate: float
    mean_rate: float
    sent: Mapping[str, tuple[int, float]] = field(default_factory=dict)


def picture(frame: Frame, width: int = 100) -> RenderableType:
    """Draw progress, senders and states, for a terminal `width` columns wide."""
    parts: list[RenderableType] = [_progress(frame, width), Text()]
    if frame.senders:
        parts += [_senders(frame, width), Text()]
    parts.append(_states(frame.views))
    return Group(*parts)


def plain_line(frame: Frame) -> str:
    """Say the same in one line."""
    ended, total = sum(map(ended_of, frame.views)), sum(view.total for view in frame.views)
    counts = _summed(frame.views)
    states = ", ".join(
        f"{state.label.replace('_', ' ')} {counts[state]:,}" for state in State if counts[state]
    )
    held = "; ".join(
        f"{sender.name} {sender.does}" for sender in frame.senders if sender.stopped or "held" in sender.does
    )
    percent = 100 * ended // total if total else 100
    return (
        f"{frame.seconds:5.1f} s  {percent:3d} %  {ended:,} of {total:,}  {frame.now_rate:,.0f}/s  {states}"
        + (f"  [{held}]" if held else "")
    )


def ended_of(view: BroadcastView) -> int:
    """Return how many recipients wait for nothing any more: all but queued, sending and retrying ones."""
    return view.total - view.unsent - view.counts.get(State.SENDING, 0)


def _progress(frame: Frame, width: int) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    grid.add_column()
    for _ in range(2):
        grid.add_column(justify="right")
    grid.add_column(style="dim")
    bar = max(10, min(_BAR_WIDTH, width - 64))
    for view in frame.views:
        ended = ended_of(view)
        share = ended / view.total if view.total else 1.0
        grid.add_row(
            view.name,
            ProgressBar(total=max(1, view.total), completed=ended, width=bar),
            f"{share:.0%}" if share in (0, 1) else f"{min(99, int(share * 100))}%",
            f"{ended:,} of {view.total:,}",
            _standing(view),
        )
    speed = Text.assemble(
        (f"{frame.seconds:,.0f} s", "bold"),
        "  ",
        (f"{frame.now_rate:,.0f}", "bold cyan"),
        " messages a second  ",
        (f"{frame.mean_rate:,.0f} on average", "dim"),
    )
    return Group(grid, speed)


def _standing(view: BroadcastView) -> str:
    """Say in a word how a broadcast stands, with its time to go or what keeps it open."""
    priority = "" if view.spec.priority == "normal" else f"{view.spec.priority} · "
    if view.state == "running" and view.settled:
        doubt = view.counts.get(State.IN_DOUBT, 0)
        return f"{priority}sent, {doubt:,} in doubt"
    if view.state == "running" and view.eta_seconds is not None and view.unsent:
        return f"{priority}{view.eta_seconds:,.0f} s to go"
    return priority + view.state + (f": {view.state_reason}" if view.state_reason else "")


def _senders(frame: Frame, width: int) -> Table:
    longest = max(len(sender.name) for sender in frame.senders)
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("sender", no_wrap=True)
    if width >= _WIDE:
        table.add_column("kind", style="dim", no_wrap=True, min_width=_KINDS)
    table.add_column("pace", justify="right", min_width=_FIGURES)
    if frame.sent:
        table.add_column("now", justify="right", min_width=_FIGURES)
        table.add_column("sent", justify="right", min_width=_FIGURES)
    table.add_column("waits for", no_wrap=True)
    taken = longest + (3 if frame.sent else 1) * (_FIGURES + 2) + (_KINDS + 2 if width >= _WIDE else 0) + 2
    for sender in frame.senders[:_MOST_SENDERS]:  # a long reason is cut short, never the figures
        style = "red" if sender.stopped else "yellow" if sender.does.startswith("held") else "dim"
        pace = format_rate(round(sender.rate, 1) or sender.rate) if sender.rate else ""
        does = Text(sender.does, style)
        does.truncate(max(_LEAST_REASON, width - taken), overflow="ellipsis")
        sent, speed = frame.sent.get(sender.name, (0, 0.0))
        speeds = (f"{speed:,.1f}/s", f"{sent:,}") if frame.sent else ()
        kind = (sender.kind,) if width >= _WIDE else ()
        table.add_row(sender.name, *kind, pace, *speeds, does)
    if len(frame.senders) > _MOST_SENDERS:
        table.add_row(f"and {len(frame.senders) - _MOST_SENDERS:,} more")
    return table


def _states(views: Iterable[BroadcastView]) -> Table:
    views = tuple(views)
    counts = _summed(views)
    shown = [state for state in State if state in _ALWAYS or counts[state]]
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for state in shown:
        table.add_column(state.label.replace("_", " "), justify="right", style=_STYLES[state])
    table.add_column("together", justify="right", style="bold")
    table.add_row(*(f"{counts[state]:,}" for state in shown), f"{sum(counts.values()):,}")
    return table


def _summed(views: Iterable[BroadcastView]) -> Mapping[State, int]:
    views = tuple(views)
    return {state: sum(view.counts.get(state, 0) for view in views) for state in State}
