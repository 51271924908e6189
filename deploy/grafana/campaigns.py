"""Campaigns: whether they move, how fast, when they are done and what they wait for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from board import Section, board, variable
from panels import BLUE, GREEN, RED, YELLOW, graph, number, steps, timeline
from queries import Query, quantile, rate, rates_by
from tables import Column, rows

from broadcaster.telemetry.installation_metrics import WAITS

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.dashboard import Dashboard
    from panels import Placed

_CHOSEN: Final = '{broadcast=~"$broadcast"}'
_MOVING: Final = (
    'broadcaster_broadcast_messages{broadcast=~"$broadcast", state=~"queued|sending|retry|in_doubt"}'
)
_LEFT: Final = f"sum by (broadcast) (max by (broadcast, state) ({_MOVING}))"
_CHANGE: Final = f"max by (broadcast, state) (deriv({_MOVING}[$__rate_interval]))"
_SPEED: Final = f"clamp_min(-sum by (broadcast) ({_CHANGE}), 0)"
_RECIPIENTS: Final = f"max by (broadcast) (broadcaster_broadcast_recipients{_CHOSEN})"
_ENDED: Final = f"1 - {_LEFT} / {_RECIPIENTS}"
_ETA: Final = f"max by (broadcast) (broadcaster_broadcast_eta_timestamp_seconds{_CHOSEN} > 0)"
_NAMED: Final = " * on (broadcast) group_left (name) max by (broadcast, name) (broadcaster_broadcast_info)"
_ACCEPTED: Final = 'broadcaster_messages_total{outcome="accepted"}'
_NONE: Final = "no broadcast is running or paused"
#: Why a broadcast waits, in words, and how bad that is.
WORDS: Final = {
    "nothing": ("nothing: it leaves now", GREEN),
    "pace": ("its senders' pace, as it should", GREEN),
    "everything_paused": ("everything is paused: `broadcaster resume`", YELLOW),
    "account_stopped": ("the account is stopped: `broadcaster doctor` tells why", RED),
    "account_limit": ("the account's limit, shared by all senders", BLUE),
    "broadcast_paused": ("it is paused: `broadcaster broadcasts resume`", YELLOW),
    "paused_by_failures": ("it paused itself, as too much failed: `broadcaster broadcasts show`", RED),
    "sender_paused": ("its sender is paused: `broadcaster senders resume`", YELLOW),
    "sender_refused": ("Twilio refused its sender: `broadcaster senders list`", RED),
    "sender_held": ("its sender's queue at Twilio is full: it goes on by itself", BLUE),
    "quiet_hours": ("its hours: it goes on by itself", BLUE),
    "retry": ("the next try of what failed for now", BLUE),
    "settling": ("evidence of what is in doubt: a minute or two", BLUE),
    "twilio_silent": ("Twilio does not answer: one message a second is tried", RED),
    "no_worker": ("no worker is there: start one", RED),
    "rewinding": ("Redis fell back: what is unsent is put in doubt, and it goes on by itself", BLUE),
    "replicas": ("no replica confirms: look at Redis' replication", RED),
}
_BY_NUMBER: Final = {str(place): WORDS[why] for place, why in enumerate(WAITS)}
_WHY: Final = "max by (broadcast) (" + " or ".join(
    f'broadcaster_broadcast_waiting{{broadcast=~"$broadcast", why="{why}"}} * {place}'
    for place, why in enumerate(WAITS)
)


def campaigns() -> Dashboard:
    """Return the dashboard that a campaign is watched on."""
    chosen = variable(
        "broadcast",
        "Broadcast",
        "At most 20: the newest that run, then the newest that are paused",
        "query_result(broadcaster_broadcast_info)",
        '/broadcast="(?<value>[^"]+)".*name="(?<text>.*?)",priority=/',
    )
    return board(
        "broadcaster-campaigns",
        "Broadcaster / Campaigns",
        "Is it moving, how fast, when is it done, and what does it wait for?",
        [
            Section("Is it moving?", _moving()),
            Section("Each broadcast", _each()),
            Section("All together", _together()),
        ],
        [chosen],
    )


def _moving() -> list[Placed]:
    oldest = "broadcaster_queue_oldest_due_timestamp_seconds"
    urgent = "broadcaster_accept_to_post_seconds"
    return [
        number(
            "How many messages have not ended?",
            "Queued, being sent, waiting for another try or in doubt, of all broadcasts and single messages.",
            Query("sum(max by (state) (broadcaster_queue_messages))"),
            empty="no exporter is scraped",
        ),
        number(
            "How many could leave now, but for pace?",
            "Not paused, held, stopped or out of their hours. 0 while messages wait: see below what they "
            "wait for.",
            Query("max(broadcaster_queue_claimable_messages)"),
            empty="no exporter is scraped",
        ),
        number(
            "How many does Twilio accept a second?",
            "Messages accepted by Twilio, over all workers.",
            Query(f"sum({rate(_ACCEPTED)})"),
            unit="suffix:/s",
            decimals=1,
            empty="no worker is scraped",
        ),
        number(
            "For how long has nobody taken due work?",
            "A lane has work and a permit, and no worker claims it. Pace explains no second of it: more "
            "than a few seconds mean that workers are gone, too few or cut off from Redis (Workers and "
            "Redis).",
            Query(f"max((time() - {oldest}) * ({oldest} > bool 0))"),
            unit="s",
            decimals=0,
            levels=steps((5, YELLOW), (30, RED)),
            empty="no exporter is scraped",
        ),
        number(
            "Is everything stopped?",
            "paused: `broadcaster resume`. refused: Twilio refused the account, `broadcaster doctor` tells "
            "why. rewinding: Redis was restored or fell back, and what is unsent is being put in doubt; it "
            "ends by itself.",
            Query("max by (why) (broadcaster_account_stopped)", "{{why}}"),
            levels=steps((1, RED)),
            mappings={"0": ("no", GREEN), "1": ("yes", RED)},
            named=True,
            empty="no exporter is scraped",
        ),
        number(
            "How many urgent messages left within 5 seconds?",
            "From acceptance by the API to the first POST; the promise is 99.9 % over a month.",
            Query(
                f'sum(increase({urgent}_bucket{{le=~"5([.]0)?"}}[$__range]))'
                f" / sum(increase({urgent}_count[$__range]))"
            ),
            unit="percentunit",
            decimals=2,
            levels=steps((0.99, YELLOW), (0.999, GREEN), first=RED),
            empty="no urgent message left",
        ),
    ]


def _each() -> list[Placed]:
    table = rows(
        "Which broadcasts run, how far are they, when are they done, what do they wait for?",
        "A line for each broadcast that runs or is paused (the newest 20). Left: messages that have not "
        "ended. A second: how fast that number falls. Done: when the last message should leave at this "
        "pace; empty: not known.",
        [
            f"max by (broadcast, name, priority, state) (broadcaster_broadcast_info{_CHOSEN})",
            _RECIPIENTS,
            _ENDED,
            _LEFT,
            _SPEED,
            f"{_ETA} * 1000",
            f"max by (broadcast, why) (broadcaster_broadcast_waiting{_CHOSEN} == 1)",
            f"max by (broadcast) (broadcaster_broadcast_started_timestamp_seconds{_CHOSEN}) * 1000",
        ],
        [
            Column("name", "Name"),
            Column("broadcast", "Broadcast", width=190),
            Column("priority", "Priority", width=80),
            Column(
                "state",
                "State",
                width=90,
                mappings={"paused": ("paused", YELLOW), "running": ("running", GREEN)},
            ),
            Column("Value #H", "Began", unit="dateTimeFromNow", width=130),
            Column("Value #B", "Recipients", unit="locale", width=100),
            Column("Value #C", "Ended", unit="percentunit", width=180, bar=True),
            Column("Value #D", "Left", unit="locale", width=100),
            Column("Value #E", "A second", unit="suffix:/s", width=90),
            Column("Value #F", "Done", unit="dateTimeFromNow", width=130),
            Column("why", "Waits for", mappings=WORDS),
            Column("Value #A"),
            Column("Value #G"),
        ],
        empty=_NONE,
    )
    return [
        table,
        timeline(
            "What did each broadcast wait for?",
            "Why its next message does not leave at once. Green is as it should be, blue passes by itself, "
            "yellow was somebody's wish, red wants somebody.",
            Query(f"({_WHY})){_NAMED}", "{{name}} ({{broadcast}})"),
            mappings=_BY_NUMBER,
            empty=_NONE,
        ),
        graph(
            "How far is each broadcast?",
            "Share of its recipients whose message has ended: accepted, dead or skipped, none in doubt.",
            Query(
                f"({_ENDED}){_NAMED}",
                "{{name}} ({{broadcast}})",
            ),
            unit="percentunit",
            top=1,
            empty=_NONE,
        ),
        graph(
            "How long until each broadcast is done?",
            "At the pace of now; a line that does not fall waits for something.",
            Query(
                f"({_ETA} - time()){_NAMED}",
                "{{name}} ({{broadcast}})",
            ),
            unit="s",
            empty=_NONE,
        ),
        graph(
            "In which states are their messages?",
            "The states of the chosen broadcasts, always adding up to their recipients.",
            Query(
                f"sum by (state) (max by (broadcast, state) (broadcaster_broadcast_messages{_CHOSEN}))",
                "{{state}}",
            ),
            stacked=True,
            width=24,
            height=9,
            empty=_NONE,
        ),
    ]


def _together() -> list[Placed]:
    oldest = "broadcaster_queue_oldest_ready_timestamp_seconds"
    urgent = "broadcaster_accept_to_post_seconds"
    return [
        graph(
            "How fast do messages leave, and how do they end?",
            "POSTs to Twilio by outcome. Unknown: no answer came, so they are in doubt. Throttled and not "
            "sent are tried again. Rejected: see Failures for the codes.",
            rates_by("outcome", "broadcaster_messages_total"),
            unit="suffix:/s",
            stacked=True,
        ),
        graph(
            "What waits, in which state?",
            "All broadcasts and single messages. Sending should be small; in doubt goes back to 0 within "
            "minutes.",
            Query("max by (state) (broadcaster_queue_messages)", "{{state}}"),
            stacked=True,
        ),
        graph(
            "How long do urgent messages take to leave?",
            "From acceptance by the API to the first POST, in whole seconds, so 1 is the least. The "
            "promise is 5 s.",
            Query(quantile(0.5, urgent), "half of them"),
            Query(quantile(0.99, urgent), "99 %"),
            Query(quantile(0.999, urgent), "99.9 %"),
            unit="s",
            levels=steps((5, RED)),
            empty="no urgent message left",
        ),
        graph(
            "How old is the oldest broadcast that could leave, by priority?",
            "Since when the oldest one with claimable messages runs. A bulk list may run for hours; urgent "
            "should be seconds.",
            Query(f"max by (priority) ((time() - {oldest}) * ({oldest} > bool 0))", "{{priority}}"),
            unit="s",
        ),
        graph(
            "How many broadcasts are in which state?",
            "All that are kept; drafts and imports too.",
            Query("max by (state) (broadcaster_broadcasts)", "{{state}}"),
            stacked=True,
        ),
        graph(
            "How fast do recipients come in?",
            "Read from lists, and from single messages to the API, before anything of them is sent.",
            rates_by("through", "broadcaster_recipients_imported_total"),
            unit="suffix:/s",
        ),
    ]
