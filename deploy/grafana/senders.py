"""Senders: whether each keeps its pace, how much waits for it and how long, and what holds it up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from board import Section, board, variable
from panels import BLUE, GREEN, RED, YELLOW, graph, number, steps
from queries import Query, rate, rates_by
from tables import Column, rows

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.dashboard import Dashboard
    from panels import Placed

_CHOSEN: Final = '{sender=~"$sender"}'
_SEGMENTS: Final = f"broadcaster_segments_total{_CHOSEN}"
_QUEUED: Final = f"max by (sender) (broadcaster_lane_queued_messages{_CHOSEN})"
_PACE: Final = f"max by (sender) (broadcaster_lane_rate_segments_per_second{_CHOSEN})"
_NO_EXPORTER: Final = "no exporter is scraped"


def senders() -> Dashboard:
    """Return the dashboard of lanes and of the account above them."""
    chosen = variable(
        "sender",
        "Sender",
        "The 100 with the most queued; `other` is the rest",
        "label_values(broadcaster_lane_rate_segments_per_second, sender)",
    )
    return board(
        "broadcaster-senders",
        "Broadcaster / Senders",
        "Does each sender keep its pace, how much waits for it, and what holds it up?",
        [Section("The account", _account()), Section("Each sender", _each())],
        [chosen],
    )


def _account() -> list[Placed]:
    silent = "broadcaster_account_silent_timestamp_seconds"
    return [
        number(
            "What are senders doing?",
            "Paused: somebody's wish. Refused: a code of Twilio's stopped the sender or the account; "
            "`broadcaster senders list` tells which. Held: it goes on by itself.",
            Query("max by (state) (broadcaster_lanes)", "{{state}}"),
            width=8,
            named=True,
            empty=_NO_EXPORTER,
        ),
        number(
            "How long does the longest queue need?",
            "The lane with the most work, at its own pace. Too long: add senders, or raise its rate if "
            "Twilio did.",
            Query("max(broadcaster_queue_drain_seconds)"),
            unit="s",
            empty=_NO_EXPORTER,
        ),
        number(
            "Since when does Twilio not answer?",
            "All workers' circuits are open: one message a second is tried until it answers. Look at "
            "Twilio's status page and at the network; nothing is lost.",
            Query(f"max((time() - {silent}) * ({silent} > bool 0))"),
            unit="s",
            levels=steps((1, RED)),
            mappings={"0": ("it answers", GREEN)},
            empty=_NO_EXPORTER,
        ),
        number(
            "How much of what leaves is throttled?",
            "429s among all POSTs. A few show that the account's limit is used up; they are tried again "
            "and spend nothing. Much of it for long: lower BROADCASTER_ACCOUNT_CONCURRENCY, or ask Twilio "
            "for more.",
            Query(
                f"sum({rate(_outcome('throttled'))}) / (sum({rate('broadcaster_messages_total')}) > 0)",
            ),
            unit="percentunit",
            decimals=1,
            levels=steps((0.05, YELLOW), (0.2, RED)),
            empty="nothing leaves",
        ),
        number(
            "How fast may all senders be together?",
            "BROADCASTER_ACCOUNT_RATE, in segments a second; 0: no total is set.",
            Query("max(broadcaster_account_rate_segments_per_second)"),
            unit="suffix:/s",
            mappings={"0": ("no total", BLUE)},
            empty=_NO_EXPORTER,
        ),
        graph(
            "How close are requests to the account's limit?",
            "Requests in flight over all workers, and the limit that was learned from Twilio's answers. In "
            "flight at the limit: the account is the bottleneck, more workers or senders bring nothing.",
            Query("max(broadcaster_account_in_flight)", "in flight"),
            Query("max(broadcaster_account_concurrency_limit)", "limit"),
            empty=_NO_EXPORTER,
        ),
        graph(
            "How fast do segments leave, all together?",
            "Segments accepted by Twilio, by channel, beside the account's total pace where one is set.",
            rates_by("channel", "broadcaster_segments_total"),
            Query("max(broadcaster_account_rate_segments_per_second > 0)", "the account's pace"),
            unit="suffix:/s",
        ),
    ]


def _outcome(name: str) -> str:
    return f'broadcaster_messages_total{{sender=~"$sender", outcome="{name}"}}'


def _table() -> Placed:
    sent = f"sum by (sender) ({rate(_SEGMENTS)})"
    return rows(
        "Does each sender keep its pace?",
        "Pace and speed in segments a second. A sender with work whose speed is far below its pace waits for "
        "something: stopped, the account's limit, or the broadcasts' own rates. To empty: as if each queued "
        "message had one segment. Permits below 0 were borrowed by a long message.",
        [
            _PACE,
            sent,
            f"{sent} / ({_PACE} > 0)",
            _QUEUED,
            f"{_QUEUED} / ({_PACE} > 0)",
            f"max by (sender) (broadcaster_lane_permits_segments{_CHOSEN})",
            f"max by (sender) (broadcaster_lane_stopped{_CHOSEN})",
        ],
        [
            Column("sender", "Sender"),
            Column("Value #A", "Pace", unit="suffix:/s", width=110),
            Column("Value #B", "Speed", unit="suffix:/s", width=110),
            Column("Value #C", "Speed of pace", unit="percentunit", width=200, bar=True),
            Column("Value #D", "Queued", unit="locale", width=110, levels=((None, BLUE),)),
            Column("Value #E", "To empty", unit="s", width=110),
            Column("Value #F", "Permits", unit="locale", width=90),
            Column("Value #G", "Stopped", width=90, mappings={"0": ("no", GREEN), "1": ("yes", RED)}),
        ],
        sort="Queued",
        height=9,
        empty="no sender has been used",
    )


def _each() -> list[Placed]:
    return [
        _table(),
        graph(
            "How fast does each sender go?",
            "Segments accepted by Twilio a second.",
            rates_by("sender", _SEGMENTS),
            unit="suffix:/s",
        ),
        graph(
            "How much of its pace does each sender use?",
            "1 is all of it. Less, with work queued: something else holds it up. Waiting for nothing, it "
            "idles.",
            Query(f"sum by (sender) ({rate(_SEGMENTS)}) / ({_PACE} > 0)", "{{sender}}"),
            unit="percentunit",
        ),
        graph(
            "How much waits for each sender?",
            "Queued messages and retries; of each broadcast known to within a batch (at most 500).",
            Query(_QUEUED, "{{sender}}"),
            stacked=True,
        ),
        graph(
            "How long until each sender's queue is empty?",
            "At its pace, as if each message had one segment.",
            Query(f"{_QUEUED} / ({_PACE} > 0)", "{{sender}}"),
            unit="s",
        ),
        graph(
            "Which senders are throttled?",
            "429 or a full queue (21611) at Twilio, a second. One sender alone: its rate is set too high "
            "(`broadcaster senders set`). All of them: the account's limit.",
            rates_by("sender", _outcome("throttled")),
            unit="suffix:/s",
            empty="none",
        ),
        graph(
            "Which senders are refused?",
            "Rejected by Twilio's code, a second; Failures shows the codes.",
            rates_by("sender", _outcome("rejected")),
            unit="suffix:/s",
            empty="none",
        ),
        graph(
            "Which senders are stopped?",
            "1 while a lane is paused (`broadcaster senders resume`) or held by Twilio's refusal.",
            Query(f"max by (sender) (broadcaster_lane_stopped{_CHOSEN})", "{{sender}}"),
        ),
        graph(
            "How many segments may each sender send at once?",
            "Permits saved up; below 0: borrowed by a message longer than the burst.",
            Query(f"max by (sender) (broadcaster_lane_permits_segments{_CHOSEN})", "{{sender}}"),
        ),
    ]
